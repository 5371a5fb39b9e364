/**
 * The program of the process that holds ONNX Runtime: it does what it is asked one after the other, and ends with the
 * process that started it. What the two say to each other goes through a pipe of its own, so that native libraries may
 * print what they like.
 */
import { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import { pack, Unpacker } from './parcels';
import { type Answer, DESCRIPTOR, type Parcel, type Request, type TensorHeader } from './protocol';

const [, , PARENT = '', LOG = 'fatal'] = process.argv;

const sessions = new Map<number, InferenceSession>();

/** What ONNX Runtime holds numbers in, which follows the version of Node for float16. */
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  bool: Uint8Array,
} as const;

function known(type: string): type is keyof typeof ARRAYS {
  return Object.hasOwn(ARRAYS, type);
}

function tensorOf({ type, dims }: TensorHeader, { buffer }: Uint8Array): Tensor {
  if (!known(type)) throw new Error(`${type} cannot be handed to ONNX Runtime`);
  return new Tensor(type, new ARRAYS[type](buffer as ArrayBuffer) as Float32Array, dims);
}

function bytesOf(name: string, value: Tensor | undefined): Uint8Array {
  if (!value || !known(value.type)) throw new Error(`output '${name}' is of no type that Node can hold`);
  const { buffer, byteOffset, byteLength } = value.data as Float32Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function sessionOf(number: number): InferenceSession {
  const session = sessions.get(number);
  if (!session) throw new Error(`there is no session ${number}`);
  return session;
}

async function answer({ message, payloads }: Parcel<Request>): Promise<Parcel<Answer>> {
  const started = performance.now();
  const since = () => performance.now() - started;
  switch (message.kind) {
    case 'create': {
      const { path, settings } = message;
      const session = await (path === undefined
        ? InferenceSession.create(payloads[0] ?? new Uint8Array(0), settings)
        : InferenceSession.create(path, settings));
      sessions.set(message.session, session);
      const { inputMetadata: inputs, outputMetadata: outputs } = session;
      return { message: { inputs, outputs, milliseconds: since() }, payloads: [] };
    }
    case 'run': {
      const feeds = message.feeds.map((header, index) => {
        return [header.name, tensorOf(header, payloads[index] ?? new Uint8Array(0))] as const;
      });
      const results = await sessionOf(message.session).run(Object.fromEntries(feeds), message.outputs);
      const milliseconds = since();
      const tensors = message.outputs.map((name): TensorHeader => {
        const { type = 'string', dims = [] } = results[name] ?? {};
        return { name, type, dims };
      });
      const bytes = message.outputs.map((name) => bytesOf(name, results[name]));
      return { message: { tensors, milliseconds }, payloads: bytes };
    }
    case 'end-profiling':
      sessionOf(message.session).endProfiling();
      return { message: {}, payloads: [] };
    case 'release':
      await sessions.get(message.session)?.release();
      sessions.delete(message.session);
      return { message: {}, payloads: [] };
  }
}

/** While a model runs, this thread does not learn that the pipe was closed; a second one looks whose child it is. */
const WATCH = `
  const { workerData: parent } = require('node:worker_threads');
  setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL'); }, 250);
`;

function serve(): void {
  env.logLevel = LOG === 'warning' ? LOG : 'fatal';
  const pipe = new Socket({ fd: DESCRIPTOR, readable: true, writable: true });
  const send = (parcel: Parcel<Answer>) => {
    pipe.cork();
    for (const piece of pack(parcel)) pipe.write(piece);
    pipe.uncork();
  };
  let last: Promise<void> = Promise.resolve();
  const unpacker = new Unpacker<Request>((parcel) => {
    last = last.then(async () => {
      // Not corked: it must be out before native code blocks this thread.
      for (const piece of pack({ message: { begun: true }, payloads: [] })) pipe.write(piece);
      const answered = answer(parcel).catch((error: unknown) => {
        const said = (error as { message?: unknown }).message;
        return { message: { error: String(said ?? error) }, payloads: [] };
      });
      send(await answered);
    });
  });
  pipe.on('data', (piece: Uint8Array) => unpacker.add(piece));
  // Destructors of native libraries may crash at the end; nobody is there to be told.
  for (const event of ['end', 'error', 'close']) pipe.on(event, () => process.kill(process.pid, 'SIGKILL'));
  if (process.ppid === Number(PARENT))
    new Worker(WATCH, { eval: true, workerData: process.ppid, execArgv: [] }).unref();
}

// A terminal sends it to both processes; the other one decides.
process.on('SIGINT', () => undefined);
serve();
