import { constantTensor, isLayout } from '../analyse';
import type { Model, Node, Use, Value } from '../ir';
import { type Bystanders, findBystanders } from './bystanders';
import { replaceColumns, type SidePart } from './columns';
import type { LayerUnderTest } from './layer-reference';
import { withBytes } from './stored';
import { Twins } from './twins';

/** A part of a projection of the original's own, in a copy of the rewritten model. */
export interface OwnPart {
  readonly under: LayerUnderTest;
  readonly part: SidePart;
  /** The value that holds it, and where it is read for its side; undefined where the reader is not found. */
  readonly holder: Value;
  readonly use: Use | undefined;
  readonly columns: readonly Uint8Array[];
}

/**
 * Gives the original's own queries and keys other numbers, for nobody else: where others read the same stored tensor, the
 * projections read one of their own; where others read what is projected, that is computed for them as it was.
 * @param notChanged gets the path of each attention that stays as it is, since what others read cannot be computed twice
 */
export function overwriteOwn(
  model: Model,
  parts: readonly OwnPart[],
  notChanged: (path: string) => void,
): void {
  const { own, bystanders } = withoutBlocked(model, parts, notChanged);
  const chains = new Set(own.flatMap(chainOf));
  /** What is there now, and what was. */
  const before = new Map<Value, Value>();
  for (const [holder, group] of groupsOf(own)) {
    const readers = [...readersOf(group)];
    const { others, intruders } = strangersAmong(endUses(holder, chains), group, bystanders);
    const alike = new Set(readers.map(columnsOf)).size === 1;
    if (group.some(({ use }) => !use) || (alike && others.length === 0))
      overwriteFor(holder, readers, bystanders, before);
    else {
      const copies = readers.map((reader) => overwritePrivately(model, holder, reader, chains, before));
      for (const { node, index } of intruders) {
        const read = node.inputs[index];
        const other = copies.find((copy) => copy !== undefined);
        if (read && other)
          node.graph.setInput(node, index, new Twins(new Map([[holder, other]]), chains).of(read));
      }
    }
  }
  const twins = new Twins(before, new Set([...bystanders.slice, ...chains]));
  for (const { node, index, value } of bystanders.uses) node.graph.setInput(node, index, twins.of(value));
}

/** Leaves out layers of which a bystander reads something that a node with bodies computes. */
function withoutBlocked(
  model: Model,
  parts: readonly OwnPart[],
  notChanged: (path: string) => void,
): { own: readonly OwnPart[]; bystanders: Bystanders } {
  const layers = new Map<LayerUnderTest, Map<Node, 'weight' | 'behind'>>();
  for (const { under, use, part } of parts) {
    if (!use) continue;
    const known = layers.get(under) ?? new Map<Node, 'weight' | 'behind'>();
    const isWeight = part.suffix === 'weight' || known.get(use.node) === 'weight';
    layers.set(under, known.set(use.node, isWeight ? 'weight' : 'behind'));
  }
  const bystanders = findBystanders(model, layers);
  const blocked = new Set(
    bystanders.uses
      .filter(({ value }) => isBehindBodies(value, bystanders.slice))
      .flatMap((use) => use.layers),
  );
  if (blocked.size === 0) return { own: parts, bystanders };
  for (const { layer } of blocked) notChanged(layer.path);
  return withoutBlocked(
    model,
    parts.filter(({ under }) => !blocked.has(under)),
    notChanged,
  );
}

function isBehindBodies(value: Value, slice: ReadonlySet<Node>): boolean {
  const seen = new Set(value.producer ? [value.producer] : []);
  for (const node of seen) {
    if (node.bodies.size > 0) return true;
    for (const input of node.inputs) {
      if (input?.producer && slice.has(input.producer)) seen.add(input.producer);
    }
  }
  return false;
}

function groupsOf(parts: readonly OwnPart[]): Map<Value, OwnPart[]> {
  const groups = new Map<Value, OwnPart[]>();
  for (const part of parts) groups.set(part.holder, [...(groups.get(part.holder) ?? []), part]);
  return groups;
}

/** The parts that one node reads at one place. */
function readersOf(parts: readonly OwnPart[]): Iterable<OwnPart[]> {
  const readers = new Map<Node | undefined, OwnPart[]>();
  for (const part of parts) readers.set(part.use?.node, [...(readers.get(part.use?.node) ?? []), part]);
  return readers.values();
}

/**
 * Who reads a stored tensor beside those for whom it is overwritten. Intruders belong to a negative component and have no
 * right to it: nothing that reads it in the same way stands in the positive one, other than the projection itself.
 */
function strangersAmong(
  uses: readonly Use[],
  group: readonly OwnPart[],
  { sides }: Bystanders,
): { others: Use[]; intruders: Use[] } {
  const own = new Set(group.map(({ use }) => use?.node));
  const intrudes = ({ node, index }: Use) =>
    sides.some(({ positive, negative }) => {
      const stoodFor = uses.some(
        (use) =>
          positive.has(use.node) &&
          !own.has(use.node) &&
          use.index === index &&
          use.node.operator === node.operator,
      );
      return negative.has(node) && !positive.has(node) && !stoodFor;
    });
  const strangers = uses.filter(({ node }) => !own.has(node));
  return {
    others: strangers.filter((use) => !intrudes(use)),
    intruders: strangers.filter(intrudes),
  };
}

function columnsOf(parts: readonly OwnPart[]): string {
  const each = parts.map(({ part: { layout, starts, columns } }) =>
    (layout === 'strided' ? starts : columns).join(),
  );
  return [...new Set(each)].sort().join(' ');
}

/** Who reads a stored tensor, directly or laid out in another way. */
function endUses(holder: Value, chains: ReadonlySet<Node>): Use[] {
  return [...holder.uses].flatMap((use) =>
    chains.has(use.node)
      ? use.node.outputs.flatMap((output) => (output ? endUses(output, chains) : []))
      : [use],
  );
}

/** Overwrites a stored tensor for all who read it. */
function overwriteFor(
  holder: Value,
  readers: readonly (readonly OwnPart[])[],
  { uses }: Bystanders,
  before: Map<Value, Value>,
): void {
  const tensor = constantTensor(holder);
  const { model } = holder.scope;
  if (!tensor) return;
  const next = withBytes(tensor, changed(model.bytes(tensor), readers[0] ?? []));
  if (!holder.initializer) {
    const other = model.graph.addInitializer(holder.name, next);
    holder.scope.redirect(holder, other);
    before.set(other, holder);
    return;
  }
  if (uses.length > 0) before.set(holder, model.graph.addInitializer(`${holder.name}/before`, tensor));
  model.replaceInitializer(holder, next);
}

/** Gives one reader a stored tensor of its own, and gives that. */
function overwritePrivately(
  model: Model,
  holder: Value,
  parts: readonly OwnPart[],
  chains: ReadonlySet<Node>,
  before: Map<Value, Value>,
): Value | undefined {
  const [tensor, use] = [constantTensor(holder), parts[0]?.use];
  const read = use?.node.inputs[use.index];
  if (!tensor || !use || !read) return undefined;
  const next = withBytes(tensor, changed(model.bytes(tensor), parts));
  const other = model.graph.addInitializer(`${holder.name}/other`, next);
  const own = new Twins(new Map([[holder, other]]), chains).of(read);
  use.node.graph.setInput(use.node, use.index, own);
  before.set(own, read);
  return other;
}

/** Puts the columns back in the opposite order, and what each holds as well: as large as before, whatever the type. */
function changed(stored: Uint8Array, parts: readonly OwnPart[]): Uint8Array {
  const distinct = new Map(parts.map((each) => [columnsOf([each]), each]));
  let bytes = stored;
  for (const { part, columns } of distinct.values()) {
    const others = columns.map((column) => reversed(column, part.elementSize)).reverse();
    bytes = replaceColumns(part, bytes, others);
  }
  return bytes;
}

/** The same elements in the opposite order. @param size bytes of an element */
export function reversed(bytes: Uint8Array, size: number): Uint8Array {
  const turned = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += size)
    turned.set(bytes.subarray(at, at + size), bytes.length - size - at);
  return turned;
}

/** The value that holds a weight, behind what lays it out. */
export function holderOf(value: Value): Value {
  const source = laidOutFrom(value.producer);
  return source ? holderOf(source) : value;
}

function laidOutFrom(node: Node | undefined): Value | undefined {
  if (!node || !(node.is('Cast', 'Identity') || isLayout(node))) return undefined;
  return node.inputs[0];
}

/** The nodes between a stored tensor and its reader. */
function chainOf({ holder, use }: OwnPart): Node[] {
  const chain: Node[] = [];
  for (let value = use?.node.inputs[use.index]; value && value !== holder; value = chain.at(-1)?.inputs[0]) {
    if (!value.producer) break;
    chain.push(value.producer);
  }
  return chain;
}
