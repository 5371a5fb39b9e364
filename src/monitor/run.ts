import {
  type MonitoredLayer,
  type MonitoredValues,
  metricName,
  type NumberedLayer,
  numberLayers,
  pickEvenly,
  RUN_METRICS,
} from '../attention/monitored';
import { MIX_INPUT, readRecord } from '../attention/record';
import { DiffxError, ExitCode, errors } from '../errors';
import { load, type Model } from '../ir';
import { type ModelFile, readModel } from '../onnx';
import { addLambdaMeans, addMonitoring, hasLambdaLogits, type NotMonitored } from '../rewrite/monitor';
import { loadFeeds } from '../verify/feeds';
import { type Session, withSession } from '../verify/session';
import { type Tensor, toFloat64 } from '../verify/tensor';
import { makeVariant, threadsFor } from '../verify/variants';
import { findBatches } from './batches';
import { aggregates, type ParameterMetrics, parameterMetrics } from './parameter-metrics';
import { warmUpMix } from './schedule';

export interface MonitorSettings {
  /** Safetensors files, or patterns such as `batches/*.safetensors`: one batch each, `input.<name>` or `<name>`. */
  readonly inputs: readonly string[];
  /** Steps from one logged step to the next. Default 100; the last step is logged as well. */
  readonly logEvery?: number;
  /** Layers whose own metrics are logged. Default: as many as the model was rewritten for, else 3. */
  readonly numMonitorLayers?: number;
  /** Steps until the negative component counts in full. Default 0. */
  readonly warmupSteps?: number;
  /** Called before each step, from 1. */
  readonly onStep?: (step: number, of: number) => void;
}

/** What a run over batches has shown. Plain data: the JSON of `diffx monitor` holds this, field for field. */
export interface MonitorReport {
  readonly model: string;
  readonly batches: readonly string[];
  readonly logEvery: number;
  readonly warmupSteps: number;
  /** Whether the model has the input that the schedule is for. */
  readonly mixInput: boolean;
  readonly layers: readonly {
    readonly number: number;
    readonly path: string;
    /** What `attn1` and `attn2` are. */
    readonly of: MonitoredValues;
  }[];
  readonly notMonitored: readonly NotMonitored[];
  readonly logged: readonly LoggedStep[];
}

export interface LoggedStep {
  readonly step: number;
  /** Seconds since 1970. */
  readonly wallTime: number;
  /** By the original's names. NaN for what there is not, such as the deviation of a single number. */
  readonly metrics: Readonly<Record<string, number>>;
}

const LOG_EVERY = 100;
const MONITOR_LAYERS = 3;

/**
 * Runs a rewritten model over batches of inputs and collects the metrics of SPEC section 7, as the original's plugin
 * does in training: step s runs with the mix of step s - 1, and what was computed is logged.
 * @throws DiffxError not-rewritten, no-inputs, feed-mismatch, batch-refused, invalid-number, and those of unreadable files
 */
export async function runMonitor(path: string, settings: MonitorSettings): Promise<MonitorReport> {
  const { logEvery = LOG_EVERY, warmupSteps = 0 } = settings;
  whole('--log-every', logEvery, 1);
  whole('--num-monitor-layers', settings.numMonitorLayers ?? 1, 1);
  whole('--warmup-steps', warmupSteps, 0);
  const file = readModel(path);
  const model = load(file);
  const record = readRecord(model);
  if (!record) throw errors.nothingToMonitor(path);
  const layers = numberLayers(record.layers);
  const count = settings.numMonitorLayers ?? record.options.monitorLayers ?? MONITOR_LAYERS;
  const chosen = pickEvenly(layers, count);
  const batches = findBatches(settings.inputs);
  const subject = makeSubject(file, layers, chosen, record.monitored);
  try {
    const mixInput = record.options.mixInput;
    const logged: LoggedStep[] = [];
    const options = { name: path, refusedExitCode: ExitCode.usage, ...threadsFor(file) };
    await withSession(subject.model, options, async (session) => {
      for (const [index, batch] of batches.entries()) {
        const step = index + 1;
        settings.onStep?.(step, batches.length);
        const mix = mixInput ? warmUpMix(index, warmupSteps) : 1;
        const outputs = await runBatch(session, batch, mix);
        if (step % logEvery !== 0 && step !== batches.length) continue;
        const metrics = metricsOf(model, layers, chosen, subject, outputs, mix);
        logged.push({ step, wallTime: Date.now() / 1000, metrics });
      }
    });
    return {
      model: path,
      batches,
      logEvery,
      warmupSteps,
      mixInput,
      layers: subject.monitored.map(({ number, path: layer, of }) => ({ number, path: layer, of })),
      notMonitored: subject.notMonitored,
      logged,
    };
  } finally {
    subject.discard();
  }
}

function whole(option: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least)
    throw errors.invalidNumber(option, String(value), `a whole number from ${least} on`);
}

/** A model that shows what is to be monitored: the file itself where it does already, else a copy in memory. */
interface Subject {
  readonly model: string | Uint8Array;
  readonly monitored: readonly MonitoredLayer[];
  readonly notMonitored: readonly NotMonitored[];
  /** Outputs with the mean of a lambda that depends on the input, by the numbers of the layers. */
  readonly lambdas: ReadonlyMap<number, string>;
  discard(): void;
}

function makeSubject(
  file: ModelFile,
  layers: readonly NumberedLayer[],
  chosen: readonly NumberedLayer[],
  recorded: readonly MonitoredLayer[],
): Subject {
  const there = recorded.filter(({ path }) => chosen.some((layer) => layer.path === path));
  const missing = chosen.filter(({ path }) => !there.some((layer) => layer.path === path));
  if (missing.length === 0 && !layers.some(hasLambdaLogits)) {
    const nothing = { notMonitored: [], lambdas: new Map<number, string>(), discard: () => undefined };
    return { ...nothing, model: file.path, monitored: there };
  }
  const edit = (model: Model) => ({
    ...addMonitoring(model, missing),
    lambdas: addLambdaMeans(model, layers),
  });
  const made: ReturnType<typeof edit>[] = [];
  const variant = makeVariant(file, (model) => void made.push(edit(model)));
  const added = made[0] ?? { monitored: [], notMonitored: [], lambdas: new Map<number, string>() };
  const monitored = [...there, ...added.monitored].sort((a, b) => a.number - b.number);
  return { ...variant, ...added, monitored };
}

type Tensors = Readonly<Record<string, Tensor>>;

async function runBatch(session: Session, path: string, mix: number): Promise<Tensors> {
  const inputs = session.inputs.filter(({ name }) => name !== MIX_INPUT);
  const { feeds } = loadFeeds(path, inputs);
  const scalar: Tensor = { dtype: 1, shape: [], data: Float32Array.of(mix) };
  const takesMix = inputs.length < session.inputs.length;
  try {
    return await session.run(takesMix ? { ...feeds, [MIX_INPUT]: scalar } : feeds);
  } catch (error) {
    if (!(error instanceof DiffxError) || error.code !== 'runtime-refused') throw error;
    throw errors.batchRefused(path, error.message);
  }
}

/** All metrics of a step: twelve for each chosen layer, the aggregates over all layers, and the mix. */
function metricsOf(
  model: Model,
  layers: readonly NumberedLayer[],
  chosen: readonly NumberedLayer[],
  { monitored, lambdas }: Subject,
  outputs: Tensors,
  mix: number,
): Record<string, number> {
  const all = new Map<number, Partial<ParameterMetrics>>();
  for (const layer of layers) {
    const projected = lambdas.get(layer.number);
    const lambda = projected === undefined ? undefined : { lambda_full: scalarOf(outputs, projected) };
    all.set(layer.number, parameterMetrics(model, layer) ?? lambda ?? {});
  }
  const metrics: Record<string, number> = {};
  for (const layer of chosen) {
    for (const [name, value] of Object.entries(all.get(layer.number) ?? {}))
      metrics[metricName(layer, name)] = value;
    const shown = monitored.find(({ number }) => number === layer.number);
    for (const metric of shown ? RUN_METRICS : [])
      metrics[metricName(layer, metric)] = scalarOf(outputs, shown?.outputs[metric] ?? '');
  }
  return { ...metrics, ...aggregates([...all.values()], mix), 'aggregate/diff_attn_mix': mix };
}

function scalarOf(outputs: Tensors, name: string): number {
  const tensor = outputs[name];
  return (tensor && toFloat64(tensor)[0]) ?? Number.NaN;
}
