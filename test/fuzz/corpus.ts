/**
 * The models that are mutated: the bundled exports, as far as they are small and of one file, and as often random
 * attentions, which take a tenth of the time; or those of a folder.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import fc from 'fast-check';
import { parseText } from '../../src/ir/text';
import { encode } from '../../src/onnx';
import { fixtures, open, type Source, sourcesIn } from '../coverage/sources';
import { temporaryFolder } from '../support/fixtures';
import { randomModel } from '../support/generator/model';
import { attentionCases } from '../support/generator/plan';
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
  readonly #bundled: boolean;

  constructor(folder?: string) {
    this.#bundled = folder === undefined;
    const all = folder === undefined ? fixtures() : sourcesIn([folder]);
    this.#sources = all.filter(({ name }) => !name.includes('+external'));
    if (this.#sources.length === 0) throw new Error('no models to mutate');
  }

  /** The model of an iteration, and another one. */
  basesOf(seed: number, iteration: number): [Base, Base] {
    const random = new Random(seed ^ 0x5bd1e995, Math.floor(iteration / RUN));
    return [this.#draw(random), this.#draw(random)];
  }

  #draw(random: Random): Base {
    if (this.#bundled && random.chance(0.5)) return randomAttention(random.int(1 << 30));
    for (let tries = 0; tries < 1000; tries++) {
      const source = random.maybe(this.#sources);
      const base = source && this.#open(source);
      if (base) return base;
    }
    throw new Error('no model is small enough');
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

/** An attention of the property tests, by a number. */
function randomAttention(number: number): Base {
  const name = `random-${number}`;
  const file = path.join(temporaryFolder(), `${name}.onnx`);
  if (!fs.existsSync(file)) {
    const [plan] = fc.sample(attentionCases, { numRuns: 1, seed: number });
    if (!plan) throw new Error('no random attention');
    const { text, fill } = randomModel(plan);
    fs.writeFileSync(file, encode('ModelProto', parseText(text, { fill })).read());
  }
  return { name, path: file };
}
