/** Running models in ONNX Runtime: the only door to onnxruntime-node, next to `providers`. */
import { performance } from 'node:perf_hooks';
import { env, InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { DiffxError, ExitCode, errors } from '../errors';
import { DataType, dataTypeName } from '../onnx/data-types';
import { makeProfileFolder, type NodeRun } from './profile';
import {
  CPU,
  isDeviceLost,
  isOutOfMemory,
  outOfMemory,
  type ProviderSpec,
  settleTf32,
  toBinding,
  whyUnavailable,
} from './providers';
import type { Tensor, TensorData, TensorDescription } from './tensor';

export interface SessionOptions {
  /** Default: the CPU. */
  readonly provider?: ProviderSpec;
  /** ONNX Runtime's own graph optimizations. Default: all, as users run models. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Record which provider runs which node, for `endProfiling`. */
  readonly profile?: boolean;
  /** Threads within an operator. Default: ONNX Runtime's choice. */
  readonly threads?: number;
  /** What the model is called in messages. Default: its path. */
  readonly name?: string;
  /** Exit code where ONNX Runtime refuses the model: 1 (default) for one that diffx wrote, 2 for one of the user's. */
  readonly refusedExitCode?: ExitCode;
}

export interface SessionTiming {
  readonly loadMilliseconds: number;
  readonly runs: number;
  readonly runMilliseconds: number;
}

export interface Session {
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
  /**
   * @param feeds one tensor for each input: unlike ONNX Runtime, more or fewer are an error
   * @param outputs names of the outputs to compute. Default: all
   * @throws DiffxError feed-mismatch (exit 2), runtime-refused
   */
  run(feeds: Readonly<Record<string, Tensor>>, outputs?: readonly string[]): Promise<Record<string, Tensor>>;
  /** How long it took to load, and all runs so far together. */
  readonly timing: SessionTiming;
  /** What ran since the session was made; the profile ends with it. Only with `profile`. */
  endProfiling(): readonly NodeRun[];
  /** Frees the native memory; a second call does nothing. */
  release(): Promise<void>;
}

/**
 * Loads a model.
 * @param model path, or the bytes of a model without external data
 * @throws DiffxError provider-unavailable and provider-gave-up (exit 4), runtime-refused
 */
export async function createSession(
  model: string | Uint8Array,
  options: SessionOptions = {},
): Promise<Session> {
  const provider = options.provider ?? CPU;
  settleTf32([provider]);
  const name = options.name ?? (typeof model === 'string' ? model : 'the model');
  const refuse = (error: unknown) =>
    gaveUp(provider, name, reasonOf(error)) ??
    errors.runtimeRefused(name, reasonOf(error), options.refusedExitCode ?? ExitCode.verificationFailed);
  const profile = options.profile ? makeProfileFolder() : undefined;
  // Errors reach the user as DiffxError; what ONNX Runtime logs besides would only be noise on standard error.
  env.logLevel = 'fatal';
  const settings: InferenceSession.SessionOptions = {
    executionProviders: [toBinding(provider)],
    graphOptimizationLevel: options.optimization ?? 'all',
    logSeverityLevel: 4,
    ...(options.threads === undefined ? {} : { intraOpNumThreads: options.threads }),
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile.prefix } : {}),
  };
  let session: InferenceSession | undefined;
  const started = performance.now();
  try {
    session = await (typeof model === 'string'
      ? InferenceSession.create(model, settings)
      : InferenceSession.create(model, settings));
    return wrap(session, name, refuse, profile, performance.now() - started);
  } catch (error) {
    profile?.discard();
    await session?.release();
    if (error instanceof DiffxError) throw error;
    const problem = provider.provider === 'cpu' ? undefined : await whyUnavailable(provider);
    if (problem) throw errors.providerUnavailable(provider.text, problem.missing, problem.remedy);
    throw refuse(error);
  }
}

/** What has nothing to do with the model: the memory or the device is gone. */
function gaveUp(provider: ProviderSpec, model: string, reason: string): DiffxError | undefined {
  const { missing, remedy } = isOutOfMemory(reason)
    ? outOfMemory()
    : { missing: 'its device was lost', remedy: 'Look at the log of the driver, and run again.' };
  if (!isOutOfMemory(reason) && !isDeviceLost(reason)) return undefined;
  return errors.providerGaveUp(provider.text, model, missing, remedy);
}

/** Loads a model, hands the session to `use`, and releases it whatever happens. */
export async function withSession<T>(
  model: string | Uint8Array,
  options: SessionOptions,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await createSession(model, options);
  try {
    return await use(session);
  } finally {
    await session.release();
  }
}

function wrap(
  session: InferenceSession,
  name: string,
  refuse: (error: unknown) => DiffxError,
  profile: ReturnType<typeof makeProfileFolder> | undefined,
  loadMilliseconds: number,
): Session {
  let released = false;
  let [runs, runMilliseconds] = [0, 0];
  const inputs = session.inputMetadata.map(describe);
  const outputs = session.outputMetadata.map(describe);
  return {
    inputs,
    outputs,
    async run(feeds, wanted = outputs.map((output) => output.name)) {
      checkFeeds(name, inputs, feeds);
      let results: InferenceSession.ReturnType;
      try {
        const values = Object.entries(feeds).map(([key, tensor]) => [key, toOrt(tensor)] as const);
        const started = performance.now();
        results = await session.run(Object.fromEntries(values), wanted);
        runMilliseconds += performance.now() - started;
        runs++;
      } catch (error) {
        throw refuse(error);
      }
      return Object.fromEntries(wanted.map((key) => [key, fromOrt(results[key])]));
    },
    get timing() {
      return { loadMilliseconds, runs, runMilliseconds };
    },
    endProfiling() {
      if (!profile) throw new Error('the session was made without `profile`');
      session.endProfiling();
      return profile.collect();
    },
    async release() {
      if (released) return;
      released = true;
      await session.release();
      profile?.discard();
    },
  };
}

function checkFeeds(
  model: string,
  inputs: readonly TensorDescription[],
  feeds: Readonly<Record<string, Tensor>>,
): void {
  for (const { name, dtype } of inputs) {
    const tensor = feeds[name];
    if (!tensor) throw errors.feedMismatch(model, `input '${name}' has no tensor`);
    if (tensor.dtype !== dtype) {
      const [wanted, given] = [dataTypeName(dtype), dataTypeName(tensor.dtype)];
      throw errors.feedMismatch(model, `input '${name}' is ${wanted}, the tensor is ${given}`);
    }
  }
  const extra = Object.keys(feeds).find((key) => !inputs.some(({ name }) => name === key));
  if (extra !== undefined) throw errors.feedMismatch(model, `it has no input '${extra}'`);
}

/** ONNX Runtime's names of the element types that it exchanges with Node. It has none for bfloat16. */
const ORT_TYPES: ReadonlyMap<OrtTensor.Type, DataType> = new Map([
  ['float32', DataType.FLOAT],
  ['float64', DataType.DOUBLE],
  ['float16', DataType.FLOAT16],
  ['uint8', DataType.UINT8],
  ['int8', DataType.INT8],
  ['uint16', DataType.UINT16],
  ['int16', DataType.INT16],
  ['uint32', DataType.UINT32],
  ['int32', DataType.INT32],
  ['uint64', DataType.UINT64],
  ['int64', DataType.INT64],
  ['bool', DataType.BOOL],
] as const);

function describe(metadata: InferenceSession.ValueMetadata): TensorDescription {
  if (!metadata.isTensor) return { name: metadata.name, dtype: DataType.UNDEFINED, shape: [] };
  const dtype = ORT_TYPES.get(metadata.type) ?? DataType.UNDEFINED;
  return { name: metadata.name, dtype, shape: metadata.shape };
}

function toOrt(tensor: Tensor): OrtTensor {
  for (const [type, dtype] of ORT_TYPES) {
    if (dtype === tensor.dtype) return new OrtTensor(type, tensor.data as Float32Array, tensor.shape);
  }
  throw new Error(`${dataTypeName(tensor.dtype)} cannot be handed to ONNX Runtime`);
}

function fromOrt(value: OrtTensor | undefined): Tensor {
  const dtype = value && ORT_TYPES.get(value.type);
  if (!value || dtype === undefined)
    throw new Error('ONNX Runtime gave no tensor of a type that Node can hold');
  const raw = value.data as TensorData;
  // Node 24 and later have Float16Array, and ONNX Runtime then uses it: the bits are the same.
  const data =
    dtype === DataType.FLOAT16 && !(raw instanceof Uint16Array)
      ? new Uint16Array(raw.buffer, raw.byteOffset, raw.length)
      : raw;
  return { dtype, shape: value.dims, data };
}

/** ONNX Runtime's reason in one line, without what the message says anyway. */
function reasonOf(error: unknown): string {
  const { message } = error as { message?: unknown };
  return String(message ?? error)
    .replace(/^Load model from .*? failed:\s*/s, '')
    .replace(/\s+/g, ' ')
    .trim();
}
