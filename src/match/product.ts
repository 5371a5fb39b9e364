import {
  type Atom,
  activationProduct,
  type Dataflow,
  einsumTerms,
  frontAxis,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';

/** Where queries and keys stand in a product of scores, and what its result looks like. */
export interface ScoreLayout {
  readonly queryIndex: number;
  readonly keyIndex: number;
  /** The axis of each operand that the product sums over. */
  readonly queryWidth: number;
  readonly keyWidth: number;
  /** Axes of the scores in terms of those of the queries; undefined where keys run. */
  readonly axes: readonly (number | undefined)[];
}

/** Rearranging of operands so that a product becomes MatMul of [.., S, T] and [.., T, D]. */
export interface Arrangement {
  readonly probabilities: readonly number[];
  readonly values: readonly number[];
  /** Axes of size 1 to add to the values after that, for batch axes that they lack. */
  readonly valuesUnsqueeze: readonly number[];
  /** From [.., S, D] to the axes of the result. */
  readonly output: readonly number[];
}

/** Where probabilities and values stand in the product that attention ends with. */
export interface ValueLayout {
  readonly probabilitiesIndex: number;
  readonly valuesIndex: number;
  /** Undefined where the product is a plain MatMul. */
  readonly arrangement: Arrangement | undefined;
}

function isMatMul(node: Node): boolean {
  return node.is('MatMul') || node.isFrom('com.microsoft', 'FusedMatMul');
}

/** Describes a product of scores; undefined for forms that are not understood. Keys are on the last axis of the scores. */
export function scoreLayout(node: Node, shapes: Shapes): ScoreLayout | undefined {
  const ranks = node.inputs.map((input) => shapes.shape(input)?.length);
  const [left, right] = ranks;
  if (left === undefined || right === undefined) return undefined;
  if (node.is('Einsum')) return einsumScores(node);
  if (
    !isMatMul(node) ||
    node.int('transA') === 1 ||
    node.int('transBatchA') === 1 ||
    node.int('transBatchB') === 1
  )
    return undefined;
  const rank = Math.max(left, right);
  const axes = Array.from({ length: rank }, (_, axis) => {
    const at = axis - (rank - left);
    return axis === rank - 1 ? undefined : at < 0 ? undefined : at;
  });
  return {
    queryIndex: 0,
    keyIndex: 1,
    queryWidth: left - 1,
    keyWidth: frontAxis(node.int('transB') === 1 ? -1 : -2, right),
    axes,
  };
}

function einsumScores(node: Node): ScoreLayout | undefined {
  const terms = einsumTerms(node.string('equation'));
  const [a, b] = terms?.inputs ?? [];
  const keyLetter = terms?.output.at(-1);
  if (!terms || !a || !b || !keyLetter) return undefined;
  const keyIndex = b.includes(keyLetter) && !a.includes(keyLetter) ? 1 : 0;
  const [query, key] = keyIndex === 1 ? [a, b] : [b, a];
  const summed = [...query].filter((letter) => key.includes(letter) && !terms.output.includes(letter));
  const [width] = summed;
  if (!key.includes(keyLetter) || query.includes(keyLetter) || summed.length !== 1 || !width)
    return undefined;
  return {
    queryIndex: 1 - keyIndex,
    keyIndex,
    queryWidth: query.indexOf(width),
    keyWidth: key.indexOf(width),
    axes: [...terms.output].map((letter) => (query.includes(letter) ? query.indexOf(letter) : undefined)),
  };
}

/** The view of scores: rows and heads of the queries, keys behind them. */
export function scoreView(
  layout: ScoreLayout,
  query: View,
  shape: NonNullable<ReturnType<Shapes['shape']>>,
): View {
  const axes = layout.axes.map((from, axis): readonly Atom[] => {
    if (from !== undefined) return query.axes[from] ?? [];
    const size = shape[axis];
    return size && size.value !== 1 && axis === layout.axes.length - 1
      ? [{ kind: 'lead', size, order: undefined }]
      : [];
  });
  return { axes, offset: 0 };
}

/** Describes the product that `probabilities` enter; undefined for forms that are not understood. */
export function valueLayout(
  node: Node,
  probabilities: Value,
  dataflow: Dataflow,
  shapes: Shapes,
): ValueLayout | undefined {
  if (!activationProduct(node, dataflow)) return undefined;
  const probabilitiesIndex = node.inputs.indexOf(probabilities);
  if (node.is('Einsum')) return einsumValues(node, probabilitiesIndex);
  const flags = ['transA', 'transB', 'transBatchA', 'transBatchB'];
  if (!isMatMul(node) || flags.some((flag) => node.int(flag) === 1) || (node.float('alpha') ?? 1) !== 1)
    return undefined;
  if (probabilitiesIndex !== 0 || shapes.shape(node.inputs[1]) === undefined) return undefined;
  return { probabilitiesIndex: 0, valuesIndex: 1, arrangement: undefined };
}

function einsumValues(node: Node, probabilitiesIndex: number): ValueLayout | undefined {
  const terms = einsumTerms(node.string('equation'));
  const probabilities = terms?.inputs[probabilitiesIndex];
  const values = terms?.inputs[1 - probabilitiesIndex];
  if (!terms || !probabilities || !values) return undefined;
  const summed = [...probabilities].filter(
    (letter) => values.includes(letter) && !terms.output.includes(letter),
  );
  const own = [...values].filter((letter) => !probabilities.includes(letter));
  const rows = [...probabilities].filter(
    (letter) => !values.includes(letter) && terms.output.includes(letter),
  );
  const [keys] = summed;
  const [width] = own;
  const row = rows.at(-1);
  if (!keys || !width || !row || summed.length !== 1 || own.length !== 1 || probabilities.at(-1) !== keys)
    return undefined;
  const batch = [...probabilities].filter((letter) => letter !== row && letter !== keys);
  const present = batch.filter((letter) => values.includes(letter));
  const canonical = [...batch, row, width];
  return {
    probabilitiesIndex,
    valuesIndex: 1 - probabilitiesIndex,
    arrangement: {
      probabilities: [...batch, row, keys].map((letter) => probabilities.indexOf(letter)),
      values: [...present, keys, width].map((letter) => values.indexOf(letter)),
      valuesUnsqueeze: batch.flatMap((letter, axis) => (values.includes(letter) ? [] : [axis])),
      output: [...terms.output].map((letter) => canonical.indexOf(letter)),
    },
  };
}
