/**
 * Steps that a signal must not cut in two. Where the work is done in a thread of its own, the main thread gets the signal:
 * it shuts the gate before it ends the process, and whoever is inside comes out first. Without a gate, as in the library,
 * steps are simply done.
 */
const [OPEN, INSIDE, SHUT] = [0, 1, 2];

let gate: Int32Array | undefined;
let depth = 0;

/** A gate, as it goes from thread to thread. */
export function makeGate(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** From now on, what this thread does uninterrupted goes through a gate. */
export function goThrough(shared: SharedArrayBuffer): void {
  gate = new Int32Array(shared);
}

let told: ((folder: string) => void) | undefined;

/** From now on, `listener` is told of every folder in which this thread is about to make temporary files. */
export function tellFolders(listener: (folder: string) => void): void {
  told = listener;
}

/** To be called before a temporary file is made beside its target: who ends the process must know where to look. */
export function willUse(folder: string): void {
  told?.(folder);
}

/** Does something that is not interrupted. Where the gate is shut already, it never begins: the process is about to end. */
export function uninterrupted<T>(step: () => T): T {
  if (!gate || depth > 0) return step();
  if (Atomics.compareExchange(gate, 0, OPEN, INSIDE) !== OPEN) Atomics.wait(gate, 0, SHUT);
  depth++;
  try {
    return step();
  } finally {
    depth--;
    Atomics.store(gate, 0, OPEN);
    Atomics.notify(gate, 0);
  }
}

/**
 * Shuts a gate for good, and waits for whoever is inside.
 * @returns false where that takes longer than `patience` milliseconds
 */
export function shutGate(shared: SharedArrayBuffer, patience: number): boolean {
  const state = new Int32Array(shared);
  const until = Date.now() + patience;
  while (Atomics.compareExchange(state, 0, OPEN, SHUT) === INSIDE) {
    if (Date.now() > until) return false;
    Atomics.wait(state, 0, INSIDE, 100);
  }
  return true;
}
