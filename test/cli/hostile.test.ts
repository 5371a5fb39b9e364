/** What runs out, what cannot be made, and names that a terminal would obey: one clear line each. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { plainError } from '../../src/cli/plain-error';
import { parseText } from '../../src/ir/text';
import { encode } from '../../src/onnx';
import { ATTENTION } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { diffx, documentOf, expectFailure, filesIn, MAIN, workFolder } from './run-cli';

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const EVIL = '\u001b[31mRED\u001b]0;pwn\u0007\u009b31m\r\u202ebidi\u200b\n\u2028</script>';

/** The attention whose every name is hostile. */
function evilModel(): Uint8Array {
  const model = parseText(ATTENTION, { fill: randomFill(0) });
  const { graph } = model;
  if (!graph) throw new Error('no graph');
  const evil = (name: string) => (name === '' ? '' : `${name}${EVIL}`);
  const value = <T extends { readonly name?: string }>(each: T): T => ({
    ...each,
    name: evil(each.name ?? ''),
  });
  return encode('ModelProto', {
    ...model,
    producerName: EVIL,
    metadataProps: [{ key: EVIL, value: EVIL }],
    graph: {
      ...graph,
      name: evil('g'),
      input: graph.input.map(value),
      output: graph.output.map(value),
      initializer: graph.initializer.map(value),
      node: graph.node.map((node) => ({
        ...node,
        name: evil(node.name ?? ''),
        input: node.input.map(evil),
        output: node.output.map(evil),
      })),
    },
  }).read();
}

describe('names that a terminal would obey', () => {
  const model = evilModel();
  const shown = (text: string) => text.replaceAll(/[\n\t]/g, '');

  test.each([
    ['rewrite', 'model.onnx', '-o', 'out.onnx', '--debug'],
    ['rewrite', 'model.onnx', '-o', 'out.onnx', '--dump-after', 'lower'],
    ['rewrite', 'model.onnx', '-o', 'out.onnx', '--preset', 'paper', '--debug'],
    ['inspect', 'model.onnx', '--explain'],
    ['inspect', 'model.onnx', '--json'],
  ])('%s %s %s %s %s', (...args) => {
    const folder = workFolder(model);
    const run = diffx(args, folder);
    expect(run.code).toBeLessThan(4);
    expect(shown(run.stdout + run.stderr)).not.toMatch(UNSEEN);
    expect(run.stdout + run.stderr).toMatch(/RED/);
    if (args.includes('--json')) expect(documentOf(run)).toMatchObject({ file: { producer: EVIL } });
  });

  test('in files that are made to be looked at', () => {
    const folder = workFolder(model);
    const args = ['rewrite', 'model.onnx', '-o', 'out.onnx', '--dump-dir', 'dumps', '--report', 'r.html'];
    expect(diffx(args, folder).code).toBe(0);
    const dumps = filesIn(path.join(folder, 'dumps')).map((name) => path.join('dumps', name));
    expect(dumps.length).toBeGreaterThan(2);
    for (const name of ['r.html', ...dumps]) {
      const text = fs.readFileSync(path.join(folder, name), 'utf8');
      expect(text).toMatch(/RED/);
      expect(shown(text)).not.toMatch(UNSEEN);
    }
  });
});

describe('a folder that nobody can make', () => {
  const says = /^error: \/proc\/1\/x: cannot be written/;
  test.each([[[]], [['--verify']]])('%j', (more) => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '--output-dir', '/proc/1/x', ...more], folder);
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });
});

describe('what runs out is no fault of ours', () => {
  const error = (message: string, code?: string) => Object.assign(new Error(message), code ? { code } : {});
  test.each([
    [error('EMFILE: too many open files, open', 'EMFILE'), 'no-file-handles'],
    [error('ENFILE: file table overflow, open', 'ENFILE'), 'no-file-handles'],
    [error('Worker initialization failure: EMFILE', 'ERR_WORKER_INIT_FAILED'), 'no-file-handles'],
    [error('ENOMEM: not enough memory, read', 'ENOMEM'), 'no-memory'],
    [error('Worker terminated due to reaching memory limit', 'ERR_WORKER_OUT_OF_MEMORY'), 'no-memory'],
    [new RangeError('Array buffer allocation failed'), 'no-memory'],
    [new RangeError('Invalid string length'), 'no-memory'],
    [new RangeError('Map maximum size exceeded'), 'no-memory'],
    [error('Cannot create a string longer than 0x1fffffe8 characters', 'ERR_STRING_TOO_LONG'), 'no-memory'],
  ])('%s', (thrown, code) => {
    expect(plainError(thrown)).toMatchObject({ code, exitCode: 2 });
  });

  test('a mistake of ours is still called one', () => {
    expect(plainError(new RangeError('Invalid array length'))).toMatchObject({
      code: 'internal',
      exitCode: 70,
    });
    expect(plainError(error('open EMFILES'))).toMatchObject({ code: 'internal', exitCode: 70 });
  });

  const limited = (command: string, folder: string) => {
    const run = spawnSync('sh', ['-c', command], { cwd: folder });
    return {
      code: run.status,
      stdout: run.stdout.toString(),
      stderr: run.stderr.toString(),
      output: run.stdout,
    };
  };
  const node = `'${process.execPath}'`;

  test('file handles', () => {
    const folder = workFolder();
    const run = limited(`ulimit -n 20; exec ${node} '${MAIN}' inspect model.onnx`, folder);
    expectFailure(run, { exit: 2, says: /too many files are open/ }, folder, ['model.onnx']);
    const json = limited(`ulimit -n 20; exec ${node} '${MAIN}' inspect model.onnx --json`, folder);
    expect(documentOf(json)).toMatchObject({ error: { code: 'no-file-handles', exitCode: 2 } });
  });
});
