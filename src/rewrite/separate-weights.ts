import { tensorShape } from '../analyse';
import { moduleOfParameter } from '../attention/path';
import type { Model, Use, Value } from '../ir';
import { isFloatType } from '../onnx/floats';
import type { KeyIndex } from '../weights/match-names';
import type { Safetensors } from '../weights/safetensors';
import { nameByReader } from './parameter-names';
import { sameStored } from './stored-tensors';

/** Names of the weights that were taken apart, and of what they were part of. */
export type Separated = Readonly<Record<string, string>>;

/**
 * Exporters store equal weights once: all norms of a model that was never trained are one vector of ones. Where a
 * checkpoint has different tensors for them, each reader gets a weight of its own, under its own name.
 */
export function separateWeights(model: Model, checkpoint: Safetensors, index: KeyIndex): Separated {
  const separated: Record<string, string> = {};
  for (const value of [...model.graph.values.values()]) {
    const tensor = value.initializer;
    if (!tensor || value.uses.size < 2 || !isFloatType(tensor.dataType)) continue;
    const [own, ...others] = groups(value, index).filter(({ key }) => fits(value, key, checkpoint));
    for (const { name, key, uses } of others) {
      if (!own || sameStored(checkpoint, own.key, key)) continue;
      const part = model.graph.addInitializer(name, { ...tensor, name });
      for (const use of uses) use.node.graph.setInput(use.node, use.index, part);
      separated[part.name] = value.name;
    }
  }
  return separated;
}

/** Readers that a checkpoint has one key for. */
interface Group {
  readonly name: string;
  readonly key: string;
  readonly uses: Use[];
}

/** The group of the value's own name first. */
function groups(value: Value, index: KeyIndex): Group[] {
  const found = new Map<string, Group>();
  const own = moduleOfParameter(value.name) ? value.name : undefined;
  const ownKey = own === undefined ? undefined : index.find(own);
  if (own !== undefined && typeof ownKey === 'string')
    found.set(ownKey, { name: own, key: ownKey, uses: [] });
  for (const use of value.uses) {
    const name = nameByReader(value, use);
    const key = name === undefined ? undefined : index.find(name);
    if (name === undefined || typeof key !== 'string') continue;
    const group = found.get(key) ?? { name, key, uses: [] };
    group.uses.push(use);
    found.set(key, group);
  }
  return [...found.values()];
}

function fits(value: Value, key: string, checkpoint: Safetensors): boolean {
  const shape = value.initializer ? tensorShape(value.initializer) : [];
  const given = checkpoint.get(key)?.shape ?? [];
  const [rows = 0, ...rest] = given;
  // Queries and keys of both components may stand one behind the other.
  const wanted = [given, [...given].reverse(), [rows / 2, ...rest]];
  return wanted.some((each) => each.join() === shape.join());
}
