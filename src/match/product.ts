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
  /** The axis of the scores on which the keys stand. */
  readonly keyAxis: number;
  /** The axis on which the queries stand, beside heads and batch. */
  readonly queryAxis: number | undefined;
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
  /** The axis of the probabilities that the product sums over. */
  readonly keyAxis: number;
  /** Undefined where the product is a plain MatMul. */
  readonly arrangement: Arrangement | undefined;
}

function isMatMul(node: Node): boolean {
  return node.is('MatMul') || node.isFrom('com.microsoft', 'FusedMatMul');
}

/** The ways to read a product as one of scores: either operand may hold the queries. The usual one first. */
export function scoreLayouts(node: Node, shapes: Shapes): ScoreLayout[] {
  const [left, right] = node.inputs.map((input) => shapes.shape(input)?.length);
  if (left === undefined || right === undefined) return [];
  if (node.is('Einsum')) return einsumScores(node, [left, right]);
  if (
    !isMatMul(node) ||
    node.int('transA') === 1 ||
    node.int('transBatchA') === 1 ||
    node.int('transBatchB') === 1
  )
    return [];
  const rank = Math.max(left, right);
  const [rows, columns] = [rank - 2, rank - 1];
  const rightWidth = frontAxis(node.int('transB') === 1 ? -1 : -2, right);
  const rightRows = frontAxis(node.int('transB') === 1 ? -2 : -1, right);
  const batch = (operand: number) =>
    Array.from({ length: rows }, (_, axis) => (axis < rank - operand ? undefined : axis - (rank - operand)));
  return [
    {
      queryIndex: 0,
      keyIndex: 1,
      queryWidth: left - 1,
      keyWidth: rightWidth,
      axes: [...batch(left), left - 2, undefined],
      keyAxis: columns,
      queryAxis: rows,
    },
    {
      queryIndex: 1,
      keyIndex: 0,
      queryWidth: rightWidth,
      keyWidth: left - 1,
      axes: [...batch(right), undefined, rightRows],
      keyAxis: rows,
      queryAxis: columns,
    },
  ];
}

function einsumScores(node: Node, ranks: readonly number[]): ScoreLayout[] {
  const terms = einsumTerms(node, ranks);
  const [a, b] = terms?.inputs ?? [];
  if (!terms || !a || !b) return [];
  const alone = [...terms.output].filter((letter) => a.includes(letter) !== b.includes(letter)).reverse();
  return alone.flatMap((keyLetter): ScoreLayout[] => {
    const keyIndex = b.includes(keyLetter) ? 1 : 0;
    const [query, key] = keyIndex === 1 ? [a, b] : [b, a];
    const summed = [...query].filter((letter) => key.includes(letter) && !terms.output.includes(letter));
    const [width] = summed;
    if (summed.length !== 1 || !width) return [];
    return [
      {
        queryIndex: 1 - keyIndex,
        keyIndex,
        queryWidth: query.indexOf(width),
        keyWidth: key.indexOf(width),
        axes: [...terms.output].map((letter) => (query.includes(letter) ? query.indexOf(letter) : undefined)),
        keyAxis: terms.output.indexOf(keyLetter),
        queryAxis: alone
          .map((letter) => terms.output.indexOf(letter))
          .find((axis) => query.includes(terms.output[axis] ?? '')),
      },
    ];
  });
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
    return size && size.value !== 1 && axis === layout.keyAxis
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
  const ranks = node.inputs.map((input) => shapes.shape(input)?.length);
  const [left, right] = ranks;
  if (left === undefined || right === undefined) return undefined;
  if (node.is('Einsum')) return einsumValues(node, probabilitiesIndex, ranks);
  const flags = ['transA', 'transB', 'transBatchA', 'transBatchB'];
  if (!isMatMul(node) || flags.some((flag) => node.int(flag) === 1) || (node.float('alpha') ?? 1) !== 1)
    return undefined;
  if (probabilitiesIndex === 0)
    return { probabilitiesIndex: 0, valuesIndex: 1, arrangement: undefined, keyAxis: left - 1 };
  // Values [.., E, T] times probabilities [.., T, S]: the same product, transposed.
  if (left !== right) return undefined;
  const swapped = Array.from({ length: left }, (_, axis) =>
    axis < left - 2 ? axis : axis === left - 2 ? left - 1 : left - 2,
  );
  const arrangement = { probabilities: swapped, values: swapped, valuesUnsqueeze: [], output: swapped };
  return { probabilitiesIndex: 1, valuesIndex: 0, arrangement, keyAxis: left - 2 };
}

function einsumValues(
  node: Node,
  probabilitiesIndex: number,
  ranks: readonly (number | undefined)[],
): ValueLayout | undefined {
  const terms = einsumTerms(node, ranks);
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
  if (!keys || !width || !row || summed.length !== 1 || own.length !== 1) return undefined;
  const batch = [...probabilities].filter((letter) => letter !== row && letter !== keys);
  const present = batch.filter((letter) => values.includes(letter));
  const canonical = [...batch, row, width];
  return {
    probabilitiesIndex,
    valuesIndex: 1 - probabilitiesIndex,
    keyAxis: probabilities.indexOf(keys),
    arrangement: {
      probabilities: [...batch, row, keys].map((letter) => probabilities.indexOf(letter)),
      values: [...present, keys, width].map((letter) => values.indexOf(letter)),
      valuesUnsqueeze: batch.flatMap((letter, axis) => (values.includes(letter) ? [] : [axis])),
      output: [...terms.output].map((letter) => canonical.indexOf(letter)),
    },
  };
}
