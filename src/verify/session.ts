/** Running models in ONNX Runtime, which lives in a process of its own. */
import { DiffxError, ExitCode, errors } from '../errors';
import { DataType, dataTypeName } from '../onnx/data-types';
import {
  type InferenceSession,
  openSession,
  RuntimeEnded,
  type RuntimeSession,
  type RuntimeTensor,
} from '../runtime';
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
import { arrayOver, type Tensor, type TensorDescription } from './tensor';

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
  endProfiling(): Promise<readonly NodeRun[]>;
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
  const exitCode = options.refusedExitCode ?? ExitCode.verificationFailed;
  const refuse = (error: unknown) => {
    if (error instanceof DiffxError) return error;
    if (error instanceof RuntimeEnded) return errors.runtimeEnded(name, error.how, error.said, exitCode);
    const reason = reasonOf(error);
    return gaveUp(provider, name, reason) ?? errors.runtimeRefused(name, reason, exitCode);
  };
  const profile = options.profile ? makeProfileFolder() : undefined;
  const settings: InferenceSession.SessionOptions = {
    executionProviders: [toBinding(provider)],
    graphOptimizationLevel: options.optimization ?? 'all',
    logSeverityLevel: 4,
    ...(options.threads === undefined ? {} : { intraOpNumThreads: options.threads }),
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile.prefix } : {}),
  };
  try {
    return wrap(await openSession(model, settings), name, refuse, profile);
  } catch (error) {
    profile?.discard();
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
  session: RuntimeSession,
  name: string,
  refuse: (error: unknown) => DiffxError,
  profile: ReturnType<typeof makeProfileFolder> | undefined,
): Session {
  let [runs, runMilliseconds] = [0, 0];
  const inputs = session.inputs.map(describe);
  const outputs = session.outputs.map(describe);
  const { loadMilliseconds } = session;
  return {
    inputs,
    outputs,
    async run(feeds, wanted = outputs.map((output) => output.name)) {
      checkFeeds(name, inputs, feeds);
      const values = Object.entries(feeds).map(([key, tensor]) => toRuntime(key, tensor));
      const { tensors, milliseconds } = await session.run(values, wanted).catch((error: unknown) => {
        throw refuse(error);
      });
      runMilliseconds += milliseconds;
      runs++;
      return Object.fromEntries(tensors.map((tensor) => [tensor.name, fromRuntime(tensor)]));
    },
    get timing() {
      return { loadMilliseconds, runs, runMilliseconds };
    },
    async endProfiling() {
      if (!profile) throw new Error('the session was made without `profile`');
      await session.endProfiling();
      return profile.collect();
    },
    async release() {
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
const RUNTIME_TYPES: ReadonlyMap<RuntimeTensor['type'], DataType> = new Map([
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
  const dtype = RUNTIME_TYPES.get(metadata.type) ?? DataType.UNDEFINED;
  return { name: metadata.name, dtype, shape: metadata.shape };
}

function toRuntime(name: string, { dtype, shape, data }: Tensor): RuntimeTensor {
  for (const [type, each] of RUNTIME_TYPES) {
    if (each !== dtype) continue;
    return { name, type, dims: shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  }
  throw new Error(`${dataTypeName(dtype)} cannot be handed to ONNX Runtime`);
}

function fromRuntime({ type, dims, bytes }: RuntimeTensor): Tensor {
  const dtype = RUNTIME_TYPES.get(type);
  if (dtype === undefined) throw new Error('ONNX Runtime gave no tensor of a type that Node can hold');
  return { dtype, shape: dims, data: arrayOver(dtype, bytes.buffer as ArrayBuffer) };
}

/** ONNX Runtime's reason in one line, without what the message says anyway. */
function reasonOf(error: unknown): string {
  const { message } = error as { message?: unknown };
  return String(message ?? error)
    .replace(/^Load model from .*? failed:\s*/s, '')
    .replace(/\s+/g, ' ')
    .trim();
}
