/** Mutations of a file as protobuf: fields are moved, repeated, mistyped; the lengths around them stay right. */
import type { Random } from './random';
import { type Field, readFields, varint, writeFields } from './wire';

type FieldMutation = (fields: Field[], random: Random, at: number) => Field[];

const HUGE: readonly [Uint8Array, ...Uint8Array[]] = [
  varint(2 ** 31 - 1),
  varint(2 ** 40),
  varint(2 ** 53),
  Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
  Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 255, 127),
  Uint8Array.of(0),
];

function withField(fields: readonly Field[], at: number, change: (field: Field) => Field[]): Field[] {
  return fields.flatMap((field, index) => (index === at ? change(field) : [field]));
}

export const FIELD_MUTATIONS: Readonly<Record<string, FieldMutation>> = {
  duplicate: (fields, _, at) => withField(fields, at, (field) => [field, field]),
  multiply: (fields, random, at) =>
    withField(fields, at, (field) =>
      Array(Math.min(2 + random.int(300), 1 + Math.floor(1e6 / (field.payload.length + 2)))).fill(field),
    ),
  remove: (fields, _, at) => withField(fields, at, () => []),
  reorder: (fields, random) => random.shuffled(fields),
  move: (fields, random, at) => {
    const rest = fields.filter((_, index) => index !== at);
    rest.splice(random.int(fields.length), 0, ...fields.slice(at, at + 1));
    return rest;
  },
  mistype: (fields, random, at) =>
    withField(fields, at, (field) => {
      const type = random.pick([0, 1, 2, 5]);
      const bytes = new Uint8Array(type === 1 ? 8 : 4);
      bytes.set(field.payload.subarray(0, bytes.length));
      return [
        { ...field, type, payload: type === 0 ? random.pick(HUGE) : type === 2 ? field.payload : bytes },
      ];
    }),
  number: (fields, random, at) =>
    withField(fields, at, (field) => [{ ...field, number: 1 + random.int(30) }]),
  huge: (fields, random, at) =>
    withField(fields, at, (field) => [{ ...field, type: 0, payload: random.pick(HUGE) }]),
  empty: (fields, _, at) =>
    withField(fields, at, (field) => [{ ...field, type: 2, payload: new Uint8Array() }]),
  unknown: (fields, random, at) =>
    withField(fields, at, (field) => [
      field,
      { number: random.pick([99, 1000, 536870911]), type: 2, payload: Uint8Array.of(8, 1, 18, 2, 104, 105) },
    ]),
  /** A message in two parts, which readers put together. */
  split: (fields, random, at) =>
    withField(fields, at, (field) => {
      const inner = field.type === 2 ? readFields(field.payload) : undefined;
      if (!inner || inner.length < 2) return [field];
      const cut = 1 + random.int(inner.length - 1);
      return [inner.slice(0, cut), inner.slice(cut)].map((part) => ({
        ...field,
        payload: writeFields(part),
      }));
    }),
  /** A message inside itself, many times. */
  nest: (fields, random, at) =>
    withField(fields, at, (field) => {
      if (field.type !== 2 || field.payload.length > 4096) return [field];
      let nested = field;
      for (let depth = random.pick([3, 50, 500]); depth > 0; depth--)
        nested = { ...field, payload: writeFields([nested]) };
      return [nested];
    }),
};

/** Applies a mutation to a message somewhere in the tree. */
export function mutateFields(bytes: Uint8Array, mutation: FieldMutation, random: Random): Uint8Array {
  const fields = readFields(bytes);
  if (!fields || fields.length === 0) return bytes;
  const messages = fields.flatMap(({ type, payload }, index) =>
    type === 2 && payload.length > 1 && (readFields(payload)?.length ?? 0) > 0 ? [index] : [],
  );
  // The graph is a field of many; what lies in it is most of what there is.
  const largest = messages.toSorted((a, b) => sizeAt(fields, b) - sizeAt(fields, a))[0];
  const inner = random.chance(0.5) ? largest : random.maybe(messages);
  if (inner !== undefined && random.chance(0.8)) {
    const field = fields[inner];
    if (field) {
      const payload = mutateFields(field.payload, mutation, random);
      return writeFields(withField(fields, inner, (each) => [{ ...each, payload }]));
    }
  }
  return writeFields(mutation(fields, random, random.int(fields.length)));
}

function sizeAt(fields: readonly Field[], index: number): number {
  return fields[index]?.payload.length ?? 0;
}
