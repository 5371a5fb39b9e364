import type { LocatedSite } from '../attention/find';
import type { WrittenOutCore } from '../attention/site';
import type { Graph, Node, Use, Value } from '../ir';
import { fail } from '../match/outcome';
import type { RewriteOptions } from './options';

/** Who reads the attention map beside the product with values. */
export function mapReaders(core: WrittenOutCore): Use[] {
  return core.readers.filter(({ node }) => node !== core.product);
}

/** Operators on the way from a map to an output that shows it: they neither weigh nor compare what they are given. */
const SHOWING = [
  'Cast',
  'Concat',
  'Div',
  'Flatten',
  'Identity',
  'ReduceMean',
  'Reshape',
  'Slice',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
];

/**
 * The differential map takes the place of the old one in what the model shows: outputs, and means or stacks of maps that
 * become outputs. A reader that computes with the map, or counts on its number of heads where that changes, is refused.
 */
export function refuseMapReaders(site: LocatedSite, core: WrittenOutCore, options: RewriteOptions): void {
  const readers = mapReaders(core).filter(({ node }) => !node.is('Shape', 'Size'));
  for (const { node } of readers) {
    if (options.heads === 'split') {
      fail(
        'probabilities-escape',
        node,
        'no reader of the attention map, whose heads are halved',
        `'${node.label}' of ${site.path}`,
      );
    }
    const inside = firstComputing(node);
    if (inside)
      fail(
        'probabilities-escape',
        inside,
        'an attention map that is only shown',
        `'${inside.label}' computes with it`,
      );
  }
}

function firstComputing(start: Node): Node | undefined {
  const seen = new Set<Node>();
  const open = [start];
  for (let node = open.pop(); node; node = open.pop()) {
    if (seen.has(node) || node.is('Shape', 'Size')) continue;
    seen.add(node);
    if (!node.is(...SHOWING)) return node;
    for (const output of node.outputs) if (output) open.push(...output.readers);
  }
  return undefined;
}

/** The declared type of an output that shows the map of half as many heads. */
export function halveHeads(scope: Graph, map: Value, core: WrittenOutCore, heads: number): void {
  const tensor = map.type?.tensorType;
  const axis = core.arrangement
    ? -1
    : core.probabilitiesView.axes.findIndex((atoms) => atoms.some(({ kind }) => kind === 'column'));
  const dim = tensor?.shape?.dim.map((each, index) =>
    index === axis && each.dimValue === BigInt(heads) ? { dimValue: BigInt(heads / 2) } : each,
  );
  if (map.type && tensor && dim) {
    scope.setType(map, { ...map.type, tensorType: { ...tensor, shape: { ...tensor.shape, dim } } });
  }
}
