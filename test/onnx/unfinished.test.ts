/** What other processes do or have done where files are written: those that run at the same time, and those that were killed. */
import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { computedBytes, memoryBytes, openSource } from '../../src/onnx';
import { checkTargets, writeFiles } from '../../src/onnx/atomic';
import { isOwn, ownerOf, stateOf, TEMPORARY, temporaryName, temporaryPrefix } from '../../src/onnx/owner';
import { tidy } from '../../src/onnx/tidy';
import { goThrough, makeGate, shutGate, uninterrupted } from '../../src/onnx/uninterrupted';
import { failure, temporaryFolder } from './build';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => {
  jest.restoreAllMocks();
  folder.clear();
});

const files = (at = folder.path) => fs.readdirSync(at).sort();
const content = (name: string) => fs.readFileSync(folder.in(name), 'utf8');
const output = (name: string, text: string) => ({
  path: folder.in(name),
  bytes: memoryBytes(Buffer.from(text)),
});

/** Does something while the bytes of a file are written. */
const meanwhile = (name: string, step: () => void) => ({
  path: folder.in(name),
  bytes: computedBytes(1, () => {
    step();
    return [Uint8Array.of(65)];
  }),
});

/** Lets Node read the sources. */
const TYPESCRIPT = path.join(__dirname, '../typescript.js');

/** Writes files in a process of its own, which is killed before the n-th call of a function of fs. */
function killedAt(name: string, nth: number, outputs: readonly string[], force: boolean): void {
  const script = `
    const fs = require('node:fs');
    const [name, nth, force, ...outputs] = JSON.parse(process.argv[1]);
    const real = fs[name];
    let calls = 0;
    fs[name] = (...given) => (++calls === nth ? process.kill(process.pid, 'SIGKILL') : real(...given));
    const { writeFiles } = require('./src/onnx/atomic.ts');
    const { memoryBytes } = require('./src/onnx/bytes.ts');
    writeFiles(outputs.map((path) => ({ path, bytes: memoryBytes(Buffer.from('new')) })), force);`;
  const given = JSON.stringify([name, nth, force, ...outputs.map((each) => folder.in(each))]);
  const { signal, stderr } = spawnSync(process.execPath, ['--require', TYPESCRIPT, '-e', script, given], {
    cwd: path.join(__dirname, '../..'),
    env: process.env,
    encoding: 'utf8',
  });
  expect([signal, stderr]).toEqual(['SIGKILL', '']);
}

const old = (...names: string[]) => {
  for (const name of names) {
    fs.mkdirSync(path.dirname(folder.in(name)), { recursive: true });
    fs.writeFileSync(folder.in(name), 'old');
  }
};

describe('at the same time', () => {
  test('a file that appears while another is written stays, and the other is not written', () => {
    const late = meanwhile('m', () => writeFiles([output('m', 'first')], false));
    expect(failure(() => writeFiles([late], false))).toBe(`exists: ${folder.in('m')}: exists already`);
    expect([files(), content('m')]).toEqual([['m'], 'first']);
  });

  test('of several files, one run has all: no mixture', () => {
    const late = [output('side', 'second'), meanwhile('m', () => writeFiles([output('m', 'first')], false))];
    expect(failure(() => writeFiles(late, false))).toMatch(/^exists/);
    expect([files(), content('m')]).toEqual([['m'], 'first']);
  });

  test('with force, the last one wins', () => {
    const late = meanwhile('m', () => writeFiles([output('m', 'first')], true));
    writeFiles([late], true);
    expect([files(), content('m')]).toEqual([['m'], 'A']);
  });

  const onLinux = process.platform === 'linux' ? test : test.skip;
  onLinux('with force, two runs that write one pair do not take turns: one waits', () => {
    // The other one takes a while, when it has begun.
    const script = 'until [ -s .diffx-$$-*.journal ]; do sleep 0.05; done; sleep 0.3; rm .diffx-$$-*.journal';
    const other = spawn('sh', ['-c', script], { cwd: folder.path, stdio: 'ignore' });
    const start = fs.readFileSync(`/proc/${other.pid}/stat`, 'utf8').split(' ')[21];
    const journal = folder.in(`.diffx-${other.pid}-${start}-${TEMPORARY.split('-')[3]}-aa.journal`);
    const plan = JSON.stringify({ id: 'a', force: true, entries: [] });
    // It begins when these files are being written.
    writeFiles([output('side', 'new'), meanwhile('m', () => fs.writeFileSync(journal, plan))], true);
    expect(files()).toEqual(['m', 'side']);
  });

  test.each(['EPERM', 'EOPNOTSUPP'])('the same where files have one name only (%s)', (code) => {
    jest.spyOn(fs, 'linkSync').mockImplementation(() => {
      throw Object.assign(new Error(code), { code });
    });
    writeFiles([output('side', 'new'), output('m', 'new')], false);
    expect([files(), content('m'), content('side')]).toEqual([['m', 'side'], 'new', 'new']);
    fs.rmSync(folder.in('m'));
    const late = meanwhile('m', () => fs.writeFileSync(folder.in('m'), ''));
    expect(failure(() => writeFiles([late], false))).toMatch(/^exists/);
    expect([files(), content('m')]).toEqual([['m', 'side'], '']);
    writeFiles([output('side', 'newer'), output('m', 'newer')], true);
    expect([files(), content('m'), content('side')]).toEqual([['m', 'side'], 'newer', 'newer']);
  });

  test('what fails at the end takes back what was there before', () => {
    old('m', 'side');
    const fails = () => {
      expect([content('side'), content('m')]).toEqual(['new', 'new']);
      throw new Error('nobody reads');
    };
    const both = [output('side', 'new'), output('m', 'new')];
    expect(() => writeFiles(both, true, fails)).toThrow('nobody reads');
    expect([files(), content('m'), content('side')]).toEqual([['m', 'side'], 'old', 'old']);
  });
});

describe('after a run that was killed', () => {
  test('while it wrote: the next one that writes there removes its files', () => {
    old('m');
    killedAt('writeSync', 1, ['m'], true);
    expect(files()).toHaveLength(2);
    openSource(folder.in('m'));
    expect(files()).toHaveLength(2);
    checkTargets([folder.in('other')], false);
    expect([files(), content('m')]).toEqual([['m'], 'old']);
  });

  test.each([
    // Before the journal has its name, nothing has happened.
    [1, 'old'],
    // From then on all of it will.
    [2, 'new'],
    [3, 'new'],
  ])('before the %i. rename, over files that are there: whoever reads them finds them %s', (nth, text) => {
    old('side', 'm');
    killedAt('renameSync', nth, ['side', 'm'], true);
    if (nth === 3) expect([content('side'), content('m')]).toEqual(['new', 'old']);
    openSource(folder.in('m'));
    expect([content('side'), content('m')]).toEqual([text, text]);
    checkTargets([folder.in('m')], true);
    expect(files()).toEqual(['m', 'side']);
  });

  test('of new files as well, and in another folder they are settled from there', () => {
    fs.mkdirSync(folder.in('more'));
    killedAt('linkSync', 2, ['more/w', 'm'], false);
    expect(files()).not.toContain('m');
    openSource(folder.in('more/w'));
    expect([content('m'), content('more/w')]).toEqual(['new', 'new']);
    checkTargets([folder.in('m'), folder.in('more/w')], true);
    expect([files(), files(folder.in('more'))]).toEqual([['m', 'more'], ['w']]);
  });

  test('who settles it takes away what leads to it from other folders', () => {
    old('more/w', 'm');
    killedAt('renameSync', 4, ['more/w', 'm'], true);
    expect(files(folder.in('more')).some((name) => name.endsWith('.elsewhere'))).toBe(true);
    checkTargets([folder.in('m')], true);
    expect([content('m'), content('more/w')]).toEqual(['new', 'new']);
    expect([files(), files(folder.in('more'))]).toEqual([['m', 'more'], ['w']]);
  });

  test('what cannot be finished is taken back', () => {
    killedAt('linkSync', 2, ['side', 'm'], false);
    fs.writeFileSync(folder.in('m'), 'of the user');
    openSource(folder.in('m'));
    checkTargets([folder.in('m')], true);
    expect([files(), content('m')]).toEqual([['m'], 'of the user']);
    old('side', 'm');
    killedAt('renameSync', 3, ['side', 'm'], true);
    fs.rmSync(folder.in('m'));
    fs.mkdirSync(folder.in('m'));
    openSource(folder.in('side'));
    expect(content('side')).toBe('old');
  });

  test('who settles it may be killed as well', () => {
    old('side', 'm');
    killedAt('renameSync', 2, ['side', 'm'], true);
    // The first rename takes the journal over, the second moves the side file.
    for (const nth of [1, 2, 3]) killedAt('renameSync', nth, ['side', 'm'], true);
    openSource(folder.in('m'));
    expect([content('side'), content('m')]).toEqual(['new', 'new']);
    checkTargets([folder.in('m')], true);
    expect(files()).toEqual(['m', 'side']);
  });

  test('a journal that cannot be read stays, with all that it may be about', () => {
    killedAt('renameSync', 2, ['side', 'm'], true);
    const journal = files().find((name) => name.endsWith('.journal')) ?? '';
    fs.writeFileSync(folder.in(journal), '{');
    const before = files();
    checkTargets([folder.in('m')], true);
    expect(files()).toEqual(before);
  });

  test("nothing else is removed: what runs, what is on another machine, what is the user's", () => {
    const [pid, start, machine] = [process.pid, ...TEMPORARY.split('-').slice(2)];
    const stays = [
      temporaryName(),
      temporaryName().slice(TEMPORARY.length),
      `.diffx-${process.ppid}-0-${machine}-aa`,
      `.diffx-999999999-${start}-00000000-aa`,
      '.diffx-999999999',
      `.diffx-999999999-abcdef01`,
      '.diffx-notes',
      `diffx-${pid}`,
      `diffx-fixtures-AbCdEf`,
    ];
    const goes = [
      `.diffx-999999999-${start}-${machine}-aa`,
      `.diffx-${pid}-${Number(start) + 1}-${machine}-aa.old`,
      `diffx-job-999999999-0-${machine}-AbCdEf`,
    ];
    for (const name of [...stays, ...goes]) fs.mkdirSync(folder.in(name));
    tidy(folder.path);
    expect(files()).toEqual([...stays].sort());
    // A week later, it will not come back from the other machine either.
    const other = folder.in(`.diffx-999999999-${start}-00000000-aa`);
    fs.utimesSync(other, 0, Date.now() / 1000 - 8 * 24 * 3600);
    tidy(folder.path);
    expect(fs.existsSync(other)).toBe(false);
  });
});

test('names say whose a file is', () => {
  for (const name of [
    path.basename(temporaryName()),
    `${temporaryName()}.old`,
    `${temporaryPrefix('job')}AbC123`,
  ]) {
    const owner = ownerOf(name);
    expect(isOwn(owner)).toBe(true);
    expect(owner && stateOf(owner)).toBe('running');
  }
  expect(ownerOf('model.onnx')).toBeUndefined();
});

test('a gate lets whoever is inside come out, and nobody in', () => {
  const gate = makeGate();
  goThrough(gate);
  expect(uninterrupted(() => uninterrupted(() => shutGate(gate, 10)))).toBe(false);
  expect(shutGate(gate, 10)).toBe(true);
});
