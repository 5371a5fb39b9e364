/** The undo log of a model: every mutation of the graph records here how to take it back. */
export class Journal {
  #undo: (() => void)[] | undefined;

  /** Records the inverse of a mutation that has just been made; nothing outside a transaction. */
  record(undo: () => void): void {
    this.#undo?.push(undo);
  }

  /**
   * Runs `body`; when it throws, everything recorded since is taken back, newest first, and the error goes on.
   * Transactions nest: an inner one that fails takes back its own part only.
   */
  transaction<T>(body: () => T): T {
    const outer = this.#undo;
    const mine: (() => void)[] = [];
    this.#undo = mine;
    try {
      const result = body();
      // One by one: a long transaction has more records than a call takes arguments.
      for (const undo of mine) outer?.push(undo);
      return result;
    } catch (error) {
      for (const undo of mine.reverse()) undo();
      throw error;
    } finally {
      this.#undo = outer;
    }
  }
}
