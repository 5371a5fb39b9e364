import { elementCount, tensorShape } from '../analyse';
import type { Branch } from '../attention/site';
import type { Node, Value } from '../ir';
import { biasPositions, columnPositions, rowPositions } from '../match/projection';
import { byteSize, type DataType, isHalfByte, packHalves, type TensorProto, unpackHalves } from '../onnx';

/** The weights of queries or keys column by column, as bytes: whatever they are stored in. */

type Layout =
  /** One row for each column. */
  | 'rows'
  /** [in, columns] */
  | 'columns'
  /** The same for all columns. */
  | 'shared'
  /** As `starts` and `steps` say. */
  | 'strided';

/** A stored tensor of a projection, as far as it belongs to one side of an attention. */
export interface SidePart {
  /** Name of what stands beside it, behind `q2_proj.` or `k2_proj.`. */
  readonly suffix: string;
  /** The value of the original that holds it, or that a node reads it as. */
  readonly operand: Value;
  /** Who reads it, and at which input, directly or laid out in another way: others may read it as well. */
  readonly reader: { readonly node: Node; readonly index: number };
  readonly layout: Layout;
  /** Layout of what stands beside it. */
  readonly newLayout: Layout;
  /** Columns in the stored tensor. */
  readonly all: number;
  /** Those of this side, in the order of heads and widths. */
  readonly columns: Int32Array;
  /** For `strided`: where each column of the side begins, in elements, and where its numbers stand behind that. */
  readonly starts: Int32Array;
  readonly steps: Int32Array;
  /** Bytes that belong together. */
  readonly elementSize: number;
  /** For numbers of 4 bits, two in a byte: how many there are. */
  readonly halves?: number | undefined;
  /** True for numbers that may be any; a scale or zero point may not. */
  readonly counts: boolean;
}

const SUFFIXES = {
  weight: 'weight',
  scale: 'weight_scale',
  zero_point: 'weight_zero_point',
  bias: 'bias',
  bias_scale: 'bias_scale',
  bias_zero_point: 'bias_zero_point',
} as const;

const NONE = new Int32Array(0);

/** What a projection is stored in: weight and bias; scales and zero points of a quantized one. */
export function branchParts({ projection, columns }: Branch): SidePart[] {
  const { holder, tensor, bias, quantized, outFeatures } = projection;
  const common = { all: outFeatures, columns, starts: NONE, steps: NONE };
  const weights: SidePart[] = quantized
    ? quantized.parts.map(({ role, node, index, value, tensor: stored, layout }) => ({
        ...common,
        suffix: SUFFIXES[role],
        operand: value,
        reader: { node, index },
        layout,
        newLayout: layout,
        elementSize: elementSize(stored),
        halves: isHalfByte(stored.dataType) ? elementCount(tensorShape(stored)) : undefined,
        counts: role === 'weight' || role === 'bias',
      }))
    : [
        {
          ...common,
          suffix: 'weight',
          operand: holder,
          reader: { node: projection.node, index: projection.node.inputs.indexOf(projection.weight) },
          layout: 'strided',
          newLayout: 'rows',
          starts: columnPositions(projection, columns),
          steps: rowPositions(projection),
          elementSize: elementSize(tensor),
          counts: true,
        },
      ];
  if (!bias) return weights;
  const biasPart: SidePart = {
    ...common,
    suffix: 'bias',
    operand: bias.holder,
    reader: { node: bias.node, index: bias.node.inputs.indexOf(bias.value) },
    layout: 'strided',
    newLayout: 'rows',
    starts: biasPositions(bias, columns),
    steps: Int32Array.of(0),
    elementSize: elementSize(bias.tensor),
    counts: true,
  };
  return [...weights, biasPart];
}

function elementSize({ dataType = 0 }: TensorProto): number {
  return byteSize(dataType as DataType, 1) ?? 1;
}

/** What a stored tensor holds for each column of the side, numbers of 4 bits by the byte; one for all where it is shared. */
export function readColumns(
  { layout, all, columns, starts, steps, elementSize, halves }: SidePart,
  given: Uint8Array,
): Uint8Array[] {
  if (layout === 'shared') return [given];
  const stored = halves === undefined ? given : unpackHalves(given, halves);
  if (layout === 'strided') return Array.from(starts, (start) => pick(stored, start, steps, elementSize));
  const length = stored.length / all;
  return Array.from(columns, (column) => {
    if (layout === 'rows') return stored.slice(column * length, (column + 1) * length);
    return gather(stored, column * elementSize, all * elementSize, length, elementSize);
  });
}

/** A stored tensor in which the columns of the side hold something else. */
export function replaceColumns(
  part: SidePart,
  stored: Uint8Array,
  contents: readonly Uint8Array[],
): Uint8Array {
  const { layout, starts, steps, elementSize: size, halves } = part;
  const bytes = halves === undefined ? new Uint8Array(stored) : unpackHalves(stored, halves);
  if (layout === 'strided') {
    starts.forEach((start, index) => {
      steps.forEach((step, at) => {
        const content = contents[index]?.subarray(at * size, (at + 1) * size);
        if (content) bytes.set(content, (start + step) * size);
      });
    });
    return bytes;
  }
  part.columns.forEach((column, index) => {
    put(part, part.layout, part.all, bytes, column, contents[index] ?? new Uint8Array(0));
  });
  return halves === undefined ? bytes : packHalves(bytes);
}

/** The columns of the side as a tensor of their own, laid out as the second projection is. */
export function writeColumns(part: SidePart, contents: readonly Uint8Array[]): Uint8Array {
  if (part.newLayout === 'shared') return contents[0] ?? new Uint8Array(0);
  const bytes = new Uint8Array(contents.reduce((all, each) => all + each.length, 0));
  contents.forEach((each, column) => {
    put(part, part.newLayout, contents.length, bytes, column, each);
  });
  return part.halves === undefined ? bytes : packHalves(bytes);
}

function put(
  { elementSize }: SidePart,
  layout: Layout,
  all: number,
  bytes: Uint8Array,
  column: number,
  content: Uint8Array,
): void {
  if (layout === 'rows') {
    bytes.set(content, column * content.length);
    return;
  }
  for (let at = 0; at < content.length; at += elementSize)
    bytes.set(content.subarray(at, at + elementSize), column * elementSize + at * all);
}

function gather(stored: Uint8Array, start: number, step: number, length: number, size: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += size)
    bytes.set(stored.subarray(start + (at / size) * step, start + (at / size) * step + size), at);
  return bytes;
}

function pick(stored: Uint8Array, start: number, steps: Int32Array, size: number): Uint8Array {
  const bytes = new Uint8Array(steps.length * size);
  steps.forEach((step, at) => {
    bytes.set(stored.subarray((start + step) * size, (start + step + 1) * size), at * size);
  });
  return bytes;
}
