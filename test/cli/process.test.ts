/** The program among other programs: signals, closed pipes, terminals. */
import { spawn, spawnSync } from 'node:child_process';
import * as path from 'node:path';
import { writeModel } from '../../src/onnx';
import { llama } from '../bench/llama';
import { diffx, filesIn, LLAMA, MAIN, workFolder } from './run-cli';

/** Large enough that writing it takes a while. */
const LARGE = { layers: 2, hidden: 1024, heads: 16, kvHeads: 4, intermediate: 2816, vocab: 16000 };

describe('signals', () => {
  const folder = workFolder(null);
  beforeAll(() => writeModel(llama(LARGE), path.join(folder, 'model.onnx')));

  test.each(['SIGINT', 'SIGTERM'] as const)('%s while it writes leaves nothing behind', async (signal) => {
    const child = spawn(process.execPath, [MAIN, 'rewrite', 'model.onnx'], { cwd: folder });
    let told = false;
    let output = '';
    child.stderr.on('data', (text) => {
      output += text;
    });
    const timer = setInterval(() => {
      if (told || !filesIn(folder).some((name) => name.startsWith('.diffx-'))) return;
      told = true;
      child.kill(signal);
    }, 1);
    const ended = await new Promise((resolve) => child.on('exit', (_, by) => resolve(by)));
    clearInterval(timer);
    expect(told).toBe(true);
    expect(ended).toBe(signal);
    expect(output).toBe('');
    expect(filesIn(folder)).toEqual(['model.onnx']);
  });
});

// Inside ONNX Runtime a thread cannot be stopped: that aborts the process, with a message and what it had put aside.
test.each([200, 500, 800, 1100])('SIGTERM while it verifies, after %i ms', async (delay) => {
  const folder = workFolder();
  const child = spawn(process.execPath, [MAIN, 'rewrite', 'model.onnx', '-q', '--verify'], { cwd: folder });
  let output = '';
  child.stderr.on('data', (text) => {
    output += text;
  });
  const timer = setInterval(() => {
    if (!filesIn(folder).some((name) => name.startsWith('.diffx-'))) return;
    clearInterval(timer);
    setTimeout(() => child.kill('SIGTERM'), delay);
  }, 5);
  const ended = await new Promise((resolve) => child.on('exit', (code, by) => resolve(by ?? code)));
  const [first, ...others] = filesIn(folder);
  expect(output).toBe('');
  // On a fast machine it may be done, or about to end: then the model is there, complete.
  if (first === 'model.diff.onnx') {
    expect([0, 'SIGTERM']).toContain(ended);
    expect(diffx(['verify', 'model.onnx', 'model.diff.onnx', '-q'], folder).code).toBe(0);
    expect(others).toEqual(['model.onnx']);
  } else {
    expect(ended).toBe('SIGTERM');
    expect([first, ...others]).toEqual(['model.onnx']);
  }
});

test('of several runs that write one output at once, one succeeds', async () => {
  const folder = workFolder();
  const args = ['rewrite', 'model.onnx', '-o', 'out.onnx', '-q', '--save-weights', 'w.safetensors'];
  const runs = ['0', '1', '2'].map((seed) => {
    const child = spawn(process.execPath, [MAIN, ...args, '--seed', seed], { cwd: folder });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    return new Promise<{ code: number | null; said: string }>((resolve) => {
      child.on('close', (code) => resolve({ code, said }));
    });
  });
  const [first, ...others] = (await Promise.all(runs)).sort((a, b) => (a.code ?? 0) - (b.code ?? 0));
  expect(first?.code).toBe(0);
  for (const { code, said } of others) {
    expect(code).toBe(2);
    expect(said).toMatch(/^error: (out\.onnx|w\.safetensors): exists already$/m);
  }
  expect(filesIn(folder)).toEqual(['model.onnx', 'out.onnx', 'w.safetensors']);
});

describe('a reader that goes away', () => {
  const shell = (command: string, cwd: string) => {
    const run = spawnSync('sh', ['-c', command], {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, MAIN, NODE: process.execPath },
    });
    return { code: run.status, stdout: run.stdout, stderr: run.stderr };
  };

  test('of text', () => {
    expect(shell(`"$NODE" "$MAIN" inspect ${LLAMA} --json | true`, '/')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  test('of a model: it was not written, and neither is what belongs to it', () => {
    const folder = workFolder();
    // The pipe holds less than the model, and is told how the first program ended.
    const rewrite =
      '"$NODE" "$MAIN" rewrite model.onnx -o - --save-weights w.safetensors; echo "exit $?" >&2';
    const run = shell(`{ ${rewrite}; } | head -c 10 | wc -c`, folder);
    expect(run.stdout).toMatch(/^ *10\n$/);
    expect(run.stderr.replace(/^warning:.*\n/m, '')).toBe(
      'error: standard output: cannot be written (whoever read it has gone away)\n' +
        'hint: Make it possible, or choose another target.\nexit 2\n',
    );
    expect(filesIn(folder)).toEqual(['model.onnx']);
  });
});

describe('a terminal', () => {
  // `script` of util-linux runs a command in a terminal of its own.
  const util = spawnSync('script', ['--version'], { encoding: 'utf8' });
  const available = util.stdout?.includes('util-linux') === true;
  const onTerminal = available ? test : test.skip;

  /** What a terminal of 80 columns shows. */
  function shown(args: string, folder: string, environment: NodeJS.ProcessEnv = {}) {
    const command = `stty cols 80; "${process.execPath}" "${MAIN}" ${args}`;
    const run = spawnSync('script', ['-qec', command, '/dev/null'], {
      cwd: folder,
      encoding: 'utf8',
      input: '',
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '', ...environment },
    });
    // A slow machine shows progress.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is taken out
    const text = run.stdout.replace(/\r\u001b\[K(?:[\u2800-\u28ff] [^\r]*)?/g, '');
    return { code: run.status, text: text.replaceAll('\r\n', '\n') };
  }

  onTerminal('has colour and 80 columns', () => {
    const { text } = shown('inspect model.onnx', workFolder());
    expect(text).toContain('\u001b[1mmodel.onnx\u001b[0m');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are taken out
    const lines = text.replace(/\u001b\[\d+m/g, '').split('\n');
    expect(lines.some((line) => line.includes('self_attn'))).toBe(true);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  onTerminal('has no colour with NO_COLOR, nor where TERM is dumb', () => {
    const folder = workFolder();
    expect(shown('inspect model.onnx', folder, { NO_COLOR: '1' }).text).not.toContain('\u001b');
    expect(shown('inspect model.onnx', folder, { TERM: 'dumb' }).text).not.toContain('\u001b');
  });

  onTerminal('gets no model', () => {
    const { code, text } = shown('rewrite model.onnx -o -', workFolder());
    expect(code).toBe(2);
    expect(text).toMatch(/standard output is a terminal/);
  });
});
