/** How far it is, on standard error: one line that is written over on a terminal, now and then a line elsewhere. */
export class Progress {
  #done = 0;
  #shown = 0;
  readonly #began = Date.now();

  constructor(readonly all: number) {}

  step(name: string): void {
    this.#done++;
    const now = Date.now();
    const line = `${this.#done}/${this.all} ${((now - this.#began) / 1000).toFixed(0)} s ${name}`;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    } else if (now - this.#shown > 10_000 || this.#done === this.all) {
      process.stderr.write(`${line}\n`);
      this.#shown = now;
    }
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
}
