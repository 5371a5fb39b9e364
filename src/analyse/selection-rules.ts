import { Dim } from './dim';
import { type Fact, frontAxis, NOTHING, type Rule, type RuleContext } from './facts';

/** Rules of the operators that pick elements by their values. */

/** The k largest along an axis, and where they stood. */
function topK(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  if (!shape) return [NOTHING, NOTHING];
  const axis = frontAxis(node.int('axis') ?? -1, shape.length);
  // Before opset 10 an attribute.
  const old = node.int('k');
  const count = old === undefined ? context.elements(1)?.[0] : Dim.of(old);
  const fact = { shape: shape.map((dim, at) => (at === axis ? (count ?? Dim.unknown()) : dim)) };
  return [fact, fact];
}

function argMax(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  if (!shape) return [NOTHING];
  const axis = frontAxis(node.int('axis') ?? 0, shape.length);
  const keep = (node.int('keepdims') ?? 1) === 1;
  return [{ shape: shape.flatMap((dim, at) => (at !== axis ? [dim] : keep ? [Dim.of(1)] : [])) }];
}

function oneHot(context: RuleContext): readonly Fact[] {
  const indices = context.shape(0);
  if (!indices) return [NOTHING];
  const depth = context.elements(1)?.[0] ?? Dim.unknown();
  const axis = frontAxis(context.node.int('axis') ?? -1, indices.length + 1);
  return [{ shape: [...indices.slice(0, axis), depth, ...indices.slice(axis)] }];
}

/** How many are picked is known when the model runs. */
function compress(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const given = context.node.int('axis');
  if (given === undefined) return [{ shape: [Dim.unknown()] }];
  const axis = shape && frontAxis(given, shape.length);
  return [{ shape: shape?.map((dim, at) => (at === axis ? Dim.unknown() : dim)) }];
}

export const selectionRules: Record<string, Rule> = {
  TopK: topK,
  ArgMax: argMax,
  ArgMin: argMax,
  OneHot: oneHot,
  Compress: compress,
  NonMaxSuppression: () => [{ shape: [Dim.unknown(), Dim.of(3)] }],
};
