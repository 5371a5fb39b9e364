/** Help: it is complete, fits a terminal, and its examples run. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { openGolden } from '../support/fixtures';
import { diffx, workFolder } from './run-cli';

const commands = ['rewrite', 'inspect', 'verify', 'weights', 'monitor'];
const helps = new Map(commands.map((command) => [command, diffx([command, '--help'], '/')]));

test.each(commands)('%s --help says it on standard output', (command) => {
  const run = helps.get(command);
  expect([run?.code, run?.stderr]).toEqual([0, '']);
  expect(run?.stdout).toMatch(new RegExp(`^Usage: diffx ${command} \\[options\\] [<[]`));
  expect(run?.stdout).toContain('Examples:');
  expect(diffx(['help', command], '/').stdout).toBe(run?.stdout);
});

test('diffx --help lists the commands, --version the version', () => {
  const { stdout, code } = diffx(['--help'], '/');
  expect(code).toBe(0);
  for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  expect(diffx(['--version'], '/').stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('every option of SPEC that this version has is there', () => {
  const text = helps.get('rewrite')?.stdout ?? '';
  const options = [
    ...[
      '--output',
      '--preset',
      '--split-heads',
      '--init',
      '--zero-init',
      '--mirror-weights',
      '--sublayer-norm',
    ],
    ...['--no-sublayer-norm', '--norm-eps', '--seed', '--layers', '--allow-partial', '--emit', '--mix-input'],
    '--monitor-layers',
    ...[
      '--weights',
      '--strict-weights',
      '--config',
      '--output-dir',
      '--no-config',
      '--save-weights',
      '--strip-prefix',
      '--verify',
      '--inputs',
      '--dump-after',
      '--dump-dir',
      '--force',
      '--json',
      '--quiet',
      '--debug',
    ],
  ];
  for (const option of options) expect(text).toMatch(new RegExp(`^  (-\\w, )?${option}\\b`, 'm'));
});

describe('the examples run', () => {
  const folder = workFolder();
  const golden = openGolden('base-kv2/axolotl-trained');
  const examples = commands.flatMap((command) =>
    [...(helps.get(command)?.stdout ?? '').matchAll(/^ {2}\$ diffx (.*?)( {2,}.*)?$/gm)].map(
      (match) => match[1] ?? '',
    ),
  );

  beforeAll(() => {
    fs.copyFileSync(path.join(__dirname, '../../fixtures/config.yml'), path.join(folder, 'config.yml'));
    fs.copyFileSync(golden.attention, path.join(folder, 'tuned.safetensors'));
    fs.copyFileSync(
      path.join(__dirname, '../../fixtures/llama.io.safetensors'),
      path.join(folder, 'io.safetensors'),
    );
    fs.cpSync(path.join(folder, 'io.safetensors'), path.join(folder, 'batches/1.safetensors'));
  });

  test('there are some', () => expect(examples.length).toBeGreaterThan(8));

  test.each(examples)('diffx %s', (example) => {
    const model = example.includes('tuned') ? golden.models.torchscript : undefined;
    const where = model ? workFolder(model) : folder;
    if (model) fs.copyFileSync(path.join(folder, 'tuned.safetensors'), path.join(where, 'tuned.safetensors'));
    // the model of the examples has more layers than ours
    const args = example.replace('0-3,7', '0-1').split(' ');
    const overwrite = args[0] === 'rewrite' ? ['--force'] : [];
    const run = diffx([...args, ...overwrite], where);
    expect(run.stderr).not.toContain('error:');
    expect(run.code).toBe(0);
  });
});
