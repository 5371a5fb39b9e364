/** ONNX Runtime's process: it may die, and nobody else does; it ends with whoever started it. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { endRuntime, openSession, RuntimeEnded, RuntimeProcess, type RuntimeTensor } from '../../src/runtime';
import { pack, Unpacker } from '../../src/runtime/parcels';
import type { Parcel, Request } from '../../src/runtime/protocol';
import { modelPath, textBytes } from '../support/models';

/** As many rounds as it is told: with many, it is busy for as long as anybody looks. */
const ROUNDS = textBytes(`<ir_version: 8, opset_import: ["" : 17]>
g (int64 trips) => (int64 last) <
  bool yes = {1},
  int64 zero = {0},
  int64 one = {1}
> {
  last = Loop (trips, yes, zero) <
    body: graph = round (int64 i, bool go, int64 before) => (bool go_out, int64 after) {
      go_out = Identity (go)
      after = Add (before, one)
    }
  >
}`);
const FOREVER = 2n ** 62n;

const trips = (count: bigint): RuntimeTensor[] => [
  { name: 'trips', type: 'int64', dims: [], bytes: new Uint8Array(BigInt64Array.of(count).buffer) },
];
const lastOf = (tensors: readonly RuntimeTensor[]) =>
  new BigInt64Array(tensors[0]?.bytes.buffer as ArrayBuffer)[0];

/** Processes that were started meanwhile. */
function started(): number[] {
  const pids: number[] = [];
  const request = RuntimeProcess.prototype.request;
  jest.spyOn(RuntimeProcess.prototype, 'request').mockImplementation(function (
    this: RuntimeProcess,
    ...given
  ) {
    if (this.pid !== undefined && !pids.includes(this.pid)) pids.push(this.pid);
    return request.apply(this, given);
  });
  return pids;
}

function isThere(pid: number): boolean {
  try {
    // A process that nobody has waited for yet is a zombie: it does nothing any more.
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
};
/** CPU time shows that it is within the run. */
const isBusy = (pid: number) =>
  Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[11]) > 60;

const onLinux = process.platform === 'linux' ? test : test.skip;

afterEach(async () => {
  jest.restoreAllMocks();
  await endRuntime();
});

test('parcels arrive as they were sent, however they are cut', () => {
  const sent: Parcel<unknown>[] = [
    { message: { kind: 'a' }, payloads: [] },
    {
      message: { kind: 'b', text: 'ü' },
      payloads: [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4)],
    },
    { message: 'c', payloads: [new Uint8Array(0)] },
  ];
  const bytes = Buffer.concat(sent.flatMap(pack));
  for (const size of [1, 2, 7, bytes.length]) {
    const received: Parcel<unknown>[] = [];
    const unpacker = new Unpacker<unknown>((parcel) => received.push(parcel));
    for (let done = 0; done < bytes.length; done += size) unpacker.add(bytes.subarray(done, done + size));
    expect(received).toEqual(sent);
    for (const { payloads } of received)
      for (const { byteOffset, buffer, length } of payloads)
        expect([byteOffset, buffer.byteLength]).toEqual([0, length]);
  }
});

onLinux('a process that is killed fails what it was busy with, and nothing else', async () => {
  const pids = started();
  const session = await openSession(ROUNDS, {});
  const other = await openSession(modelPath(ROUNDS), {});
  const guilty = session.run(trips(FOREVER), ['last']);
  const innocent = other.run(trips(5n), ['last']);
  const [pid = 0] = pids;
  await until(() => isBusy(pid));
  process.kill(pid, 'SIGKILL');
  const error = await guilty.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RuntimeEnded);
  expect(error).toMatchObject({ how: 'was ended by SIGKILL', signal: 'SIGKILL', said: '' });
  expect(lastOf((await innocent).tensors)).toBe(5n);
  // It lost its process, not its model.
  expect(lastOf((await session.run(trips(3n), ['last'])).tensors)).toBe(3n);
  expect(pids).toHaveLength(2);
  await session.release();
  await other.release();
  await endRuntime();
  expect(pids.filter(isThere)).toEqual([]);
});

onLinux('a process that dies while there is nothing to do is replaced', async () => {
  const pids = started();
  const session = await openSession(ROUNDS, {});
  process.kill(pids[0] ?? 0, 'SIGKILL');
  expect(lastOf((await session.run(trips(2n), ['last'])).tensors)).toBe(2n);
  expect(pids).toHaveLength(2);
  await session.release();
});

test('what the environment says reaches native libraries: another one is another process', async () => {
  const pids = started();
  const first = await openSession(ROUNDS, {});
  process.env['DIFFX_TEST_SURROUNDINGS'] = '1';
  const second = await openSession(ROUNDS, {});
  delete process.env['DIFFX_TEST_SURROUNDINGS'];
  expect(pids).toHaveLength(2);
  expect(lastOf((await first.run(trips(2n), ['last'])).tensors)).toBe(2n);
  await first.release();
  await second.release();
});

const DRIVER = `
  const { openSession } = require(${JSON.stringify(path.join(__dirname, '../../dist/src/runtime'))});
  const { RuntimeProcess } = require(${JSON.stringify(path.join(__dirname, '../../dist/src/runtime/process'))});
  const { request } = RuntimeProcess.prototype;
  RuntimeProcess.prototype.request = function (...given) {
    if (this.pid) process.stdout.write(this.pid + '\\n');
    return request.apply(this, given);
  };
  const model = Buffer.from(process.argv[1], 'base64');
  const bytes = new Uint8Array(BigInt64Array.of(BigInt(process.argv[2])).buffer);
  openSession(model, {}).then((session) => session.run([{ name: 'trips', type: 'int64', dims: [], bytes }], ['last']));
`;

/** A process that runs so many rounds, as built, and the process that it has for that. */
async function driver(count: bigint) {
  const model = Buffer.from(ROUNDS).toString('base64');
  const child = spawn(process.execPath, ['-e', DRIVER, model, String(count)], {
    cwd: path.join(__dirname, '../..'),
    env: process.env,
  });
  const ended = new Promise<number | string | null>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  const pid = await new Promise<number>((resolve) => {
    child.stdout.setEncoding('utf8').once('data', (text: string) => resolve(Number.parseInt(text, 10)));
  });
  return { child, ended, pid };
}

onLinux('it does not keep alive who started it, and ends with it', async () => {
  const { ended, pid } = await driver(2n);
  expect(await ended).toBe(0);
  await until(() => !isThere(pid));
});

onLinux.each(['SIGKILL', 'SIGTERM'] as const)(
  'it ends in the middle of a run when who started it gets %s',
  async (signal) => {
    const { child, ended, pid } = await driver(FOREVER);
    await until(() => isBusy(pid));
    child.kill(signal);
    expect(await ended).toBe(signal);
    await until(() => !isThere(pid));
  },
);

test('requests are of four kinds, and all are answered', async () => {
  const runtime = new RuntimeProcess();
  const ask = (message: Request) => runtime.request(message);
  await expect(ask({ kind: 'run', session: 7, feeds: [], outputs: [] })).rejects.toThrow('no session 7');
  await expect(ask({ kind: 'end-profiling', session: 7 })).rejects.toThrow('no session 7');
  await expect(ask({ kind: 'create', session: 7, path: '/nowhere', settings: {} })).rejects.toThrow(
    '/nowhere',
  );
  expect(await ask({ kind: 'release', session: 7 })).toEqual({ message: {}, payloads: [] });
  await runtime.end();
});
