import type { WrittenOutCore } from '../attention/site';
import type { Value } from '../ir';
import type { Builder } from './builder';

/** Brings operands of an attention's last product into the order of a MatMul, and its result back. */

function permute(builder: Builder, value: Value, perm: readonly number[] | undefined): Value {
  return !perm || perm.every((from, to) => from === to) ? value : builder.transpose(value, perm);
}

/** Probabilities as [.., S, T]. */
export function arrangeProbabilities(builder: Builder, core: WrittenOutCore, value: Value): Value {
  return permute(builder, value, core.arrangement?.probabilities);
}

/** Values as [.., T, D]. */
export function arrangeValues(builder: Builder, core: WrittenOutCore): Value {
  const moved = permute(builder, core.values, core.arrangement?.values);
  const added = core.arrangement?.valuesUnsqueeze ?? [];
  return added.length === 0 ? moved : builder.op('Unsqueeze', [moved, builder.ints(added)]);
}

/** The result [.., S, D] as the product gave it. */
export function arrangeOutput(builder: Builder, core: WrittenOutCore, value: Value): Value {
  return permute(builder, value, core.arrangement?.output);
}

/** A map [.., S, T] in the order of the model's own probabilities. */
export function arrangeMap(
  builder: Builder,
  core: WrittenOutCore,
  map: Value | undefined,
): Value | undefined {
  const perm = core.arrangement?.probabilities;
  return (
    map &&
    permute(
      builder,
      map,
      perm?.map((_, axis) => perm.indexOf(axis)),
    )
  );
}
