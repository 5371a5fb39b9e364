/** What diffx remembers about a message beside its fields: where its bytes are, and what the schema does not know. */
import type { ByteRange } from './bytes';

export interface Trace {
  /** The bytes that the message was read from. Absent once it was derived. */
  readonly original?: ByteRange;
  /** Fields that the schema does not know, with their tags. */
  readonly unknown?: readonly ByteRange[];
  /** Long packed fields, by name, that are decoded only when somebody looks. */
  readonly packed?: ReadonlyMap<string, PackedRun>;
}

/** The elements of a packed field: as bytes on the wire, and one by one. */
export interface PackedRun {
  readonly bytes: ByteRange;
  values(): Iterable<number | bigint>;
}

const traces = new WeakMap<object, Trace>();

/** What is remembered about a message, if it or its ancestor was read. */
export function traceOf(message: object): Trace | undefined {
  return traces.get(message);
}

export function remember(message: object, trace: Trace): void {
  traces.set(message, trace);
}

/**
 * A new message with some fields changed; `undefined` removes a field. Unknown fields are kept.
 * Nothing to change gives the message itself, so that its original bytes are kept too.
 */
export function derive<T extends object>(message: T, changes: { [K in keyof T]?: T[K] | undefined }): T {
  const trace = traceOf(message);
  const packed = new Map(trace?.packed);
  const changed = (Object.entries(changes) as [keyof T & string, unknown][]).filter(
    ([name, value]) => packed.has(name) || message[name] !== value,
  );
  if (changed.length === 0) return message;
  // Descriptors, not values: a packed field is a getter, and looking would decode it.
  const next: T =
    packed.size === 0
      ? { ...message }
      : (Object.defineProperties({}, Object.getOwnPropertyDescriptors(message)) as T);
  for (const [name, value] of changed) {
    const repeated = packed.delete(name) || Array.isArray(message[name]);
    delete next[name];
    if (value !== undefined || repeated) Object.assign(next, { [name]: value ?? [] });
  }
  if (trace?.unknown !== undefined || packed.size > 0) {
    remember(next, { ...(trace?.unknown && { unknown: trace.unknown }), ...(packed.size > 0 && { packed }) });
  }
  return next;
}
