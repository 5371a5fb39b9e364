/**
 * Trying a provider: a model of one node is run in a process of its own, so that a driver that crashes takes nothing
 * with it, and so that what native libraries write can be read.
 */
import { RuntimeEnded, RuntimeProcess } from '../../runtime';
import { makeProfileFolder, type NodeRun } from '../profile';
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

/** Of ONNX Runtime's log: warnings and errors. */
const WARNINGS = 2;

/** Runs one node on a provider. Never throws: what goes wrong is what was asked for. */
export async function tryProvider(spec: ProviderSpec): Promise<Attempt> {
  const runtime = new RuntimeProcess('warning');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void runtime.end();
  }, TIMEOUT);
  try {
    return { ranOn: (await runNode(runtime, spec))?.provider, said: '' };
  } catch (error) {
    const why = late ? `did not start within ${TIMEOUT / 1000} s` : reasonOf(error);
    return { ranOn: undefined, said: [why, runtime.written].join('\n').trim() };
  } finally {
    clearTimeout(timer);
    await runtime.end();
  }
}

/** @throws Error, RuntimeEnded */
async function runNode(runtime: RuntimeProcess, spec: ProviderSpec): Promise<NodeRun | undefined> {
  const profile = makeProfileFolder();
  try {
    const settings = {
      executionProviders: [toBinding(spec)],
      logSeverityLevel: WARNINGS,
      enableProfiling: true,
      profileFilePrefix: profile.prefix,
    } as const;
    await runtime.request({ kind: 'create', session: 1, settings }, [oneNodeModel()]);
    const feeds = [{ name: 'x', type: 'float32', dims: [2, 2] }] as const;
    const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
    const ran = await runtime.request({ kind: 'run', session: 1, feeds, outputs: ['y'] }, [numbers]);
    const product = new Float32Array(ran.payloads[0]?.buffer ?? new ArrayBuffer(0)).join();
    if (product !== '7,10,15,22') throw new Error(`wrong product: ${product}`);
    await runtime.request({ kind: 'end-profiling', session: 1 });
    return profile.collect().find(({ opType }) => opType === 'MatMul');
  } finally {
    profile.discard();
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof RuntimeEnded)) return (error as Error).message;
  return error.signal === undefined ? `the process ${error.how}` : `the process crashed (${error.signal})`;
}
