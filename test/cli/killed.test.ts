/**
 * A rewrite that is killed while it writes: what is there after the next run is the old files or the new ones, never some
 * of each, and nothing else. Points are counted in changes of the file system, so they do not depend on the machine.
 * DIFFX_KILL_POINTS says how many for each signal; `all` takes every one.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { readModel, writeModel } from '../../src/onnx';
import { checkTargets } from '../../src/onnx/atomic';
import { tidyTemporaryFolder } from '../../src/onnx/tidy';
import { temporaryFolder } from '../support/fixtures';
import { diffx, filesIn, LLAMA, MAIN } from './run-cli';

const HOOK = path.join(__dirname, '../support/kill-points.js');
const ASKED = process.env['DIFFX_KILL_POINTS'] ?? '3';

const scratch = fs.mkdtempSync(path.join(temporaryFolder(), 'scratch-'));
const sources = fs.mkdtempSync(path.join(temporaryFolder(), 'source-'));
const source = path.join(sources, 'model.onnx');
beforeAll(() => {
  const { proto, tensorBytes } = readModel(LLAMA);
  writeModel(proto, source, { externalData: 'always', tensorBytes });
});

interface Scenario {
  readonly name: string;
  readonly arguments: readonly string[];
  /** Whether files are there before. */
  readonly over: boolean;
}

const SCENARIOS: readonly Scenario[] = [
  { name: 'over files that are there', arguments: ['-o', 'out.onnx', '--force'], over: true },
  { name: 'new files', arguments: ['-o', 'out.onnx'], over: false },
  {
    name: 'over files in two folders, verified',
    arguments: [
      '-o',
      'out.onnx',
      '--save-weights',
      'more/w.safetensors',
      '--force',
      '--verify',
      '--init',
      'preserve',
    ],
    over: true,
  },
  {
    name: 'new files, verified',
    arguments: ['-o', 'out.onnx', '--verify', '--init', 'preserve'],
    over: false,
  },
];

const FILES = ['out.onnx', 'out.onnx.data', 'more/w.safetensors'];

/** What stands in a folder: everything, and what the files hold. */
function contents(folder: string): string {
  return filesIn(folder)
    .concat(filesIn(path.join(folder, 'more')).map((name) => `more/${name}`))
    .filter((name) => name !== 'more')
    .map(
      (name) =>
        `${name} ${createHash('sha256')
          .update(fs.readFileSync(path.join(folder, name)))
          .digest('hex')}`,
    )
    .join('\n');
}

/** The hook counts where it does not kill. */
const HOOKED = { NODE_OPTIONS: `--require ${JSON.stringify(HOOK)}`, DIFFX_KILL_AT: '-1' };

function copyOf(folder: string): string {
  const copy = fs.mkdtempSync(path.join(temporaryFolder(), 'copy-'));
  fs.cpSync(folder, copy, { recursive: true });
  return copy;
}

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'killed-'));
  fs.mkdirSync(path.join(folder, 'more'));
  return folder;
}

function rewrite(folder: string, scenario: Scenario, seed: number, environment: NodeJS.ProcessEnv = {}) {
  const args = ['rewrite', source, '-q', '--seed', String(seed), ...scenario.arguments];
  return spawnSync(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env: { ...process.env, TMPDIR: scratch, ...environment },
    encoding: 'utf8',
  });
}

/** The next run looks at the files (which must fit then), and the one after it writes there. */
function nextRuns(folder: string): string {
  if (ASKED === 'all') {
    diffx(['inspect', 'out.onnx'], folder, { TMPDIR: scratch });
    const before = FILES.map((name) => path.join(folder, name)).filter((name) => fs.existsSync(name));
    const there = before.map((name) => fs.readFileSync(name));
    const next = diffx(
      ['rewrite', source, '-q', '-o', 'next.onnx', '--save-weights', 'more/next.st'],
      folder,
      { TMPDIR: scratch },
    );
    expect([next.code, next.stderr]).toEqual([0, '']);
    for (const name of ['next.onnx', 'next.onnx.data', 'more/next.st']) fs.rmSync(path.join(folder, name));
    expect(before.map((name) => fs.readFileSync(name))).toEqual(there);
  } else {
    if (fs.existsSync(path.join(folder, 'out.onnx'))) readModel(path.join(folder, 'out.onnx'));
    checkTargets(
      FILES.map((name) => path.join(folder, name)),
      true,
    );
    tidyTemporaryFolder(scratch);
  }
  return contents(folder);
}

describe.each(SCENARIOS)('$name', (scenario) => {
  const folder = newFolder();
  let [before, after, points] = ['', '', 0];
  beforeAll(() => {
    if (scenario.over) expect(rewrite(folder, scenario, 1).status).toBe(0);
    before = contents(folder);
    const copy = copyOf(folder);
    const count = path.join(temporaryFolder(), 'points');
    expect(rewrite(copy, scenario, 2, { ...HOOKED, DIFFX_KILL_COUNT: count }).status).toBe(0);
    after = contents(copy);
    points = Number(fs.readFileSync(count, 'utf8'));
    expect(after).not.toBe(before);
  });

  test.each(['SIGKILL', 'SIGTERM'] as const)('%s', (signal) => {
    const count = ASKED === 'all' ? points : Math.min(points, Number(ASKED));
    const seen = { old: 0, new: 0 };
    for (let index = 0; index < count; index++) {
      const at = Math.floor(((index + 0.5) * points) / count);
      const copy = copyOf(folder);
      const killing = { ...HOOKED, DIFFX_KILL_AT: String(at), DIFFX_KILL_BY: signal };
      expect([at, rewrite(copy, scenario, 2, killing).signal]).toEqual([at, signal]);
      // Told to end, it puts its things in order itself.
      if (signal === 'SIGTERM') expect([before, after]).toContain(contents(copy));
      const found = nextRuns(copy);
      expect([at, [before, after].includes(found)]).toEqual([at, true]);
      seen[found === before ? 'old' : 'new']++;
      expect(filesIn(scratch)).toEqual([]);
      fs.rmSync(copy, { recursive: true });
    }
    if (ASKED !== '3')
      console.log(`${scenario.name}: ${count} points of ${signal}: ${seen.old} old, ${seen.new} new`);
    expect(seen.old + seen.new).toBe(count);
  });
});
