import type { Node } from '../ir';
import { constantOfNode } from './constants';
import { Dim } from './dim';
import { type Fact, frontAxis, NOTHING, type Rule, type RuleContext } from './facts';
import { refuseNegative } from './impossible';
import { MOST_ELEMENTS } from './limits';

/** Rules of the operators that compute shapes: what they give as numbers, beside what shape that has. */

function vector(elements: readonly Dim[]): Fact {
  return { shape: [Dim.of(elements.length)], elements };
}

/** The shape of a list that is longer than what is read. */
function listShape(node: Node): number[] | undefined {
  const list = node.attribute('value_ints')?.ints ?? node.attribute('value_floats')?.floats;
  return list && [list.length];
}

/** Whether a vector of some length is worked out. */
function isLength(length: number | undefined): length is number {
  return length !== undefined && Number.isInteger(length) && length >= 0 && length <= MOST_ELEMENTS;
}

/** Applies a binary operation to the elements of two scalars or vectors, if both are known. */
export function combineElements(
  context: RuleContext,
  combine: (a: Dim, b: Dim) => Dim | undefined,
): readonly Dim[] | undefined {
  const a = context.elements(0);
  const b = context.elements(1);
  if (!a || !b || (a.length !== b.length && a.length !== 1 && b.length !== 1)) return undefined;
  const result: Dim[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const x = a[a.length === 1 ? 0 : i];
    const y = b[b.length === 1 ? 0 : i];
    result.push((x && y && combine(x, y)) ?? Dim.unknown());
  }
  return result;
}

/** Whether two dimensions are equal, where that can be known: a dimension with symbols is never negative. */
function equality(a: Dim, b: Dim): boolean | undefined {
  if (a.equals(b)) return true;
  if (a.isUnknown || b.isUnknown) return undefined;
  const difference = a.minus(b).value;
  if (difference !== undefined) return difference === 0;
  if ((a.value ?? 0) < 0 || (b.value ?? 0) < 0) return false;
  return undefined;
}

export const arithmetic: Record<string, (a: Dim, b: Dim) => Dim | undefined> = {
  Add: (a, b) => a.plus(b),
  Sub: (a, b) => a.minus(b),
  Mul: (a, b) => a.times(b),
  Div: (a, b) => {
    if (a.value !== undefined && b.value) return Dim.of(Math.trunc(a.value / b.value));
    return a.flooredBy(b);
  },
  Mod: (a, b) => (a.value !== undefined && b.value ? Dim.of(a.value % b.value) : undefined),
  Min: (a, b) =>
    a.equals(b)
      ? a
      : a.value !== undefined && b.value !== undefined
        ? Dim.of(Math.min(a.value, b.value))
        : undefined,
  Max: (a, b) =>
    a.equals(b)
      ? a
      : a.value !== undefined && b.value !== undefined
        ? Dim.of(Math.max(a.value, b.value))
        : undefined,
  Equal: (a, b) => {
    const equal = equality(a, b);
    return equal === undefined ? undefined : Dim.of(equal ? 1 : 0);
  },
};

export const arithmeticRules: Record<string, Rule> = {
  Constant: ({ model, node }) => {
    const constant = constantOfNode(model, node);
    const tensor = node.tensor('value');
    const shape = constant?.shape ?? tensor?.dims.map(Number) ?? listShape(node);
    return [
      {
        shape: shape?.map((dim) => Dim.of(dim)),
        elements:
          constant && constant.shape.length <= 1 ? constant.values.map((value) => Dim.of(value)) : undefined,
      },
    ];
  },
  Shape: (context) => {
    const shape = context.shape(0);
    if (!shape) return [NOTHING];
    const start = frontAxis(context.node.int('start') ?? 0, shape.length);
    const end = frontAxis(context.node.int('end') ?? shape.length, shape.length);
    return [vector(shape.slice(Math.max(start, 0), end))];
  },
  Size: (context) => {
    const shape = context.shape(0);
    return [{ shape: [], elements: shape && [Dim.product(shape)] }];
  },
  ConstantOfShape: (context) => {
    const shape = context.elements(0);
    refuseNegative(context, shape);
    const fill = context.node.tensor('value');
    const known = shape?.length === 1 ? shape[0]?.value : shape?.length === 0 ? 1 : undefined;
    if (!shape || !isLength(known)) return [{ shape }];
    const bytes = fill && context.model.bytes(fill);
    const value =
      bytes?.length === 8
        ? Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true))
        : fill
          ? undefined
          : 0;
    return [{ shape, elements: value === undefined ? undefined : Array(known).fill(Dim.of(value)) }];
  },
  Range: (context) => {
    const [start] = context.elements(0) ?? [];
    const [limit] = context.elements(1) ?? [];
    const [step] = context.elements(2) ?? [];
    if (!start || !limit || step?.value !== 1) return [{ shape: [Dim.unknown()] }];
    const count = limit.minus(start);
    const from = start.value;
    // Backwards comes to nothing.
    const length = count.value === undefined ? undefined : Math.max(0, Math.ceil(count.value));
    if (from === undefined || length === undefined) return [{ shape: [count] }];
    if (!isLength(length)) return [{ shape: [Dim.of(length)] }];
    return [vector(Array.from({ length }, (_, index) => Dim.of(from + index)))];
  },
};
