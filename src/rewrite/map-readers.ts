import { isShapeReader } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { WrittenOutCore } from '../attention/site';
import { dependencies, type Graph, type Node, type Use, type Value } from '../ir';
import { fail } from '../match/outcome';
import type { RewriteOptions } from './options';

/**
 * Who reads the attention map beside the product with values. Who only asks for its shape goes on reading the model's own
 * probabilities.
 */
export function mapReaders(core: WrittenOutCore): Use[] {
  return core.readers.filter(({ node }) => node !== core.product && !isShapeReader(node));
}

/** Operators on the way from a map to an output that shows it: they neither weigh nor compare what they are given. */
const SHOWING = [
  'Cast',
  'CastLike',
  'Concat',
  'Div',
  'Dropout',
  'Expand',
  'Flatten',
  'Gather',
  'Identity',
  'ReduceMean',
  'Reshape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
];

/** Those that count the heads where they add them up: what a rewrite that halves them must not change. */
const SUMMING = ['ReduceSum'];

/**
 * The differential map takes the place of the old one in what the model shows: outputs, and means or stacks of maps that
 * become outputs. A reader that computes with the map, or counts on its number of heads where that changes, is refused.
 */
export function refuseMapReaders(site: LocatedSite, core: WrittenOutCore, options: RewriteOptions): void {
  const split = options.heads === 'split';
  const behind = nodesBehind(mapReaders(core).map(({ node }) => node));
  const shown = new Set([core.probabilities, ...[...behind].flatMap(({ outputs }) => outputs)]);
  const isKnown = (node: Node) =>
    node.bodies.size > 0
      ? !node.inputs.some((input) => input && shown.has(input))
      : isShapeReader(node) || node.is(...SHOWING, ...SUMMING);
  for (const node of behind) {
    const counts = split && (isShapeReader(node) || node.is(...SUMMING));
    if (!counts && isKnown(node)) continue;
    fail(
      'probabilities-escape',
      node,
      counts
        ? 'no reader that counts the heads of the map, which are halved'
        : 'an attention map that is only shown',
      `'${node.label}', which reads that of ${site.path}`,
    );
  }
}

/** Some nodes and all behind them that get to see elements of what they give, through bodies as well. */
export function nodesBehind(start: readonly Node[]): Set<Node> {
  const found = new Set<Node>(start);
  for (const node of found) {
    if (isShapeReader(node)) continue;
    for (const output of node.outputs) {
      if (!output) continue;
      for (const reader of output.readers) found.add(reader);
      const { owner } = output.scope;
      // Of what a body hands out, the node around shows the same.
      if (owner && output.isOutput) found.add(owner);
    }
  }
  return found;
}

/**
 * The differential map is there where the product with values stood; what stands before that and reads it moves behind.
 * @param readers who reads the map, in its scope or in bodies
 */
export function standBehind(map: Value, readers: readonly Use[]): void {
  const { scope, producer } = map;
  if (!producer) throw new Error(`'${map.name}' has no producer`);
  const place = scope.indexOf(producer);
  const behind = [...nodesBehind(readers.map(({ node }) => node))];
  const early = new Set(
    behind.flatMap((node) => holderIn(scope, node) ?? []).filter((node) => scope.indexOf(node) < place),
  );
  if (early.size === 0) return;
  const moved = scope.sorted(early);
  const [first] = moved;
  const needed = first && neededBy(producer, scope.indexOf(first));
  const circular = moved.find((node) => needed?.has(node));
  if (circular) {
    const found = `'${circular.label}', which the values depend on`;
    fail('probabilities-escape', circular, 'an attention map that is only shown', found);
  }
  scope.moveBehind(producer, moved);
}

/** The node of a scope that is the one given, or holds it in a body. */
function holderIn(scope: Graph, node: Node): Node | undefined {
  let at: Node | undefined = node;
  while (at && at.graph !== scope) at = at.graph.owner;
  return at;
}

/** Nodes of the same graph, from a place on, that a node needs. */
function neededBy(target: Node, from: number): Set<Node> {
  const { graph } = target;
  const needed = new Set<Node>([target]);
  for (const node of needed) {
    for (const { scope, producer } of dependencies(node))
      if (producer && scope === graph && graph.indexOf(producer) >= from) needed.add(producer);
  }
  return needed;
}
