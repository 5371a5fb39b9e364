/**
 * What a message may hold: onnx-ml.proto by field number, as the decoder and the encoder read it.
 *
 * schema.json is generated from onnx 1.23's onnx-ml.proto (Apache-2.0): see make-schema.js. protobufjs resolves it;
 * this file reduces it to the few facts that the wire format needs.
 */
import * as protobuf from 'protobufjs';
import json from './schema.json';

/** How a field lies on the wire. `payload` is a tensor's raw_data, which stays where it is. */
export type Kind =
  | 'int32'
  | 'int64'
  | 'uint64'
  | 'float'
  | 'double'
  | 'string'
  | 'bytes'
  | 'payload'
  | 'message';

export interface FieldSpec {
  /** Number of the field. */
  readonly id: number;
  /** Name in camelCase, as in messages.ts. */
  readonly name: string;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Whether the elements are written as one packed run. */
  readonly packed: boolean;
  /** Set where kind is `message`. */
  readonly message: MessageSpec | undefined;
  /** Names of the fields that this one excludes (the others of its oneof). */
  readonly excludes: readonly string[];
}

export interface MessageSpec {
  readonly name: string;
  /** In the order of their numbers. */
  readonly fields: readonly FieldSpec[];
  readonly byId: ReadonlyMap<number, FieldSpec>;
  /** Names of the repeated fields that every message has, empty or not. */
  readonly arrays: readonly string[];
  /** Fields that may lead to a tensor, however deep. */
  readonly towardsTensors: readonly FieldSpec[];
}

/** Wire types of protobuf. */
export const Wire = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

/** The wire type of one element of a kind. */
export function wireType(kind: Kind): number {
  switch (kind) {
    case 'int32':
    case 'int64':
    case 'uint64':
      return Wire.varint;
    case 'float':
      return Wire.fixed32;
    case 'double':
      return Wire.fixed64;
    default:
      return Wire.bytes;
  }
}

/** Repeated fields that messages.ts leaves out: present only where a file has them. */
const RARE = new Set(['NodeProto.deviceConfigurations']);

const root = protobuf.Root.fromJSON(json as protobuf.INamespace);
root.resolveAll();
const specs = new Map<protobuf.Type, MessageSpec>();

/** The specification of a message of onnx-ml.proto, for example `NodeProto`. */
export function messageSpec(name: string): MessageSpec {
  return specOf(root.lookupType(`onnx.${name}`));
}

function specOf(type: protobuf.Type): MessageSpec {
  const known = specs.get(type);
  if (known !== undefined) return known;
  const fields: FieldSpec[] = [];
  const byId = new Map<number, FieldSpec>();
  const spec = { name: type.name, fields, byId, arrays: [] as string[], towardsTensors: [] as FieldSpec[] };
  specs.set(type, spec);
  for (const field of [...type.fieldsArray].sort((a, b) => a.id - b.id)) {
    const described = describe(type, field);
    fields.push(described);
    byId.set(field.id, described);
    if (described.repeated && !RARE.has(`${type.name}.${field.name}`)) spec.arrays.push(field.name);
    if (field.resolvedType instanceof protobuf.Type && holdsTensors(field.resolvedType, new Set())) {
      spec.towardsTensors.push(described);
    }
  }
  return spec;
}

function describe(type: protobuf.Type, field: protobuf.Field): FieldSpec {
  const message = field.resolvedType instanceof protobuf.Type ? specOf(field.resolvedType) : undefined;
  return {
    id: field.id,
    name: field.name,
    kind: message === undefined ? scalarKind(type, field) : 'message',
    repeated: field.repeated,
    packed: field.repeated && field.packed,
    message,
    excludes: (field.partOf?.oneof ?? []).filter((name) => name !== field.name),
  };
}

function scalarKind(type: protobuf.Type, field: protobuf.Field): Kind {
  if (field.resolvedType instanceof protobuf.Enum) return 'int32';
  if (type.name === 'TensorProto' && field.name === 'rawData') return 'payload';
  switch (field.type) {
    case 'int32':
    case 'int64':
    case 'uint64':
    case 'float':
    case 'double':
    case 'string':
    case 'bytes':
      return field.type;
    default:
      throw new Error(`onnx-ml.proto has a field of type ${field.type}, which the codec does not know`);
  }
}

function holdsTensors(type: protobuf.Type, seen: Set<protobuf.Type>): boolean {
  if (type.name === 'TensorProto') return true;
  if (seen.has(type)) return false;
  seen.add(type);
  return type.fieldsArray.some(
    (field) => field.resolvedType instanceof protobuf.Type && holdsTensors(field.resolvedType, seen),
  );
}
