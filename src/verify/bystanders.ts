import { isShapeReader } from '../analyse';
import type { Model, Node, Use, Value } from '../ir';
import { componentValues } from './layer-checks';
import type { LayerUnderTest } from './layer-reference';
import { valueAt } from './places';

/**
 * Who reads what the queries and keys of a layer are made of, for something else than its scores: values that are the keys,
 * gates, attentions that were not rewritten. They have a right to what they read before its weights are changed; the
 * negative component has not.
 */
export interface Bystanders {
  readonly uses: readonly BystanderUse[];
  /** The nodes from the projections to the scores. */
  readonly slice: ReadonlySet<Node>;
  readonly sides: readonly Sides[];
}

export interface BystanderUse extends Use {
  readonly value: Value;
  /** Layers whose queries or keys are made of it. */
  readonly layers: readonly LayerUnderTest[];
}

/** Nodes that read a part of a projection, and whether it is the weights themselves or what is applied behind them. */
export type Projections = ReadonlyMap<Node, 'weight' | 'behind'>;

/** The nodes of a layer by whom they serve. */
export interface Sides {
  readonly under: LayerUnderTest;
  /** From the projections to the positive scores or maps. */
  readonly positive: ReadonlySet<Node>;
  /** What the rewrite added in front of the negative ones. */
  readonly negative: ReadonlySet<Node>;
  /** What it added behind both. */
  readonly behind: ReadonlySet<Node>;
}

/**
 * @param model the rewritten model, or a copy of it
 * @param layers with the nodes of the model that read what will change of their projections: weights, or biases and scales
 */
export function findBystanders(model: Model, layers: ReadonlyMap<LayerUnderTest, Projections>): Bystanders {
  const known = operatorsOf(layers);
  const sides = [...layers].map(([under, projections]) => sidesOf(model, under, projections, known));
  const slice = new Set(sides.flatMap(({ positive }) => [...positive]));
  const uses: BystanderUse[] = [];
  for (const node of slice) {
    const own = sides.filter(({ positive }) => positive.has(node));
    for (const value of node.outputs) {
      for (const use of value?.uses ?? []) {
        if (!value || isShapeReader(use.node) || !own.every((each) => isBystander(use, each))) continue;
        uses.push({ node: use.node, index: use.index, value, layers: own.map(({ under }) => under) });
      }
    }
  }
  return { uses, slice, sides };
}

function isBystander({ node, index }: Use, { under, positive, negative, behind }: Sides): boolean {
  if (readsValues(under, node, index)) return true;
  return !positive.has(node) && !negative.has(node) && !behind.has(node);
}

/** True where a fused operator reads the values of the attention, of which neither component is made. */
function readsValues({ site: { core } }: LayerUnderTest, { operator }: Node, index: number): boolean {
  if (core.kind !== 'operator' || operator !== core.node.operator) return false;
  return index === core.valueIndex && index !== core.keyIndex && index !== core.queryIndex;
}

function sidesOf(
  model: Model,
  under: LayerUnderTest,
  projections: Projections,
  known: ReadonlyMap<string, ReadonlySet<string>>,
): Sides {
  const { layer, scope } = under;
  const at = (names: readonly string[]) =>
    names.flatMap((name) => valueAt(model, { scope, name })?.producer ?? []);
  const isNew = (node: Node) =>
    !node.outputs.some((output) => output && known.get(output.name)?.has(node.operator));
  const [first, second] = [at(componentValues(under, 'positive')), at(componentValues(under, 'negative'))];
  const last = at([layer.output]);
  // What a projection is fed does not belong to it, but the product in front of a bias does.
  const before = upwards(under, first, (node) => projections.get(node) !== 'weight');
  // The last node bears the name of the original's, and may be the same operator.
  const isBehind = (node: Node) => last.includes(node) || (isNew(node) && !first.includes(node));
  return {
    under,
    positive: downwards([...projections.keys()], before),
    negative: new Set([...upwards(under, second, isNew)].filter(isNew)),
    behind: new Set([...upwards(under, last, isBehind)].filter(isBehind)),
  };
}

/** Some nodes and what they are computed from. @param goesOn true for nodes whose inputs are looked at as well */
function upwards(under: LayerUnderTest, from: readonly Node[], goesOn: (node: Node) => boolean): Set<Node> {
  const seen = new Set(from);
  for (const node of seen) {
    if (!goesOn(node)) continue;
    node.inputs.forEach((input, index) => {
      if (input?.producer && !readsValues(under, node, index)) seen.add(input.producer);
    });
    for (const body of node.bodies.values())
      for (const { producer } of body.outputs) if (producer) seen.add(producer);
  }
  return seen;
}

/** Some nodes and those among `allowed` that read what they give. */
function downwards(from: readonly Node[], allowed: ReadonlySet<Node>): Set<Node> {
  const seen = new Set(from.filter((node) => allowed.has(node)));
  for (const { outputs, graph } of seen) {
    for (const output of outputs) {
      if (!output) continue;
      for (const reader of output.readers) if (allowed.has(reader)) seen.add(reader);
      const { owner } = graph;
      if (owner && allowed.has(owner) && graph.outputs.includes(output)) seen.add(owner);
    }
  }
  return seen;
}

/** By what operators the original computes values, by name. */
function operatorsOf(layers: ReadonlyMap<LayerUnderTest, unknown>): Map<string, Set<string>> {
  const operators = new Map<string, Set<string>>();
  const models = new Set([...layers.keys()].map(({ site }) => site.scope.model));
  for (const model of models) {
    for (const { nodes } of model.graph.scopes()) {
      for (const { outputs, operator } of nodes) {
        for (const output of outputs) if (output) add(operators, output, operator);
      }
    }
  }
  return operators;
}

function add(operators: Map<string, Set<string>>, { name }: Value, operator: string): void {
  const known = operators.get(name) ?? new Set<string>();
  operators.set(name, known.add(operator));
}
