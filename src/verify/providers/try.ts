/**
 * Trying a provider: a model of one node is run in a process of its own, so that a driver that crashes takes nothing
 * with it, and so that what native libraries write can be read.
 */
import { spawn } from 'node:child_process';
import { packageFolder } from './installed';
import type { ProviderSpec } from './names';
import { oneNodeModel } from './one-node-model';
import { toBinding } from './session-options';

/** What came of it. */
export interface Attempt {
  /** Provider that ran the node, as ONNX Runtime calls it; undefined where it did not run. */
  readonly ranOn: string | undefined;
  /** What ONNX Runtime, its libraries and the process said; empty where it ran. */
  readonly said: string;
}

/** Some drivers hang; others compile their first program for many seconds. */
const TIMEOUT = 60_000;

/**
 * The whole program of the process: in plain JavaScript since it runs from sources and from the built package alike.
 * The last line that it prints is the provider which the profile names, or the error.
 */
const PROGRAM = `
const { mkdtempSync, readdirSync, readFileSync, rmSync } = require('node:fs');
const { join } = require('node:path');
const { InferenceSession, Tensor } = require('onnxruntime-node');
const [model, provider] = JSON.parse(process.argv[1]);
const scratch = mkdtempSync(join(require('node:os').tmpdir(), 'diffx-try-'));
const say = (what) => process.stdout.write('\\n' + JSON.stringify(what));
(async () => {
  const session = await InferenceSession.create(Buffer.from(model, 'base64'), {
    executionProviders: [provider], logSeverityLevel: 2, enableProfiling: true, profileFilePrefix: join(scratch, 'p'),
  });
  const { y } = await session.run({ x: new Tensor('float32', Float32Array.of(1, 2, 3, 4), [2, 2]) });
  if (y.data.join() !== '7,10,15,22') throw new Error('wrong product: ' + y.data.join());
  session.endProfiling();
  const events = readdirSync(scratch).flatMap((file) => JSON.parse(readFileSync(join(scratch, file), 'utf8')));
  const event = events.find((each) => each.cat === 'Node' && each.args && each.args.op_name === 'MatMul');
  await session.release();
  say({ ranOn: event && event.args.provider });
})().catch((error) => say({ said: String(error.message) })).finally(() => rmSync(scratch, { recursive: true, force: true }));
`;

/** Runs one node on a provider. Never throws: what goes wrong is what was asked for. */
export function tryProvider(spec: ProviderSpec): Promise<Attempt> {
  const job = JSON.stringify([Buffer.from(oneNodeModel()).toString('base64'), toBinding(spec)]);
  const child = spawn(process.execPath, ['-e', PROGRAM, job], {
    cwd: packageFolder(),
    env: process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT,
    killSignal: 'SIGKILL',
  });
  let [printed, logged] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    logged += text;
  });
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ ranOn: undefined, said: error.message }));
    child.on('close', (code, signal) => {
      const { ranOn, said = '' } = lastLine(printed);
      if (ranOn !== undefined) resolve({ ranOn, said: '' });
      else resolve({ ranOn: undefined, said: [said || ending(code, signal), logged].join('\n').trim() });
    });
  });
}

function lastLine(printed: string): { ranOn?: string; said?: string } {
  try {
    return JSON.parse(printed.slice(printed.lastIndexOf('\n') + 1)) as { ranOn?: string; said?: string };
  } catch {
    return {};
  }
}

function ending(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal === 'SIGKILL') return `did not start within ${TIMEOUT / 1000} s`;
  return signal === null ? `the process ended with code ${code}` : `the process crashed (${signal})`;
}
