import { Dim, isShapeReader, type Shapes } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { WrittenOutCore } from '../attention/site';
import type { Graph, Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { knownView } from '../match/side';
import { nodesBehind } from './map-readers';

/**
 * With split heads, what shows an attention map shows half as many. The shapes behind it follow by the rules of the
 * operators; where one of them would give anything but the old shape with half of the heads, the map is more than shown.
 */

export interface HalvedMap {
  readonly site: LocatedSite;
  readonly core: WrittenOutCore;
  /** The differential map, in the place of the old one. */
  readonly map: Value;
  /** Who shows it. */
  readonly readers: readonly Node[];
}

type Shape = readonly Dim[];

/** Operators that take heads together: behind them nobody knows how many there were. */
const REDUCING = ['ReduceMean'];

/** Operators whose result follows from numbers that the model holds, and not from the map alone. */
const COUNTING = ['Expand', 'Flatten', 'Gather', 'Reshape', 'Slice', 'Split', 'Squeeze'];

/**
 * Changes the declared types of all that shows the maps, once all layers are rewritten: a stack of maps shows several.
 * Ends the attempt around where a shape would not follow.
 */
export function halveShownMaps(maps: readonly HalvedMap[], shapes: Shapes): void {
  const halved = new Map<Value, Shape | undefined>();
  for (const { site, core, map } of maps) {
    const shape = shapes.shape(core.probabilities);
    const axis = headAxis(core);
    const heads = shape?.[axis]?.dividedBy(Dim.of(2));
    const changed = heads && shape?.map((dim, index) => (index === axis ? heads : dim));
    if (!changed) fail('layout-lost', site.anchor, 'a map whose heads are counted', 'an unknown shape');
    halved.set(map, changed);
    declareHalved(map, axis, heads);
  }
  const nodes = nodesBehind(maps.flatMap(({ map, readers }) => [...readers, ...around(map)]));
  const [first] = maps;
  if (first) follow(first.map.scope.model.graph, nodes, halved, shapes);
}

/** The node whose body hands a map out. */
function around({ isOutput, scope: { owner } }: Value): Node[] {
  return isOutput && owner ? [owner] : [];
}

/** Where the heads stand in the model's own probabilities. */
function headAxis({ probabilitiesView, arrangement }: WrittenOutCore): number {
  const arranged = knownView(probabilitiesView).axes.findIndex((atoms) =>
    atoms.some(({ kind }) => kind === 'column'),
  );
  return arrangement?.probabilities[arranged] ?? arranged;
}

function follow(
  graph: Graph,
  nodes: ReadonlySet<Node>,
  halved: Map<Value, Shape | undefined>,
  shapes: Shapes,
): void {
  for (const node of graph.nodes) {
    for (const body of node.bodies.values()) follow(body, nodes, halved, shapes);
    if (!nodes.has(node) || isShapeReader(node)) continue;
    const results = node.bodies.size > 0 ? handedOut(node, halved, shapes) : shapesOf(node, halved, shapes);
    node.outputs.forEach((output, index) => {
      const before = shapes.shape(output);
      if (!output || !before) return;
      const axis = halvedAxis(before, results[index], node);
      if (axis === undefined) return;
      halved.set(output, results[index]);
      declareHalved(output, axis, results[index]?.[axis]);
    });
  }
}

function shapesOf(
  node: Node,
  halved: ReadonlyMap<Value, Shape | undefined>,
  shapes: Shapes,
): (Shape | undefined)[] {
  const own = node.inputs.filter((input) => input !== undefined);
  if (!own.some((input) => halved.has(input))) return node.outputs.map((output) => shapes.shape(output));
  if (node.is('Concat')) refuseUnevenParts(node, halved);
  const facts = shapes.derivedWith(node, halved);
  const results = node.outputs.map((_, index) => facts[index]?.shape);
  const isKept = (shape: Shape | undefined, index: number) => {
    const before = shapes.shape(node.outputs[index]);
    return before !== undefined && halvedAxis(before, shape, node) !== undefined;
  };
  if (node.is(...REDUCING) || results.every(isKept)) return results;
  const found = results.map((shape) => `[${shape?.join(', ') ?? 'unknown'}]`).join(', ');
  return fail('probabilities-escape', node, COUNTED, `'${node.label}', which would give ${found}`);
}

const COUNTED = 'no reader that counts the heads of the map, which are halved';

/** Maps behind one another all have half of the heads, or none of them has. */
function refuseUnevenParts(node: Node, halved: ReadonlyMap<Value, Shape | undefined>): void {
  const other = node.inputs.find((input) => input && !halved.has(input));
  if (!other) return;
  const found = `'${other.name}' beside one in '${node.label}'`;
  fail('probabilities-escape', node, 'maps that are put together to be halved all', found);
}

/** What a node gives of what its bodies hand out: all branches of an If the same, the rounds of a loop one behind the other. */
function handedOut(
  node: Node,
  halved: ReadonlyMap<Value, Shape | undefined>,
  shapes: Shapes,
): (Shape | undefined)[] {
  const bodies = [...node.bodies.values()];
  return node.outputs.map((output, index) => {
    const inside = bodies.flatMap(({ outputs }) => outputs[index + (node.is('Loop') ? 1 : 0)] ?? []);
    const changed = inside.filter((value) => halved.has(value));
    const before = shapes.shape(output);
    const [first] = changed;
    if (!first) return before;
    const own = halved.get(first);
    if (changed.length < inside.length || !own || !before)
      return fail('probabilities-escape', node, 'maps of all branches to be halved', `'${first.name}' alone`);
    return [...before.slice(0, before.length - own.length), ...own];
  });
}

/**
 * The one axis on which a shape is half of what it was; undefined where it is none.
 * Ends the attempt around where a shape is another one altogether.
 */
function halvedAxis(before: Shape, after: Shape | undefined, node: Node): number | undefined {
  const counting = node.is(...COUNTING);
  const axes = before.flatMap((dim, axis) => {
    const now = after?.[axis];
    const same = now && (dim.equals(now) || (!counting && dim.isUnknown && now.isUnknown));
    return same ? [] : [axis];
  });
  const [axis] = axes;
  if (axis === undefined && after?.length === before.length) return undefined;
  const half = axis === undefined ? undefined : before[axis]?.dividedBy(Dim.of(2));
  if (
    axis !== undefined &&
    axes.length === 1 &&
    half &&
    after?.length === before.length &&
    after[axis]?.equals(half)
  )
    return axis;
  const found = `'${node.label}', which would give [${after?.join(', ') ?? 'unknown'}] instead of [${before.join(', ')}]`;
  return fail('probabilities-escape', node, COUNTED, found);
}

/** A declared type with half of the heads; a symbol that stood for all of them goes. */
function declareHalved(value: Value, axis: number, size: Dim | undefined): void {
  const { type } = value;
  const tensor = type?.tensorType;
  if (!type || !tensor?.shape) return;
  const half = size?.value === undefined ? {} : { dimValue: BigInt(size.value) };
  const dim = tensor.shape.dim.map((each, index) => (index === axis ? half : each));
  value.scope.setType(value, { ...type, tensorType: { ...tensor, shape: { ...tensor.shape, dim } } });
}
