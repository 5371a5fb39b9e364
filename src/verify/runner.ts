import { Shapes } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { MIX_INPUT } from '../attention/record';
import { DiffxError, ExitCode } from '../errors';
import type { Model } from '../ir';
import { type CaseRun, runOriginal } from './case-runs';
import { compareTensors } from './compare';
import { decouple } from './decouple';
import { disturbSecond, exchange } from './exchange';
import { type Exposure, expose } from './exposure';
import {
  type Component,
  type DoubledKeys,
  doubledInputs,
  doubledOutputs,
  doubleFeeds,
  halveOutputs,
} from './key-caches';
import {
  compareExchanged,
  compareFunction,
  compareLayers,
  componentValues,
  type Look,
  labelOf,
} from './layer-checks';
import { inDataOrder } from './layer-order';
import { comparedValue, type LayerUnderTest, neededValues } from './layer-reference';
import { neutralise } from './neutralise';
import { precisionOf, toleranceWithin } from './precision';
import { asProbed, asStored, openParameters, type Setting } from './probe';
import { type Check, CheckBuilder, type CheckName } from './report';
import { type Session, withSession } from './session';
import { addExchangedCall, callsOf, showsMaps } from './split-operator';
import { storedTensor } from './stored';
import type { Tensor } from './tensor';
import type { Tolerance } from './tolerance';
import { makeVariant, modelSize } from './variants';
import type { Pair, VerifySettings } from './verify';

/** Bytes up to which a model runs on one thread. */
const SMALL = 16 * 2 ** 20;

type Tensors = Readonly<Record<string, Tensor>>;

const STATES: Readonly<Partial<Record<CheckName, string>>> = {
  layers: 'every rewritten layer equals differential attention in float64',
  neutralised: 'with lambda 0 and without the norm, the outputs are the original ones',
  mirrored: 'with exchanged weights, the negative component gives what the positive one gave',
  function: 'the outputs are those of the original',
};

/** Runs the original, the rewritten model and changed copies of it over the same cases. */
export class Runner {
  /** In the order of the data. */
  readonly #layers: readonly LayerUnderTest[];
  readonly #pasts: readonly DoubledKeys[];
  readonly #presents: readonly DoubledKeys[];
  readonly #toleranceOf: (dtype: Tensor['dtype'] | undefined) => Tolerance;

  constructor(
    readonly pair: Pair,
    sites: readonly LocatedSite[],
    readonly settings: VerifySettings,
    readonly notVerified: string[],
  ) {
    const { record, rewritten, original } = pair;
    const layers = record.layers.flatMap((layer) => {
      const site = sites.find(({ core }) => core.output.name === layer.output);
      if (!site) return [];
      const { options } = record;
      const hidden = site.core.kind === 'operator' && options.heads === 'split' && !showsMaps(site.core);
      return [{ layer, site, options, calls: hidden ? callsOf(rewritten, site, layer) : undefined }];
    });
    this.#layers = inDataOrder(layers, ({ site }) => site);
    this.#pasts = doubledInputs(record);
    this.#presents = doubledOutputs(rewritten, record);
    const precision = precisionOf(original);
    this.#toleranceOf = (dtype) => settings.tolerance ?? toleranceWithin(precision, dtype);
  }

  async run(): Promise<{ checks: Check[]; cases: string[] }> {
    const { original, record, keepsFunction } = this.pair;
    const runs = await this.#with(
      original,
      () => undefined,
      (session) => runOriginal(original, session, this.settings, this.notVerified),
    );
    const cases = runs.map(({ where }) => where);
    const given: Tensors[] = [];
    const layers = this.#check('layers');
    await this.#refusals(layers, () => this.#runAsItIs(runs, given));
    if (layers.findings.length > 0) {
      this.notVerified.push('the layers: the rewritten model does not run');
      return { checks: [layers.done()], cases };
    }
    await this.#refusals(layers, () => this.#checkLayers(runs, given, layers));
    const checks = [layers.done()];
    if (record.options.heads === 'duplicate') {
      checks.push(await this.#checkNeutralised(runs), await this.#checkExchanged(runs));
    }
    if (keepsFunction) checks.push(await this.#checkFunction(runs, given));
    return { checks, cases };
  }

  #check(name: CheckName): CheckBuilder {
    return new CheckBuilder(name, STATES[name] ?? name);
  }

  /** Loads a changed copy of a model for as long as `use` needs it. */
  async #with<T, E>(of: Model, edit: (model: Model) => E, use: (session: Session, edited: E) => Promise<T>) {
    let edited: E | undefined;
    const variant = makeVariant(of.file, (model) => {
      edited = edit(model);
    });
    try {
      const options = { name: of.file.path, ...this.#sessionOptions(of) };
      return await withSession(variant.model, options, (session) => use(session, edited as E));
    } finally {
      variant.discard();
    }
  }

  #sessionOptions(of: Model) {
    const { provider } = this.settings;
    const refusedExitCode = of === this.pair.original ? ExitCode.usage : ExitCode.verificationFailed;
    // Starting threads takes longer than they save on a small model.
    const threads = modelSize(of.file) <= SMALL ? { threads: 1 } : {};
    return { refusedExitCode, ...threads, ...(provider ? { provider } : {}) };
  }

  /** A rewritten model that the runtime refuses, or that wants other inputs, is a finding. */
  async #refusals(check: CheckBuilder, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const known = error instanceof DiffxError && ['runtime-refused', 'feed-mismatch'].includes(error.code);
      if (!known) throw error;
      check.findOnce(error.message);
    }
  }

  /** What the rewritten model or a copy is fed in a case. */
  #feeds(run: CaseRun, past: Component | 'both', setting?: Setting): Record<string, Tensor> {
    const mix: Tensor = { dtype: 1, shape: [], data: Float32Array.of(1) };
    return {
      ...doubleFeeds(run.feeds, this.#pasts, past),
      ...(this.pair.record.options.mixInput ? { [MIX_INPUT]: mix } : {}),
      ...setting?.feeds,
    };
  }

  /** The file itself, as users run it. Under `preserve`, both components have cached the same keys. */
  async #runAsItIs(runs: readonly CaseRun[], given: Tensors[]): Promise<void> {
    const { file } = this.pair.rewritten;
    const runAll = async (session: Session) => {
      for (const run of runs) given.push(await session.run(this.#feeds(run, 'both')));
    };
    if (file.directory === undefined) await this.#with(this.pair.rewritten, () => undefined, runAll);
    else await withSession(file.path, this.#sessionOptions(this.pair.rewritten), runAll);
  }

  async #checkLayers(
    runs: readonly CaseRun[],
    given: readonly Tensors[],
    check: CheckBuilder,
  ): Promise<void> {
    const layers = this.#layers;
    const { rewritten } = this.pair;
    const names = layers.flatMap((under) => [...neededValues(under), comparedValue(under)]);
    for (const under of layers) check.await(`${labelOf(under, layers)}: C`, under.layer.path);
    const shapes = layers.some(({ calls }) => calls) ? new Shapes(this.pair.original) : undefined;
    const edit = (model: Model) => {
      openParameters(model, layers);
      for (const { site, calls } of layers) if (calls && shapes) addExchangedCall(model, site, calls, shapes);
      return expose(model, names);
    };
    await this.#with(rewritten, edit, async (session, exposure) => {
      for (const setting of [asStored(rewritten, layers), asProbed(rewritten, layers)]) {
        for (const [index, run] of runs.entries()) {
          const feeds = this.#feeds(run, 'both', setting);
          const outputs = await session.run(feeds);
          const where = `${run.where}${setting.where}`;
          const look = this.#look(exposure, outputs, feeds, where, setting.mix);
          compareLayers(layers, look, this.settings.tolerance, check);
          // What was looked at is what the file itself computes.
          if (setting.where === '') this.#compareOutputs(given[index] ?? {}, outputs, where, check);
        }
      }
    });
  }

  #look(exposure: Exposure, outputs: Tensors, feeds: Tensors, where: string, mix = 1): Look {
    const { values, notTaken } = exposure.read(outputs);
    const lookup = (name: string) => values[name] ?? feeds[name] ?? storedTensor(this.pair.rewritten, name);
    return { lookup, notTaken, where, mix };
  }

  #compareOutputs(expected: Tensors, actual: Tensors, where: string, check: CheckBuilder): void {
    for (const [name, tensor] of Object.entries(expected)) {
      const comparison = compareTensors(tensor, actual[name], this.#toleranceOf(tensor.dtype));
      check.compare(`output '${name}' of the file itself`, comparison, where);
    }
  }

  async #checkNeutralised(runs: readonly CaseRun[]): Promise<Check> {
    const check = this.#check('neutralised');
    const sites = this.#layers.map(({ site }) => site);
    const edit = (model: Model) => {
      // The negative component must not matter, nor that it is a copy of the positive one.
      disturbSecond(model, sites);
      for (const { message, layer } of neutralise(model, this.pair.record)) check.findOnce(message, layer);
    };
    await this.#refusals(check, async () => {
      for (const name of Object.keys(runs[0]?.outputs ?? {})) check.await(name);
      await this.#with(this.pair.rewritten, edit, async (session) => {
        for (const run of runs) {
          const outputs = await session.run(this.#feeds(run, 'positive'));
          compareFunction(run, halveOutputs(outputs, this.#presents), this.#toleranceOf, check);
        }
      });
      await this.#locate(runs, 'positive', edit, check);
    });
    return check.done();
  }

  async #checkFunction(runs: readonly CaseRun[], given: readonly Tensors[]): Promise<Check> {
    const check = this.#check('function');
    for (const name of Object.keys(runs[0]?.outputs ?? {})) check.await(name);
    runs.forEach((run, index) => {
      compareFunction(run, halveOutputs(given[index] ?? {}, this.#presents), this.#toleranceOf, check);
    });
    await this.#refusals(check, () => this.#locate(runs, 'both', () => undefined, check));
    return check.done();
  }

  async #checkExchanged(runs: readonly CaseRun[]): Promise<Check> {
    const check = this.#check('mirrored');
    const { record, rewritten } = this.pair;
    const layers = this.#layers;
    const sites = layers.map(({ site }) => site);
    const namesOf = (component: Component) => layers.flatMap((under) => componentValues(under, component));
    const looks: Look[] = [];
    const presents: Tensors[] = [];
    const quietly = (model: Model, names: string[]) => {
      decouple(model, record, sites);
      return expose(model, names);
    };
    await this.#refusals(check, async () => {
      await this.#with(
        rewritten,
        (model) => quietly(model, namesOf('positive')),
        async (session, exposure) => {
          for (const run of runs) {
            const feeds = this.#feeds(run, 'positive');
            const outputs = await session.run(feeds);
            looks.push(this.#look(exposure, outputs, feeds, run.where));
            presents.push(halveOutputs(outputs, this.#presents, 'positive'));
          }
        },
      );
      const exchanged = (model: Model) => {
        for (const { message, layer } of exchange(model, record, sites)) check.findOnce(message, layer);
        return quietly(model, namesOf('negative'));
      };
      await this.#with(rewritten, exchanged, async (session, exposure) => {
        for (const [index, run] of runs.entries()) {
          const feeds = this.#feeds(run, 'negative');
          const outputs = await session.run(feeds);
          const [positive, negative] = [looks[index], this.#look(exposure, outputs, feeds, run.where)];
          if (positive) compareExchanged(layers, positive, negative, this.#toleranceOf, check);
          const halves = halveOutputs(outputs, this.#presents, 'negative');
          for (const { name } of this.#presents) {
            const [expected, actual] = [presents[index]?.[name], halves[name]];
            const comparison = compareTensors(expected, actual, this.#toleranceOf(expected?.dtype));
            check.compare(`${name}: keys of the negative component`, comparison, run.where);
          }
        }
      });
    });
    return check.done();
  }

  /** Where outputs differ: names the first attention, in the order of the data, that gives something else. */
  async #locate(
    runs: readonly CaseRun[],
    past: Component | 'both',
    edit: (model: Model) => void,
    check: CheckBuilder,
  ): Promise<void> {
    if (check.findings.length === 0) return;
    const names = this.#layers.map(({ layer }) => layer.output);
    const before: Tensors[] = [];
    await this.#with(
      this.pair.original,
      (model) => expose(model, names),
      async (session, exposure) => {
        for (const run of runs) before.push(exposure.read(await session.run(run.feeds)).values);
      },
    );
    let first = this.#layers.length;
    let found = '';
    const edited = (model: Model) => {
      edit(model);
      return expose(model, names);
    };
    await this.#with(this.pair.rewritten, edited, async (session, exposure) => {
      for (const [index, run] of runs.entries()) {
        const after = exposure.read(await session.run(this.#feeds(run, past))).values;
        const differs = this.#layers.findIndex(({ layer: { output } }, at) => {
          const expected = before[index]?.[output];
          return (
            at < first &&
            expected &&
            !compareTensors(expected, after[output], this.#toleranceOf(expected.dtype)).passed
          );
        });
        if (differs >= 0) [first, found] = [differs, run.where];
      }
    });
    const under = this.#layers[first];
    if (under)
      check.find(
        `${labelOf(under, this.#layers)}: the first attention that gives something else (${found})`,
        under.layer.path,
      );
  }
}
