import {
  ancestors,
  type Dataflow,
  dataInputs,
  descendants,
  isDequantize,
  isQuantize,
  smallConstant,
} from '../analyse';
import type { Node, Value } from '../ir';
import type { Analysis } from '../match/context';
import { type FedKeys, isProjected } from '../match/fed-keys';
import { branchesOf, type Side } from '../match/side';
import type { PlainScores, SiteTraits } from './site';

interface ScoreParts {
  readonly scores: Node;
  /** What the softmax is taken of. */
  readonly normalised: Value;
  readonly query: Side;
  readonly key: Side | FedKeys;
  readonly plain: PlainScores | undefined;
}

/** Says in words what happens between the projections and the softmax. For people; nothing is decided by it. */
export function describeTraits(parts: ScoreParts, analysis: Analysis): SiteTraits {
  return {
    scale: describeScale(parts, analysis),
    mask: describeMask(parts, analysis),
    positions: describePositions(parts),
    cache: describeCache(parts.key),
  };
}

/** What a side begins with. */
function starts(side: Side | FedKeys): Value[] {
  return isProjected(side) ? branchesOf(side).map(({ separated }) => separated) : [side.separated];
}

function slice(value: Value, side: Side | FedKeys): Node[] {
  return descendants(starts(side), ancestors(value, new Set(starts(side))));
}

/** All factors by which scores are multiplied: constants on the path of queries, keys and scores. */
function describeScale({ scores, normalised, query, key }: ScoreParts, { model }: Analysis): string {
  let factor = 1;
  let found = false;
  const output = scores.outputs[0];
  const behind = output ? descendants([output], ancestors(normalised, new Set([output]))) : [];
  const queryNodes = slice(query.operand, query);
  const keyNodes = slice(key.operand, key);
  for (const node of [...queryNodes, ...keyNodes, ...behind]) {
    if (!node.is('Mul', 'Div')) continue;
    const constant =
      smallConstant(model, node.inputs[1]) ??
      (node.is('Mul') ? smallConstant(model, node.inputs[0]) : undefined);
    const [value] = constant?.values.length === 1 ? constant.values : [];
    if (value === undefined || value === 0) continue;
    factor *= node.is('Mul') ? value : 1 / value;
    found = true;
  }
  return found ? Number(factor.toPrecision(6)).toString() : 'none';
}

function describeMask({ scores, normalised }: ScoreParts, { dataflow, model }: Analysis): string {
  const output = scores.outputs[0];
  if (!output) return 'none';
  const path = new Set(descendants([output], ancestors(normalised, new Set([output]))));
  const kinds = new Set<string>();
  for (const node of path) {
    if (node.is('Where') && isOnPath(node, path, output)) kinds.add('where');
    if (node.is('Add', 'Sub') && isOnPath(node, path, output)) {
      const term = node.inputs.find(
        (value) => value && value !== output && !(value.producer && path.has(value.producer)),
      );
      const side = term ?? node.inputs[1];
      if (smallConstant(model, side)?.values.length !== 1) kinds.add(maskTerm(side, dataflow));
    }
  }
  return kinds.size > 0 ? [...kinds].join(' + ') : 'none';
}

function maskTerm(value: Value | undefined, dataflow: Dataflow): string {
  return value && dataflow.dependsOnData(value) ? 'additive' : 'additive, from shapes alone';
}

function isOnPath(node: Node, path: ReadonlySet<Node>, output: Value): boolean {
  return node.inputs.some((input) => input === output || (input?.producer && path.has(input.producer)));
}

function describePositions({ query, key }: ScoreParts): string {
  const behind = (side: Side | FedKeys) => ancestors(side.operand, new Set(starts(side)));
  const nodes = [...behind(query), ...behind(key)];
  if (nodes.some((node) => node.opType === 'RotaryEmbedding')) return 'rotary';
  const waves = (start: Node[]) => start.some((node) => node.is('Cos', 'Sin'));
  return waves(nodes) ? 'rotary' : 'none in scores';
}

/** Whether keys are joined with keys that are fed, or are fed themselves. */
function describeCache(key: Side | FedKeys): string {
  if (!isProjected(key)) return `keys '${key.separated.name}'`;
  const joins = slice(key.operand, key).filter((node) =>
    node.is('Concat', 'ScatterND', 'ScatterElements', 'TensorScatter'),
  );
  const past = joins.flatMap((node) => node.inputs).find((input) => input && isFed(input));
  return past ? `past '${fedName(past)}'` : 'none';
}

function isFed(value: Value): boolean {
  return fedName(value) !== undefined;
}

/** The graph input behind a value, through layout, casts and quantization only. */
function fedName(value: Value): string | undefined {
  let at = value;
  for (let node = at.producer; node; node = at.producer) {
    const moves = node.is('Cast', 'Identity', 'Reshape', 'Transpose', 'Unsqueeze', 'Squeeze', 'Slice');
    const [first] = dataInputs(node);
    if (!first || (!moves && !isQuantize(node) && !isDequantize(node))) return undefined;
    at = first;
  }
  return at.isInput ? at.name : undefined;
}
