/**
 * What the graph says of the sizes of its inputs: sizes that must be equal though they are named differently, sums, and
 * numbers that are baked in. From what is multiplied, added and joined; a size of 1 that is broadcast is not looked for.
 */
import { Dim, einsumTerms, type Shapes } from '../../analyse';
import type { Graph, Node } from '../../ir';

/** Sizes by symbol, as sums and products of other symbols or as numbers. */
export type Relations = ReadonlyMap<string, Dim>;

const BROADCASTING = [
  ...['Add', 'And', 'Div', 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'Max', 'Min', 'Mul'],
  ...['Or', 'Pow', 'Sub', 'Sum', 'Where', 'Xor'],
];

/** Models with more sizes are none that anybody names. */
const MOST_NAMES = 2000;
/** Longer polynomials say nothing that can be used. */
const MOST_SYMBOLS = 6;

/**
 * Works out what must hold of symbols, node by node; what contradicts what was found before is left out.
 * @param symbols those of the inputs; of two that are equal the earlier one stays
 * @param given what is known of some of them
 */
export function sizeRelations(
  graph: Graph,
  shapes: Shapes,
  symbols: readonly string[],
  given: Relations = new Map(),
): Relations {
  const relations = new Map(given);
  if (symbols.length > MOST_NAMES) return relations;
  const rank = new Map(symbols.map((name, index) => [name, index]));
  for (const node of graph.nodes) {
    for (const [a, b] of equalities(node, shapes)) {
      if (a.isUnknown || b.isUnknown || a.equals(b)) continue;
      const rest = substituted(a.minus(b), relations);
      const solved = rest && solve(rest, rank);
      if (!solved) continue;
      add(relations, solved.name, solved.dim);
    }
  }
  return relations;
}

function add(relations: Map<string, Dim>, symbol: string, by: Dim): void {
  for (const [name, dim] of relations)
    if (dim.names.includes(symbol)) relations.set(name, dim.substitute(symbol, by));
  relations.set(symbol, by);
}

/** The same relations where some symbols, of which they say nothing, are one. */
export function withOneSize(relations: Relations, symbols: readonly string[]): Relations {
  const [first, ...others] = symbols.filter((name) => !relations.has(name));
  const result = new Map(relations);
  for (const other of others) if (first !== undefined) add(result, other, Dim.symbol(first));
  return result;
}

function substituted(dim: Dim, relations: Relations): Dim | undefined {
  if (dim.names.length > MOST_SYMBOLS) return undefined;
  let result = dim;
  for (const name of dim.names) {
    const known = relations.get(name);
    if (known) result = result.substitute(name, known);
  }
  return result;
}

/** The last of the symbols that can be told from the others. */
function solve(given: Dim, rank: ReadonlyMap<string, number>): { name: string; dim: Dim } | undefined {
  const rest = given.withoutCommonFactor;
  const names = rest.names;
  if (names.length === 0 || names.length > MOST_SYMBOLS || names.some((name) => !rank.has(name)))
    return undefined;
  const last = names.sort((a, b) => (rank.get(b) ?? 0) - (rank.get(a) ?? 0));
  for (const name of last) {
    const dim = rest.solvedFor(name);
    if (!dim) continue;
    // Sizes are not negative; where one would be, this node does not say what it seems to.
    const isPossible = dim.value === undefined ? !dim.toString().startsWith('-') : dim.value > 0;
    if (isPossible) return { name, dim };
  }
  return undefined;
}

function equalities(node: Node, shapes: Shapes): [Dim, Dim][] {
  const all = node.inputs.map((input) => shapes.shape(input));
  const [first, second] = all;
  if (node.is(...BROADCASTING)) {
    const known = all.flatMap((shape) => (shape ? [shape] : []));
    return known.slice(1).flatMap((shape, index) => aligned(known[index] ?? [], shape));
  }
  if (node.is('MatMul') && first && second) {
    const inner = [first.at(-1), second.at(second.length > 1 ? -2 : -1)];
    return [...pair(inner[0], inner[1]), ...aligned(first.slice(0, -2), second.slice(0, -2))];
  }
  if (node.is('Concat')) return joined(node, all);
  if (node.is('Conv') && first && second)
    return pair(first[1], second[1]?.times(Dim.of(node.int('group') ?? 1)));
  if (node.is('Reshape') && first) return reshaped(first, shapes.fact(node.inputs[1]).elements);
  if (node.is('Expand') && first) return aligned(first, shapes.fact(node.inputs[1]).elements ?? []);
  if (node.is('Einsum')) return contracted(node, all);
  return operatorWidths(node, all);
}

/** Fused operators whose pasts have the width of one head: where these stand, and how many heads the queries hold. */
const PASTS: Readonly<Record<string, { readonly pasts: readonly number[]; readonly heads: string }>> = {
  Attention: { pasts: [4, 5], heads: 'q_num_heads' },
  'com.microsoft.GroupQueryAttention': { pasts: [3, 4], heads: 'num_heads' },
  'com.microsoft.MultiHeadAttention': { pasts: [6, 7], heads: 'num_heads' },
  'com.microsoft.DecoderMaskedMultiHeadAttention': { pasts: [5, 6], heads: 'num_heads' },
};

/** Of queries [B, S, heads * width], or [B, S, (heads + 2 groups) * width] where keys and values are packed with them. */
function operatorWidths(node: Node, all: readonly (readonly Dim[] | undefined)[]): [Dim, Dim][] {
  const form = PASTS[node.operator];
  const heads = form && node.int(form.heads);
  const [query] = all;
  if (!heads || query?.length !== 3) return [];
  const packed = node.inputs[1] ? 0 : 2 * (node.int('kv_num_heads') ?? heads);
  const width = query[2]?.dividedBy(Dim.of(heads + packed));
  return form.pasts.flatMap((index) => [
    ...pair(all[index]?.at(-1), width),
    ...pair(all[index]?.[0], query[0]),
  ]);
}

function pair(a: Dim | undefined, b: Dim | undefined): [Dim, Dim][] {
  return a && b ? [[a, b]] : [];
}

/** Of shapes that are broadcast: axes of which neither is 1. */
function aligned(a: readonly Dim[], b: readonly Dim[]): [Dim, Dim][] {
  const pairs: [Dim, Dim][] = [];
  for (let back = 1; back <= Math.min(a.length, b.length); back++) {
    const [x, y] = [a.at(-back), b.at(-back)];
    if (x && y && x.value !== 1 && y.value !== 1) pairs.push([x, y]);
  }
  return pairs;
}

function joined(node: Node, all: readonly (readonly Dim[] | undefined)[]): [Dim, Dim][] {
  const known = all.flatMap((shape) => (shape ? [shape] : []));
  const [first] = known;
  if (!first) return [];
  const given = node.int('axis') ?? 0;
  const axis = given < 0 ? given + first.length : given;
  return known
    .slice(1)
    .flatMap((shape) => first.flatMap((dim, index) => (index === axis ? [] : pair(dim, shape[index]))));
}

/** As many elements before as behind; an axis that is left open takes the rest, and tells nothing. */
function reshaped(from: readonly Dim[], to: readonly Dim[] | undefined): [Dim, Dim][] {
  if (!to || to.some((dim) => dim.isUnknown || dim.value === -1 || dim.value === 0)) return [];
  const [before, behind] = [Dim.product(from), Dim.product(to)];
  if (before.isUnknown) return [];
  return pair(before, behind);
}

function contracted(node: Node, all: readonly (readonly Dim[] | undefined)[]): [Dim, Dim][] {
  const terms = einsumTerms(
    node,
    all.map((shape) => shape?.length),
  );
  const sizes = new Map<string, Dim>();
  const pairs: [Dim, Dim][] = [];
  terms?.inputs.forEach((term, index) => {
    [...term].forEach((letter, axis) => {
      const dim = all[index]?.[axis];
      if (!dim || dim.value === 1) return;
      const before = sizes.get(letter);
      if (before) pairs.push([before, dim]);
      else sizes.set(letter, dim);
    });
  });
  return pairs;
}
