/**
 * Elements of tensors as literals. As in ONNX's own parser, an integer literal of a type that has no number type of its
 * own (float16, bfloat16, float8, packed 4 and 2 bit) is its bit pattern; here a decimal literal of float16
 * and bfloat16 is a value, so `float16[2] w = {1.0, 0.5}` can be written.
 */
import { byteSize, DataType } from '../../onnx';

/** How one literal of a type is stored. */
export interface Format {
  readonly kind: 'signed' | 'unsigned' | 'float' | 'bits';
  readonly bits: 8 | 16 | 32 | 64;
}

const FORMATS: Partial<Record<number, Format>> = {
  [DataType.FLOAT]: { kind: 'float', bits: 32 },
  [DataType.DOUBLE]: { kind: 'float', bits: 64 },
  [DataType.COMPLEX64]: { kind: 'float', bits: 32 },
  [DataType.COMPLEX128]: { kind: 'float', bits: 64 },
  [DataType.INT8]: { kind: 'signed', bits: 8 },
  [DataType.INT16]: { kind: 'signed', bits: 16 },
  [DataType.INT32]: { kind: 'signed', bits: 32 },
  [DataType.INT64]: { kind: 'signed', bits: 64 },
  [DataType.BOOL]: { kind: 'unsigned', bits: 8 },
  [DataType.UINT8]: { kind: 'unsigned', bits: 8 },
  [DataType.UINT16]: { kind: 'unsigned', bits: 16 },
  [DataType.UINT32]: { kind: 'unsigned', bits: 32 },
  [DataType.UINT64]: { kind: 'unsigned', bits: 64 },
  [DataType.FLOAT16]: { kind: 'bits', bits: 16 },
  [DataType.BFLOAT16]: { kind: 'bits', bits: 16 },
};

/** The format of a type's literals; the types not listed are stored in bytes. */
export function formatOf(type: number): Format {
  return FORMATS[type] ?? { kind: 'bits', bits: 8 };
}

/** How many literals stand for `count` elements: two for a complex number, one for a byte of packed elements. */
export function literalCount(type: number, count: number): number {
  const bytes = byteSize(type, count) ?? count;
  return bytes / (formatOf(type).bits / 8);
}

/** The nearest float16, ties to even, as its bit pattern. */
function float16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) {
    return 0x7e00;
  }
  if (size >= 65520) {
    return sign | 0x7c00;
  }
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const units = size / 2 ** (exponent - 10);
  const below = Math.floor(units);
  const up = units - below > 0.5 || (units - below === 0.5 && below % 2 === 1);
  const rounded = below + (up ? 1 : 0);
  return sign | (size < 2 ** -14 ? rounded : ((exponent + 15) << 10) + rounded - 1024);
}

/** The nearest bfloat16, ties to even, as its bit pattern. */
function bfloat16Bits(value: number): number {
  if (Number.isNaN(value)) {
    return 0x7fc0;
  }
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0] ?? 0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** A number of the text, or undefined where it is none: `inf`, `nan` and their negatives are numbers. */
export function parseNumber(text: string): number | undefined {
  const special = /^(-?)(inf|infinity|nan)$/i.exec(text);
  if (special !== null) {
    const size = special[2]?.toLowerCase() === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY;
    return special[1] === '-' ? -size : size;
  }
  return /^-?\d/.test(text) ? Number(text) : undefined;
}

/** Stores an integer literal; false where it does not fit. */
export function storeInteger(view: DataView, at: number, format: Format, value: bigint): boolean {
  if (format.kind === 'float') {
    storeFloat(view, at, format, Number(value));
    return true;
  }
  const low = format.kind === 'unsigned' ? 0n : -(1n << BigInt(format.bits - 1));
  const high = (1n << BigInt(format.kind === 'signed' ? format.bits - 1 : format.bits)) - 1n;
  if (value < low || value > high) {
    return false;
  }
  const pattern = BigInt.asUintN(format.bits, value);
  switch (format.bits) {
    case 8:
      view.setUint8(at, Number(pattern));
      break;
    case 16:
      view.setUint16(at, Number(pattern), true);
      break;
    case 32:
      view.setUint32(at, Number(pattern), true);
      break;
    case 64:
      view.setBigUint64(at, pattern, true);
      break;
    default:
      format.bits satisfies never;
  }
  return true;
}

function storeFloat(view: DataView, at: number, format: Format, value: number): void {
  if (format.bits === 64) {
    view.setFloat64(at, value, true);
  } else {
    view.setFloat32(at, value, true);
  }
}

/** Stores a value of any type, rounded to it; false where the type has no such value. */
export function storeValue(view: DataView, at: number, type: number, value: number): boolean {
  const format = formatOf(type);
  if (format.kind === 'float') {
    storeFloat(view, at, format, value);
    return true;
  }
  if (type === DataType.FLOAT16 || type === DataType.BFLOAT16) {
    view.setUint16(at, type === DataType.FLOAT16 ? float16Bits(value) : bfloat16Bits(value), true);
    return true;
  }
  return Number.isInteger(value) && storeInteger(view, at, format, BigInt(value));
}

/** The literal stored at a place. */
export function loadLiteral(view: DataView, at: number, format: Format): string {
  const signed = format.kind === 'signed';
  switch (format.bits) {
    case 8:
      return String(signed ? view.getInt8(at) : view.getUint8(at));
    case 16:
      return String(signed ? view.getInt16(at, true) : view.getUint16(at, true));
    case 32:
      if (format.kind === 'float') {
        return printFloat32(view.getFloat32(at, true));
      }
      return String(signed ? view.getInt32(at, true) : view.getUint32(at, true));
    case 64:
      if (format.kind === 'float') {
        return printFloat64(view.getFloat64(at, true));
      }
      return String(signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true));
    default:
      return format.bits satisfies never;
  }
}

/** The shortest text that reads back as the same float64. */
export function printFloat64(value: number): string {
  if (Number.isFinite(value)) {
    return Object.is(value, -0) ? '-0' : String(value);
  }
  return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
}

/** The shortest text that reads back as the same float32. */
export function printFloat32(value: number): string {
  if (value === 0 || !Number.isFinite(value)) {
    return printFloat64(value);
  }
  // six digits always survive in normal numbers; subnormal ones need fewer
  const fewest = Math.abs(value) < 2 ** -126 ? 1 : 6;
  for (let digits = fewest; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) {
      return String(short);
    }
  }
  return String(Number(value.toPrecision(9)));
}
