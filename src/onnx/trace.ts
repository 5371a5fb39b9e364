/** What diffx remembers about a message beside its fields: where its bytes are, and what the schema does not know. */
import type { ByteRange } from './bytes';

export interface Trace {
  /** The bytes that the message was read from. Absent once it was derived. */
  readonly original?: ByteRange | undefined;
  /** Fields that the schema does not know, with their tags. */
  readonly unknown?: readonly ByteRange[] | undefined;
  /** Long packed fields, by name, that are decoded only when somebody looks. */
  readonly packed?: ReadonlyMap<string, PackedRun> | undefined;
}

/** The elements of a packed field: as bytes on the wire, and one by one. */
export interface PackedRun {
  readonly bytes: ByteRange;
  values(): Iterable<number | bigint>;
}

class Given {
  constructor(message: object) {
    // biome-ignore lint/correctness/noConstructorReturn: so that Traced adds its private field to this very object
    return message;
  }
}

/**
 * Messages carry their trace in a private field: a spread, a comparison or a print does not see it. A WeakMap would
 * do the same, but takes half of the time that reading a large model takes.
 */
class Traced extends Given {
  readonly #trace: Trace;
  constructor(message: object, trace: Trace) {
    super(message);
    this.#trace = trace;
  }
  static find(message: object): Trace | undefined {
    return #trace in message ? message.#trace : undefined;
  }
}

/** What is remembered about a message, if it or its ancestor was read. */
export function traceOf(message: object): Trace | undefined {
  return Traced.find(message);
}

/** Attaches a trace to a message, once. */
export function remember(message: object, trace: Trace): void {
  new Traced(message, trace);
}

/**
 * A new message with some fields changed; `undefined` removes a field. Unknown fields are kept.
 * Nothing to change gives the message itself, so that its original bytes are kept too.
 */
export function derive<T extends object>(message: T, changes: { [K in keyof T]?: T[K] | undefined }): T {
  const trace = traceOf(message);
  const packed = new Map(trace?.packed);
  const changed = (Object.keys(changes) as (keyof T & string)[]).filter(
    (name) => packed.has(name) || message[name] !== changes[name],
  );
  if (changed.length === 0) return message;
  // Descriptors, not values: a packed field is a getter, and looking would decode it.
  const next: T =
    packed.size === 0
      ? { ...message }
      : (Object.defineProperties({}, Object.getOwnPropertyDescriptors(message)) as T);
  for (const name of changed) {
    const value = changes[name];
    const wasPacked = packed.delete(name);
    // A getter cannot be assigned to, and what is set last stands last no longer matters to anybody.
    if (wasPacked || value === undefined) delete next[name];
    if (value !== undefined) next[name] = value;
    else if (wasPacked || Array.isArray(message[name])) Object.assign(next, { [name]: [] });
  }
  if (trace?.unknown !== undefined || packed.size > 0) {
    remember(next, { unknown: trace?.unknown, packed: packed.size > 0 ? packed : undefined });
  }
  return next;
}
