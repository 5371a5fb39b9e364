/** Arbitrary messages, whatever the schema allows. */
import * as fc from 'fast-check';
import { type MessageName, type Messages, memoryBytes } from '../../src/onnx';
import { type FieldSpec, type MessageSpec, messageSpec } from '../../src/onnx/schema';

export function message<N extends MessageName>(type: N): fc.Arbitrary<Messages[N]> {
  return arbitrary(messageSpec(type), 2) as fc.Arbitrary<unknown> as fc.Arbitrary<Messages[N]>;
}

function arbitrary(spec: MessageSpec, depth: number): fc.Arbitrary<object> {
  const fields = spec.fields.filter((field) => depth > 0 || field.message === undefined);
  // A few fields at a time: all of them at once grow without bounds.
  return fc.subarray([...fields], { maxLength: Math.min(5, fields.length) }).chain((chosen) => {
    const values: Record<string, fc.Arbitrary<unknown>> = {};
    for (const name of spec.arrays) values[name] = fc.constant([]);
    for (const field of chosen) {
      if (field.excludes.some((name) => name in values)) continue;
      const one = element(field, depth);
      if (field.repeated) values[field.name] = fc.array(one, { minLength: 1, maxLength: 3 });
      else values[field.name] = one;
    }
    return fc.record(values);
  });
}

function element(field: FieldSpec, depth: number): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'int32':
      return fc.integer();
    case 'int64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'uint64':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case 'float':
      return fc.float();
    case 'double':
      return fc.double();
    case 'string':
      return fc.string({ unit: 'binary' });
    case 'bytes':
      return fc.uint8Array({ maxLength: 80 });
    case 'payload':
      return fc.uint8Array({ maxLength: 6000, size: 'max' }).map(memoryBytes);
    case 'message':
      return field.message === undefined ? fc.constant({}) : arbitrary(field.message, depth - 1);
  }
}

/** A message with byte ranges and arrays of bytes as text, to be compared. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if ('read' in value && typeof value.read === 'function') return plain(value.read());
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** A deep copy without memory of original bytes. */
export function forget<T extends object>(message: T): T {
  const copy = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(copy);
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Uint8Array || 'chunks' in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copy(inner)]));
  };
  return copy(message) as T;
}
