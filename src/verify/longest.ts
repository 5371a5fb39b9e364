import { constantTensor } from '../analyse';
import { type Model, pushAll, type Value } from '../ir';
import type { FeedInput } from './feeds';

/** Longer sequences are not tried: the float64 reference takes its time. */
const LONGEST = 512;
/** Tables of some models begin with places for padding. */
const RESERVED = 2;

/**
 * The longest sequences that a model may take, longest first, for which the original must show whether it does: as many
 * tokens as the largest table of positions has rows. Of positions are those tables that are read at indices which do
 * not depend on ids. None where there is no such table, or it is too long to be tried.
 */
export function longestLengths(model: Model, inputs: readonly FeedInput[]): number[] {
  const ids = new Set(inputs.flatMap(({ name, role }) => (role.kind === 'ids' ? [name] : [])));
  const rows = model.graph.nodes.flatMap((node) => {
    const [table, indices] = node.inputs;
    const tensor = node.is('Gather') && table ? constantTensor(table) : undefined;
    if (tensor?.dims.length !== 2 || !indices || dependsOn(indices, ids)) return [];
    return [Number(tensor.dims[0])];
  });
  const most = Math.max(0, ...rows);
  if (most > LONGEST) return [];
  return [most, most - 1, most - RESERVED].filter((length) => length > 1);
}

/** Whether the numbers of a value, other than its shape, come from one of the inputs. */
function dependsOn(value: Value, inputs: ReadonlySet<string>): boolean {
  const seen = new Set<Value>();
  const open = [value];
  for (let at = open.pop(); at; at = open.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    const { producer } = at;
    if (!producer && inputs.has(at.name)) return true;
    if (producer && !producer.is('Shape', 'Size'))
      pushAll(
        open,
        producer.inputs.flatMap((input) => input ?? []),
      );
  }
  return false;
}
