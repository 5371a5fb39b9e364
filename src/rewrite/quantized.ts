import { elementCount, tensorShape } from '../analyse';
import type { Model } from '../ir';
import type { Projection } from '../match/projection';
import type { PartRole, QuantizedPart, QuantizedWeights } from '../match/quantized-parts';
import {
  type ByteRange,
  byteSize,
  computedBytes,
  DataType,
  isHalfByte,
  memoryBytes,
  packHalves,
  type TensorProto,
} from '../onnx';
import { decodeFloats, encodeFloats, type FloatType, isFloatType } from '../onnx/floats';
import { pickColumns } from './columns';
import type { UnplacedParameter } from './parameters';
import { makeTensor } from './tensors';

/**
 * New weights for a quantized projection, in the format of the model's own: copies take the stored numbers as they are,
 * new numbers are quantized over their known range.
 */

/** Names of the parts behind `q2_proj.`. */
const SUFFIX: Readonly<Record<PartRole, string>> = {
  weight: 'weight',
  scale: 'weight_scale',
  zero_point: 'weight_zero_point',
  bias: 'bias',
  bias_scale: 'bias_scale',
  bias_zero_point: 'bias_zero_point',
};

/** Name of a part behind `q2_proj.`. */
export function partName(role: PartRole): string {
  return SUFFIX[role];
}

function newShape({ tensor, layout }: QuantizedPart, columns: number, outFeatures: number): number[] {
  const shape = tensorShape(tensor);
  if (layout === 'shared') return shape;
  if (layout === 'columns') return [...shape.slice(0, -1), columns];
  const [first = 1, ...rest] = shape;
  return [(first / outFeatures) * columns, ...rest];
}

/** The parts of a second projection that holds the given columns of the first. */
export function copiedParts(
  model: Model,
  projection: Projection,
  quantized: QuantizedWeights,
  columns: Int32Array,
  prefix: string,
): UnplacedParameter[] {
  return quantized.parts.map((part) => {
    const shape = newShape(part, columns.length, projection.outFeatures);
    const data =
      part.layout === 'shared'
        ? model.file.tensorBytes(part.tensor)
        : pickColumns(
            model,
            part.tensor,
            { columns: projection.outFeatures, outFirst: part.layout === 'rows' },
            columns,
          );
    return {
      suffix: `${prefix}.${partName(part.role)}`,
      tensor: makeTensor(part.tensor.dataType ?? 0, shape, data),
    };
  });
}

/**
 * The parts of a second projection with numbers from -bound to bound.
 * @param columns those of the first that it stands beside
 * @param numbers [columns, in], row-major; all zeros where the bound is 0
 */
export function quantizedParts(
  model: Model,
  projection: Projection,
  quantized: QuantizedWeights,
  side: Int32Array,
  numbers: Iterable<Float32Array>,
  bound: number,
  prefix: string,
): UnplacedParameter[] {
  const middle = quantized.signed ? 0 : 2 ** (quantized.bits - 1);
  const steps = 2 ** (quantized.bits - 1) - 1;
  const scale = bound === 0 ? 1 : bound / steps;
  const columns = side.length;
  return quantized.parts.map((part): UnplacedParameter => {
    const shape = newShape(part, columns, projection.outFeatures);
    const type = part.tensor.dataType ?? 0;
    const count = elementCount(shape);
    const suffix = `${prefix}.${partName(part.role)}`;
    switch (part.role) {
      case 'scale':
        if (!isFloatType(type)) throw new Error(`a scale of type ${type}`);
        return {
          suffix,
          tensor: makeTensor(
            type,
            shape,
            memoryBytes(encodeFloats(type, new Float32Array(count).fill(scale))),
          ),
        };
      case 'zero_point': {
        const packed =
          isHalfByte(type) || (quantized.format === 'blocks' && quantized.bits === 4)
            ? middle | (middle << 4)
            : middle;
        return {
          suffix,
          tensor: makeTensor(
            type,
            shape,
            memoryBytes(new Uint8Array(byteSize(type, count) ?? 0).fill(packed)),
          ),
        };
      }
      case 'weight': {
        const level = (x: number) =>
          Math.max(-steps - 1, Math.min(steps, Math.round(x / scale))) + zeroOf(quantized, middle);
        const data = isFloatType(type)
          ? floatsOf(projection, part, columns, type, numbers)
          : quantized.format === 'blocks'
            ? packRows(projection, quantized, columns, numbers, level)
            : part.layout === 'rows'
              ? levels(columns * projection.inFeatures, numbers, level)
              : transposeRows(projection, columns, numbers, level);
        return { suffix, tensor: makeTensor(type, shape, isHalfByte(type) ? halved(data) : data) };
      }
      case 'bias':
      case 'bias_zero_point':
        return {
          suffix,
          tensor: makeTensor(type, shape, memoryBytes(new Uint8Array(byteSize(type, count) ?? 0))),
        };
      case 'bias_scale': {
        if (!isFloatType(type)) throw new Error(`a scale of type ${type}`);
        const scales = biasScales(model, quantized, part, side, scale);
        return { suffix, tensor: makeTensor(type, shape, memoryBytes(encodeFloats(type, scales))) };
      }
      default:
        return part.role satisfies never;
    }
  });
}

/**
 * Scales of a bias of zeros. Numbers of 32 bits are added to sums of products before these are scaled: their scale is that
 * of the input times that of the weight, and must stay so with another scale of the weight.
 * @param side the columns of the model's own projection
 * @param weightScale of all new columns
 */
function biasScales(
  model: Model,
  { parts }: QuantizedWeights,
  { tensor, layout }: QuantizedPart,
  side: Int32Array,
  weightScale: number,
): Float32Array {
  const own = scalesOf(model, tensor);
  const of = (role: PartRole) => parts.find((each) => each.role === role)?.tensor;
  const [bias, weights] = [of('bias'), of('scale')];
  const old = weights ? scalesOf(model, weights) : [];
  const columns = layout === 'shared' ? Int32Array.of(0) : side;
  return Float32Array.from(columns, (column) => {
    const scale = own[layout === 'shared' ? 0 : column] ?? 1;
    const weight = old[old.length === 1 ? 0 : column];
    return bias?.dataType === DataType.INT32 && weight ? (scale / weight) * weightScale : scale;
  });
}

function scalesOf(model: Model, tensor: TensorProto): ArrayLike<number> {
  return isFloatType(tensor.dataType) ? decodeFloats(tensor.dataType, model.bytes(tensor)) : [];
}

/** Without a stored zero point, signed and unsigned integers are counted from 0, blocks from the middle. */
function zeroOf(quantized: QuantizedWeights, middle: number): number {
  const stored = quantized.parts.some(({ role }) => role === 'zero_point');
  return stored || quantized.format === 'blocks' ? middle : 0;
}

/** Numbers of a byte each as numbers of 4 bits. */
function halved(numbers: ByteRange): ByteRange {
  return computedBytes(Math.ceil(numbers.length / 2), () => [packHalves(numbers.read())]);
}

/** [columns, in] as bytes in this order. */
function levels(count: number, numbers: Iterable<Float32Array>, level: (x: number) => number): ByteRange {
  return computedBytes(count, function* () {
    for (const chunk of numbers) yield Uint8Array.from(chunk, level);
  });
}

/** [columns, in] as floats, in this order or as [in, columns]. */
function floatsOf(
  { inFeatures }: Projection,
  { layout }: QuantizedPart,
  columns: number,
  type: FloatType,
  numbers: Iterable<Float32Array>,
): ByteRange {
  const count = columns * inFeatures;
  return computedBytes(byteSize(type, count) ?? 0, () => {
    const floats = new Float32Array(count);
    let at = 0;
    for (const chunk of numbers) {
      for (const x of chunk) {
        const turned = (at % inFeatures) * columns + Math.floor(at / inFeatures);
        floats[layout === 'rows' ? at : turned] = x;
        at++;
      }
    }
    return [encodeFloats(type, floats)];
  });
}

/** [columns, in] to bytes [in, columns]. */
function transposeRows(
  { inFeatures }: Projection,
  columns: number,
  numbers: Iterable<Float32Array>,
  level: (x: number) => number,
): ByteRange {
  return computedBytes(columns * inFeatures, () => {
    const bytes = new Uint8Array(columns * inFeatures);
    let at = 0;
    for (const chunk of numbers) {
      for (const x of chunk) {
        bytes[(at % inFeatures) * columns + Math.floor(at / inFeatures)] = level(x);
        at++;
      }
    }
    return [bytes];
  });
}

/** [columns, in] to [columns, blocks, bytes]: numbers of 4 bits with the first in the low half of a byte. */
function packRows(
  { inFeatures }: Projection,
  quantized: QuantizedWeights,
  columns: number,
  numbers: Iterable<Float32Array>,
  level: (x: number) => number,
): ByteRange {
  const block = quantized.blockSize ?? 32;
  const perByte = 8 / quantized.bits;
  const rowBytes = (Math.ceil(inFeatures / block) * block) / perByte;
  return computedBytes(columns * rowBytes, () => {
    const bytes = new Uint8Array(columns * rowBytes);
    let at = 0;
    for (const chunk of numbers) {
      for (const x of chunk) {
        const inRow = at % inFeatures;
        const byte = Math.floor(at / inFeatures) * rowBytes + Math.floor(inRow / perByte);
        bytes[byte] = (bytes[byte] ?? 0) | (level(x) << ((inRow % perByte) * quantized.bits));
        at++;
      }
    }
    return [bytes];
  });
}

/** True for formats whose new numbers diffx can write. */
export function isWritable(quantized: QuantizedWeights): boolean {
  return quantized.bits === 8 || quantized.bits === 4;
}
