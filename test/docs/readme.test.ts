/**
 * What the README says is true: its sessions are run, its library example too, and it names every option.
 * With UPDATE_DOCS=1 the sessions are written into it as they are now.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel } from '../../src/api/rewrite';
import { DiffxError } from '../../src/errors';
import { exportNames, openExport, temporaryFolder } from '../support/fixtures';
import { blocksOf, codeIn, ROOT, readDocument, tableOf } from './markdown';
import { install, shell } from './project';
import { runSteps, stepsOf, withoutMeasurements, withPrinted } from './sessions';

const README = readDocument('README.md');
let folder: string;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(temporaryFolder(), 'readme-'));
  install(folder);
  fs.copyFileSync(path.join(ROOT, 'fixtures/llama.onnx'), path.join(folder, 'model.onnx'));
  fs.mkdirSync(path.join(folder, 'batches'));
  for (const n of [1, 2, 3]) {
    const batch = path.join(folder, `batches/${n}.safetensors`);
    fs.copyFileSync(path.join(ROOT, 'fixtures/llama.io.safetensors'), batch);
  }
  fs.copyFileSync(path.join(ROOT, 'fixtures/config.yml'), path.join(folder, 'config.yml'));
});

test('its sessions print what they show', () => {
  const ran = runSteps(stepsOf(README), folder);
  if (process.env['UPDATE_DOCS']) {
    fs.writeFileSync(path.join(ROOT, 'README.md'), withPrinted(README, ran));
    return;
  }
  expect(ran.length).toBeGreaterThan(4);
  for (const { command, shown, printed } of ran) {
    expect([command, ...printed.map(withoutMeasurements)]).toEqual([
      command,
      ...shown.map(withoutMeasurements),
    ]);
  }
});

test('its library example runs, and compiles', () => {
  const [example, ...more] = blocksOf(README).filter(({ language }) => language === 'ts');
  expect(more).toEqual([]);
  const text = example?.lines.join('\n') ?? '';
  fs.writeFileSync(path.join(folder, 'example.mjs'), text);
  fs.rmSync(path.join(folder, 'model.diff.onnx'), { force: true });
  expect(shell('node example.mjs', folder)).toMatchObject({ code: 0 });
  fs.copyFileSync(path.join(folder, 'example.mjs'), path.join(folder, 'example.mts'));
  fs.mkdirSync(path.join(folder, 'node_modules/@types'), { recursive: true });
  fs.symlinkSync(path.join(ROOT, 'node_modules/@types/node'), path.join(folder, 'node_modules/@types/node'));
  const tsc = path.join(ROOT, 'node_modules/.bin/tsc');
  const compile = `${tsc} --strict --target es2023 --module node16 --types node --noEmit example.mts`;
  expect(shell(compile, folder)).toEqual({ text: '', code: 0 });
});

/** Long names of the options that a command's help lists. */
function optionsIn(command: string): string[] {
  const { text } = shell(`diffx ${command} --help`, folder);
  return [...text.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map((match) => match[1] ?? '');
}

const COMMANDS = ['rewrite', 'inspect', 'verify', 'doctor', 'weights', 'monitor'];

test.each(COMMANDS)('it names every option of diffx %s, and no other', (command) => {
  const rows = tableOf(README, `\`diffx ${command}\``);
  const named = rows.flatMap(([options = '']) => codeIn(options)).map((text) => text.split(' ')[0]);
  const long = named.filter((name) => name?.startsWith('--'));
  expect(long.sort()).toEqual(optionsIn(command).sort());
});

test('commands and exit codes are those of the help', () => {
  const { text } = shell('diffx --help', folder);
  const commands = [...text.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map((match) => match[1]);
  expect(commands.filter((name) => name !== 'help')).toEqual(COMMANDS);
  const codes = tableOf(README, 'exit code').map(([code]) => Number(code));
  expect(codes).toEqual([0, 1, 2, 3, 4, 70]);
});

test('it names every check of diffx verify', () => {
  shell(
    'diffx rewrite model.onnx --init preserve --mix-input --monitor-layers 1 --force -o preserve.onnx',
    folder,
  );
  const { text } = shell('diffx verify model.onnx preserve.onnx --json', folder);
  const { checks } = JSON.parse(text) as { checks: { name: string }[] };
  expect(tableOf(README, 'check').map(([name = '']) => codeIn(name)[0])).toEqual(
    checks.map(({ name }) => name),
  );
});

test('as many of the bundled exports are rewritten as it says', () => {
  const refused: string[] = [];
  const names = exportNames();
  for (const name of names) {
    try {
      rewriteModel(openExport(name).model);
    } catch (error) {
      if (!(error instanceof DiffxError)) throw error;
      refused.push(`${name}: ${error.code}`);
    }
  }
  const says = /Of the (\d+) exports in `fixtures\/exports`, (\d+) are rewritten completely/.exec(README);
  expect(says?.slice(1).map(Number)).toEqual([names.length, names.length - refused.length]);
  expect(refused).toEqual([
    'diffllama-dec-dy18-eager: already-differential',
    'diffllama-dec-dy18-sdpa: already-differential',
  ]);
});

test('links lead to files that are there', () => {
  const links = [...README.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1] ?? '');
  expect(links.filter((link) => !fs.existsSync(path.join(ROOT, link)))).toEqual([]);
});
