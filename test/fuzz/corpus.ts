/** The models that are mutated: the bundled exports, or those of a folder, as far as they are small and of one file. */
import * as fs from 'node:fs';
import { fixtures, open, type Source, sourcesIn } from '../coverage/sources';
import { Random } from './random';

/** Larger ones take too long to rewrite for what they add. */
const LARGEST = 1 << 20;

/** So many iterations have one model: what is derived of it is derived once. */
const RUN = 8;

export interface Base {
  readonly name: string;
  readonly path: string;
}

export class Corpus {
  readonly #sources: Source[];
  readonly #opened = new Map<Source, Base | undefined>();

  constructor(folder?: string) {
    const all = folder === undefined ? fixtures() : sourcesIn([folder]);
    this.#sources = all.filter(({ name }) => !name.includes('+external'));
    if (this.#sources.length === 0) throw new Error('no models to mutate');
  }

  /** The model of an iteration, and another one. */
  basesOf(seed: number, iteration: number): [Base, Base] {
    const random = new Random(seed ^ 0x5bd1e995, Math.floor(iteration / RUN));
    const draw = (): Base => {
      for (let tries = 0; tries < 1000; tries++) {
        const source = random.maybe(this.#sources);
        const base = source && this.#open(source);
        if (base) return base;
      }
      throw new Error('no model is small enough');
    };
    return [draw(), draw()];
  }

  #open(source: Source): Base | undefined {
    if (!this.#opened.has(source)) {
      const { model } = open(source);
      const small = fs.statSync(model).size <= LARGEST && !fs.existsSync(`${model}.data`);
      this.#opened.set(source, small ? { name: source.name, path: model } : undefined);
    }
    return this.#opened.get(source);
  }
}
