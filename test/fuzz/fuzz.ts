import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Corpus } from './corpus';
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
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-fuzz-'));
  const session = new FuzzSession(settings, folder);
  try {
    return await session.run();
  } finally {
    session.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

class FuzzSession {
  readonly #runner = new Runner();
  readonly #corpus: Corpus;
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #findings = new Map<string, SavedFinding>();
  #shown = 0;

  constructor(
    readonly settings: FuzzSettings,
    readonly folder: string,
  ) {
    this.#corpus = new Corpus(settings.corpus);
  }

  stop(): void {
    this.#runner.stop();
  }

  async run(): Promise<FuzzResult> {
    const { seed, first, last, minutes } = this.settings;
    const end = Date.now() + minutes * 60_000;
    let iteration = first;
    for (; iteration < last && Date.now() < end; iteration++) {
      const [base, other] = this.#corpus.basesOf(seed, iteration);
      const { only } = this.settings;
      const task = { folder: this.folder, turn: iteration, seed, base: base.path, other: other.path };
      const answer = await this.#runner.run(only ? { ...task, only } : task);
      const { finding } = answer.verdict;
      const confirmed = finding === undefined || (await this.#confirm(finding, iteration));
      this.#count(answer, confirmed);
      if (finding && confirmed) await this.#save(finding, answer, iteration, base.name);
      this.#progress(iteration);
    }
    return {
      seed,
      iterations: iteration - first,
      counts: this.#counts,
      findings: [...this.#findings.values()],
    };
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

  #count({ kind, verdict }: Answer, confirmed: boolean): void {
    const outcomes = this.#counts.get(kind ?? 'unknown') ?? new Map<string, number>();
    this.#counts.set(kind ?? 'unknown', outcomes);
    const outcome = confirmed ? verdict.outcome : `once only: ${verdict.outcome}`;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }

  async #save(finding: Finding, { mutations = [] }: Answer, iteration: number, base: string): Promise<void> {
    const known = this.#findings.get(finding.signature);
    if (known) {
      known.times++;
      return;
    }
    const { seed, out } = this.settings;
    const bytes = new Uint8Array(fs.readFileSync(path.join(this.folder, MUTANT)));
    const candidate = path.join(this.folder, 'candidate.onnx');
    const shows = async (smaller: Uint8Array) => {
      fs.writeFileSync(candidate, smaller);
      const { verdict } = await this.#runner.run(this.#taskOf(candidate, iteration));
      return verdict.finding?.signature === finding.signature;
    };
    const smallest = await minimised(bytes, shows, MINIMISING);
    fs.mkdirSync(out, { recursive: true });
    const stem = path.join(out, `seed${seed}-${iteration}`);
    fs.writeFileSync(`${stem}.onnx`, smallest);
    const saved = { ...finding, iteration, base, mutations, file: `${stem}.onnx`, times: 1 };
    fs.writeFileSync(`${stem}.json`, `${JSON.stringify({ seed, ...saved }, undefined, 2)}\n`);
    this.#findings.set(finding.signature, saved);
    console.error(`${stem}.onnx: ${finding.what}: ${finding.detail.split('\n')[0]}`);
  }

  #progress(iteration: number): void {
    const now = Date.now();
    if (now - this.#shown < (process.stderr.isTTY ? 200 : 30_000)) return;
    this.#shown = now;
    const line = `${iteration + 1 - this.settings.first} mutants, ${this.#findings.size} findings`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }
}
