/** All tensors of a message: initializers, attributes, subgraphs, functions, training graphs. */
import type { MessageName, Messages, TensorProto } from './messages';
import { type FieldSpec, type MessageSpec, messageSpec } from './schema';
import { derive } from './trace';

/** Where a tensor stands. */
export type TensorPlace = 'initializer' | 'other';

/** Every tensor inside a message, in the order of field numbers. */
export function* tensorsOf<N extends MessageName>(
  type: N,
  message: Messages[N],
): Generator<TensorProto, void> {
  yield* walk(messageSpec(type), message);
}

function* walk(spec: MessageSpec, message: object): Generator<TensorProto, void> {
  if (spec.name === 'TensorProto') yield message as TensorProto;
  for (const field of spec.towardsTensors) {
    for (const child of childrenOf(message, field)) if (field.message) yield* walk(field.message, child);
  }
}

/** The message with each tensor replaced by what `change` makes of it; what holds no changed tensor is kept. */
export function mapTensors<N extends MessageName>(
  type: N,
  message: Messages[N],
  change: (tensor: TensorProto, place: TensorPlace) => TensorProto,
): Messages[N] {
  return map(messageSpec(type), message, 'other', change) as Messages[N];
}

function map(
  spec: MessageSpec,
  message: object,
  place: TensorPlace,
  change: (tensor: TensorProto, place: TensorPlace) => TensorProto,
): object {
  if (spec.name === 'TensorProto') return change(message as TensorProto, place);
  const changes: Record<string, unknown> = {};
  for (const field of spec.towardsTensors) {
    const inner = field.message;
    if (inner === undefined) continue;
    const children = childrenOf(message, field);
    const innerPlace = spec.name === 'GraphProto' && field.name === 'initializer' ? 'initializer' : 'other';
    const mapped = children.map((child) => map(inner, child, innerPlace, change));
    if (mapped.every((child, index) => child === children[index])) continue;
    changes[field.name] = field.repeated ? mapped : mapped[0];
  }
  return derive(message, changes);
}

function childrenOf(message: object, field: FieldSpec): readonly object[] {
  const value = (message as Record<string, unknown>)[field.name];
  if (value === undefined) return [];
  return field.repeated ? (value as object[]) : [value as object];
}
