import type { LocatedSite } from '../attention/find';
import type { WrittenOutCore } from '../attention/site';
import { type Node, pushAll, type Use, type Value } from '../ir';
import { fail } from '../match/outcome';
import { knownView } from '../match/side';
import type { RewriteOptions } from './options';

/** Who reads the attention map beside the product with values. */
export function mapReaders(core: WrittenOutCore): Use[] {
  return core.readers.filter(({ node }) => node !== core.product);
}

/** Operators on the way from a map to an output that shows it: they neither weigh nor compare what they are given. */
const SHOWING = ['Cast', 'Concat', 'Div', 'Identity', 'ReduceMean', 'Squeeze', 'Transpose', 'Unsqueeze'];

/** Those among them whose result depends on constants that count heads. */
const COUNTING = ['Flatten', 'Reshape', 'Slice'];

/**
 * The differential map takes the place of the old one in what the model shows: outputs, and means or stacks of maps that
 * become outputs. A reader that computes with the map, or counts on its number of heads where that changes, is refused.
 */
export function refuseMapReaders(site: LocatedSite, core: WrittenOutCore, options: RewriteOptions): void {
  const split = options.heads === 'split';
  for (const { node } of mapReaders(core)) {
    const inside = firstOther(node, split ? SHOWING : [...SHOWING, ...COUNTING]);
    if (!inside) continue;
    const counts = inside.is(...COUNTING);
    fail(
      'probabilities-escape',
      inside,
      counts
        ? 'no reader that counts the heads of the map, which are halved'
        : 'an attention map that is only shown',
      `'${inside.label}', which reads that of ${site.path}`,
    );
  }
}

/** The first node behind a map that is none of the operators named. */
function firstOther(start: Node, allowed: readonly string[]): Node | undefined {
  const seen = new Set<Node>();
  const open = [start];
  for (let node = open.pop(); node; node = open.pop()) {
    if (seen.has(node) || node.is('Shape', 'Size')) continue;
    seen.add(node);
    if (!node.is(...allowed)) return node;
    for (const output of node.outputs) if (output) pushAll(open, output.readers);
  }
  return undefined;
}

/** The declared types of outputs that show the map of half as many heads, itself or as a copy. */
export function halveHeads(map: Value, core: WrittenOutCore, heads: number): void {
  const { axes } = knownView(core.probabilitiesView);
  const axis = core.arrangement ? -1 : axes.findIndex((atoms) => atoms.some(({ kind }) => kind === 'column'));
  const halved = new Set<Value>();
  const open = [map];
  for (let value = open.pop(); value; value = open.pop()) {
    halved.add(value);
    const tensor = value.type?.tensorType;
    const dim = tensor?.shape?.dim.map((each, index) =>
      index === axis && each.dimValue === BigInt(heads) ? { dimValue: BigInt(heads / 2) } : each,
    );
    if (value.type && tensor && dim) {
      value.scope.setType(value, {
        ...value.type,
        tensorType: { ...tensor, shape: { ...tensor.shape, dim } },
      });
    }
    const copies = value.readers.filter((reader) => reader.is('Identity', 'Cast'));
    const outer = value.scope.owner?.is('If') ? value.scope.handedOut(value) : undefined;
    if (outer && !halved.has(outer)) open.push(outer);
    pushAll(
      open,
      copies.flatMap((reader) => reader.outputs.flatMap((output) => output ?? [])),
    );
  }
}
