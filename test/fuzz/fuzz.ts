import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';
import { type Base, Corpus } from './corpus';
import { minimised } from './minimise';
import type { Kind } from './mutate';
import { Runner } from './runner';
import { type Answer, MUTANT, type Task } from './task';
import type { Finding } from './verdict';

export interface FuzzSettings {
  readonly seed: number;
  /** The iterations: from the first to before the last, or as many as there is time for. */
  readonly first: number;
  readonly last: number;
  readonly minutes: number;
  /** Folder for findings. */
  readonly out: string;
  /** Worker processes. */
  readonly jobs: number;
  readonly only?: Kind;
  readonly corpus?: string;
}

/** A finding with all that leads to it. */
export interface SavedFinding extends Finding {
  readonly iteration: number;
  readonly base: string;
  readonly mutations: readonly string[];
  readonly file: string;
  /** How many mutants showed it. */
  times: number;
}

export interface FuzzResult {
  readonly seed: number;
  readonly iterations: number;
  /** By kind of mutations and outcome. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly findings: readonly SavedFinding[];
}

/** Time for making a finding smaller. */
const MINIMISING = 60_000;

export async function fuzz(settings: FuzzSettings): Promise<FuzzResult> {
  const folder = temporaryFolder();
  const session = new FuzzSession(settings);
  const lanes = Array.from(
    { length: settings.jobs },
    (_, i) => new Lane(path.join(folder, `lane-${i}`), session),
  );
  try {
    await Promise.all(lanes.map((lane) => lane.run()));
    return session.result();
  } finally {
    for (const lane of lanes) lane.stop();
  }
}

/** What all workers draw from, and what they found together. */
class FuzzSession {
  readonly #corpus: Corpus;
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #findings = new Map<string, SavedFinding>();
  readonly #end: number;
  #next: number;
  #done = 0;
  #shown = 0;

  constructor(readonly settings: FuzzSettings) {
    this.#corpus = new Corpus(settings.corpus);
    this.#next = settings.first;
    this.#end = Date.now() + settings.minutes * 60_000;
  }

  /** The next iteration; undefined when there are enough of them, or no time is left. */
  draw(): { iteration: number; base: Base; other: Base } | undefined {
    const { seed, last } = this.settings;
    if (this.#next >= last || Date.now() > this.#end) return undefined;
    const iteration = this.#next++;
    const [base, other] = this.#corpus.basesOf(seed, iteration);
    return { iteration, base, other };
  }

  count(kind: Kind | undefined, outcome: string): void {
    const outcomes = this.#counts.get(kind ?? 'unknown') ?? new Map<string, number>();
    this.#counts.set(kind ?? 'unknown', outcomes);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    this.#done++;
    this.#progress();
  }

  /** True for a finding that there has been; it is counted. */
  isKnown({ signature }: Finding): boolean {
    const known = this.#findings.get(signature);
    if (known) known.times++;
    return known !== undefined;
  }

  add(finding: SavedFinding): void {
    this.#findings.set(finding.signature, finding);
  }

  result(): FuzzResult {
    const findings = [...this.#findings.values()];
    return { seed: this.settings.seed, iterations: this.#done, counts: this.#counts, findings };
  }

  #progress(): void {
    const now = Date.now();
    if (now - this.#shown < (process.stderr.isTTY ? 200 : 30_000)) return;
    this.#shown = now;
    const line = `${this.#done} mutants, ${this.#findings.size} findings`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }
}

/** One worker process with a folder of its own, and what it is given to do. */
class Lane {
  readonly #runner = new Runner();

  constructor(
    readonly folder: string,
    readonly session: FuzzSession,
  ) {
    fs.mkdirSync(folder);
  }

  stop(): void {
    this.#runner.stop();
  }

  async run(): Promise<void> {
    for (let drawn = this.session.draw(); drawn; drawn = this.session.draw()) {
      const { iteration, base, other } = drawn;
      const { seed, only } = this.session.settings;
      const task = { folder: this.folder, turn: iteration, seed, base: base.path, other: other.path };
      const answer = await this.#runner.run(only ? { ...task, only } : task);
      const { finding, outcome } = answer.verdict;
      const sure = finding === undefined || (await this.#confirm(finding, iteration));
      if (finding && sure) await this.#save(finding, answer, iteration, base.name);
      this.session.count(answer.kind, sure ? outcome : `once only: ${outcome}`);
    }
  }

  /** Once more, in another process: time and memory depend on what was there before. */
  async #confirm({ signature }: Finding, iteration: number): Promise<boolean> {
    this.#runner.stop();
    const again = await this.#runner.run(this.#taskOf(path.join(this.folder, MUTANT), iteration));
    return again.verdict.finding?.signature === signature;
  }

  #taskOf(file: string, turn: number): Task {
    return { folder: this.folder, turn, file };
  }

  async #save(finding: Finding, { mutations = [] }: Answer, iteration: number, base: string): Promise<void> {
    if (this.session.isKnown(finding)) return;
    const { seed, out } = this.session.settings;
    const stem = path.join(out, `seed${seed}-${iteration}`);
    const saved = { ...finding, iteration, base, mutations, file: `${stem}.onnx`, times: 1 };
    this.session.add(saved);
    const bytes = new Uint8Array(fs.readFileSync(path.join(this.folder, MUTANT)));
    const candidate = path.join(this.folder, 'candidate.onnx');
    const shows = async (smaller: Uint8Array) => {
      fs.writeFileSync(candidate, smaller);
      const { verdict } = await this.#runner.run(this.#taskOf(candidate, iteration));
      return verdict.finding?.signature === finding.signature;
    };
    const readable = !['time', 'memory', 'ended'].includes(finding.what);
    const smallest = await minimised(bytes, shows, MINIMISING, readable);
    fs.mkdirSync(out, { recursive: true });
    fs.writeFileSync(`${stem}.onnx`, smallest);
    fs.writeFileSync(`${stem}.json`, `${JSON.stringify({ seed, ...saved }, undefined, 2)}\n`);
    console.error(`${stem}.onnx: ${finding.what}: ${finding.detail.split('\n')[0]}`);
  }
}
