/** Issue 2, item 6: bad input gives one line, the right exit code, and no partial output. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { derive, encode, mapTensors, readModel } from '../../src/onnx';
import { llama } from '../bench/llama';
import { openExport } from '../support/fixtures';
import { textBytes } from '../support/models';
import { diffx, expectFailure, type Failure, filesIn, LLAMA, MAIN, workFolder } from './run-cli';

const whole = fs.readFileSync(LLAMA);
const noise = Uint8Array.from({ length: 4096 }, (_, index) => (index * index * 31 + index * 7 + 13) % 251);
const MLP = `<ir_version: 8, opset_import: ["": 17]>
  mlp (float[N, 8] x) => (float[N, 8] y) <float[8, 8] w = {...}> { h = MatMul(x, w) y = Softmax(h) }`;

const files: readonly (readonly [string, Uint8Array, Failure])[] = [
  ['a truncated file', whole.subarray(0, 100_000), { exit: 2, says: /model\.onnx: ends early/ }],
  ['random bytes', noise, { exit: 2, says: /model\.onnx: (not an ONNX model|ends early)/ }],
  ['an empty file', new Uint8Array(), { exit: 2, says: /model\.onnx: not an ONNX model/ }],
  [
    'a text file',
    Buffer.from('Dear reader,\n'.repeat(50)),
    { exit: 2, says: /model\.onnx: not an ONNX model/ },
  ],
];

describe.each(files)('%s', (_, bytes, failure) => {
  test.each(['rewrite', 'inspect'])('%s', (command) => {
    const folder = workFolder(bytes);
    expectFailure(diffx([command, 'model.onnx'], folder), failure, folder, ['model.onnx']);
  });
});

test('verify refuses a file that is no model, whichever of the two it is', () => {
  const folder = workFolder();
  fs.writeFileSync(path.join(folder, 'noise.onnx'), noise);
  const both = ['model.onnx', 'noise.onnx'];
  const failure = { exit: 2, says: /noise\.onnx: (not an ONNX model|ends early)/ };
  expectFailure(diffx(['verify', 'model.onnx', 'noise.onnx'], folder), failure, folder, both);
  expectFailure(diffx(['verify', 'noise.onnx', 'model.onnx'], folder), failure, folder, both);
});

test('verify refuses a model that diffx has not written', () => {
  const folder = workFolder();
  const run = diffx(['verify', 'model.onnx', 'model.onnx'], folder);
  expectFailure(run, { exit: 2, says: /model\.onnx: / }, folder, ['model.onnx']);
});

test.each(['rewrite', 'inspect'])('a directory: %s', (command) => {
  const folder = workFolder();
  const run = diffx([command, '.'], folder);
  expectFailure(run, { exit: 2, says: /^error: \.: is a directory/ }, folder, ['model.onnx']);
});

test.each(['rewrite', 'inspect'])('no such file: %s', (command) => {
  const folder = workFolder();
  const run = diffx([command, 'other.onnx'], folder);
  expectFailure(run, { exit: 2, says: /other\.onnx: no such file/ }, folder, ['model.onnx']);
});

describe('side files', () => {
  const { model } = openExport('llama-dec-ts17-sdpa+external');
  const source = readModel(model);
  const [side = ''] = source.externalFiles;

  test.each(['rewrite', 'inspect'])('missing: %s', (command) => {
    const folder = workFolder(model);
    const run = diffx([command, 'model.onnx'], folder);
    expectFailure(run, { exit: 2, says: /its side file .* does not exist/ }, folder, ['model.onnx']);
    expect(run.stderr).toContain(side);
  });

  test('too short', () => {
    const folder = workFolder(model);
    const bytes = source.sideFile(side).read();
    fs.writeFileSync(path.join(folder, side), bytes.subarray(0, bytes.length / 2));
    const run = diffx(['rewrite', 'model.onnx'], folder);
    expectFailure(
      run,
      { exit: 2, says: /reaches to byte \d+ of .*, which has \d+/ },
      folder,
      filesIn(folder),
    );
  });

  test.each(['offset', 'length'])('%s beyond the end', (key) => {
    let changed = false;
    const proto = mapTensors('ModelProto', source.proto, (tensor) => {
      if (tensor.externalData.length === 0 || changed) return tensor;
      changed = true;
      const rest = tensor.externalData.filter((entry) => entry.key !== key);
      return derive(tensor, { externalData: [...rest, { key, value: '99999999' }] });
    });
    const folder = workFolder(encode('ModelProto', proto).read());
    fs.writeFileSync(path.join(folder, side), source.sideFile(side).read());
    const run = diffx(['rewrite', 'model.onnx'], folder);
    expectFailure(run, { exit: 2, says: /^error: tensor '.+': / }, folder, filesIn(folder));
  });
});

test('a model without attention', () => {
  const folder = workFolder(textBytes(MLP));
  const run = diffx(['rewrite', 'model.onnx'], folder);
  expectFailure(run, { exit: 3, says: /model\.onnx: no attention found/ }, folder, ['model.onnx']);
});

describe('head counts that cannot be halved', () => {
  test('three heads', () => {
    const size = { layers: 1, hidden: 24, heads: 3, kvHeads: 3, intermediate: 16, vocab: 32 };
    const folder = workFolder(encode('ModelProto', llama(size)).read());
    const run = diffx(['rewrite', 'model.onnx', '--split-heads'], folder);
    const says = /model\.layers\.0\.self_attn: cannot split 3 heads with 3 key\/value heads/;
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });

  test('one key/value head', () => {
    const folder = workFolder(openExport('gemma-dec-ts17-sdpa').model);
    const run = diffx(['rewrite', 'model.onnx', '--split-heads'], folder);
    expectFailure(run, { exit: 2, says: /cannot split 4 heads with 1 key\/value heads/ }, folder, [
      'model.onnx',
    ]);
  });
});

describe('options', () => {
  const contradictions = [
    '--split-heads --zero-init',
    '--split-heads --init zero',
    '--zero-init --mirror-weights',
    '--zero-init --init random',
    '--mirror-weights --init preserve',
    '--split-heads --init preserve',
    '--init preserve --sublayer-norm',
    '--sublayer-norm --no-sublayer-norm',
    '--norm-eps 1e-6 --no-sublayer-norm',
    '--norm-eps 1e-6 --init preserve',
    '--json -o -',
  ];
  test.each(contradictions)('%s', (options) => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', ...options.split(' ')], folder);
    if (options.includes('--json')) {
      expect(run.code).toBe(2);
      expect(run.stderr).toMatch(/exclude each other/);
    } else {
      expectFailure(run, { exit: 2, says: /exclude each other/ }, folder, ['model.onnx']);
    }
  });

  const mistakes: readonly (readonly [string, RegExp])[] = [
    ['--seed -1', /--seed -1: not a whole number from 0 on/],
    ['--seed 1.5', /--seed 1\.5: not a whole number/],
    ['--seed x', /--seed x: not a whole number/],
    ['--norm-eps 2', /--norm-eps 2: not a number between 0 and 1/],
    ['--norm-eps small', /--norm-eps small: not a number/],
    ['--init nothing', /--init nothing: not known/],
    ['--preset llama', /--preset llama: not known/],
    ['--emit onnx', /--emit onnx: not known/],
    ['--layers 3-1', /--layers 3-1: not a list of layers/],
    ['--layers 7', /there is no layer 7; the model has 2/],
    ['--dump-after everything', /--dump-after everything: not known/],
    ['--weights model.onnx', /model\.onnx: not a safetensors file/],
    ['--weights none.safetensors', /none\.safetensors: no such file/],
    ['--wrong', /unknown option '--wrong'/],
    ['--seed', /--seed <number>' argument missing/],
    ['other.onnx', /too many arguments/],
  ];
  test.each(mistakes)('%s', (options, says) => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', ...options.split(' ')], folder);
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });

  test('a missing argument, a missing command, an unknown command', () => {
    const folder = workFolder();
    for (const args of [['rewrite'], ['nonsense'], ['verify', 'model.onnx']]) {
      expectFailure(diffx(args, folder), { exit: 2, says: /missing|unknown command/ }, folder, [
        'model.onnx',
      ]);
    }
    const bare = diffx([], folder);
    expect(bare.code).toBe(2);
    expect(bare.stdout).toBe('');
    expect(bare.stderr).toContain('Usage: diffx');
  });
});

describe('targets', () => {
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['model.onnx/out.onnx', /cannot be written \(a part of the path is no folder\)/],
    ['nowhere/out.onnx', /cannot be written \(the folder does not exist\)/],
    ['.', /cannot be written \(it is a folder\)|exists already/],
    [`${'x'.repeat(300)}.onnx`, /cannot be written \(the name is too long\)/],
  ];
  test.each(wrong)('%s', (target, says) => {
    const folder = workFolder();
    const before = filesIn(folder);
    expectFailure(
      diffx(['rewrite', 'model.onnx', '-q', '-o', target], folder),
      { exit: 2, says },
      folder,
      before,
    );
    const verified = diffx(['rewrite', 'model.onnx', '-q', '--verify', '-o', target], folder);
    expectFailure(verified, { exit: 2, says: /cannot be written|exists already/ }, folder, before);
  });

  test('an existing file stays as it is, and nothing is done before that is known', () => {
    const folder = workFolder(noise);
    fs.writeFileSync(path.join(folder, 'out.onnx'), 'mine');
    const run = diffx(['rewrite', 'model.onnx', '-o', 'out.onnx'], folder);
    expectFailure(run, { exit: 2, says: /out\.onnx: exists already/ }, folder, ['model.onnx', 'out.onnx']);
    expect(fs.readFileSync(path.join(folder, 'out.onnx'), 'utf8')).toBe('mine');
  });

  const device = fs.existsSync('/dev/full') ? test : test.skip;
  device('a device without space', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '-q', '-o', '/dev/full'], folder);
    expectFailure(run, { exit: 2, says: /\/dev\/full: cannot be written \(no space left/ }, folder, [
      'model.onnx',
    ]);
  });
});

test('two files that would be one', () => {
  const folder = workFolder();
  const says = /model\.diff\.onnx: two files would be written there/;
  for (const verify of [[], ['--verify']]) {
    const run = diffx(['rewrite', 'model.onnx', '--save-weights', './model.diff.onnx', ...verify], folder);
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  }
});

test('a checkpoint where the side file of the model goes', () => {
  const { model } = openExport('llama-dec-ts17-sdpa+external');
  const folder = workFolder(model);
  const [side = ''] = readModel(model).externalFiles;
  fs.copyFileSync(path.join(path.dirname(model), side), path.join(folder, side));
  for (const verify of [[], ['--verify']]) {
    const run = diffx(['rewrite', 'model.onnx', '--save-weights', 'model.diff.onnx.data', ...verify], folder);
    const says = /model\.diff\.onnx\.data: two files would be written there/;
    expectFailure(run, { exit: 2, says }, folder, [side, 'model.onnx']);
  }
});

test('a checkpoint does not go to standard output', () => {
  const folder = workFolder();
  const says = /-: not to standard output/;
  const args = [
    ['rewrite', 'model.onnx', '--save-weights', '-'],
    ['weights', 'model.onnx', 'model.onnx', '-o', '-'],
    ['verify', 'model.onnx', 'model.onnx', '--junit', '-'],
  ];
  for (const each of args) expectFailure(diffx(each, folder), { exit: 2, says }, folder, ['model.onnx']);
});

describe('paths that the file system refuses', () => {
  const long = 'x'.repeat(300);
  test.each([
    ['rewrite', 'model.onnx', '--weights', long],
    ['rewrite', '--config', long],
    ['rewrite', 'model.onnx', '--weights', 'circle'],
    ['rewrite', 'circle'],
    ['verify', 'model.onnx', 'model.onnx', '--junit', 'circle', '--force'],
  ])('%s %s %s %s', (...args) => {
    const folder = workFolder();
    fs.symlinkSync('circle', path.join(folder, 'circle'));
    const says = /cannot be (read|written) \((the name is too long|links lead to one another in a circle)\)/;
    expectFailure(diffx(args, folder), { exit: 2, says }, folder, ['circle', 'model.onnx']);
  });

  test('an output_dir that is no name', () => {
    const folder = workFolder();
    fs.writeFileSync(path.join(folder, 'c.yml'), 'base_model: model.onnx\noutput_dir: "a\\0b"\n');
    const says = /a\\x00b.*: cannot be written \(no file can have this name\)/;
    const run = diffx(['rewrite', '--config', 'c.yml'], folder);
    expectFailure(run, { exit: 2, says }, folder, ['c.yml', 'model.onnx']);
  });
});

test.each(['rewrite', 'inspect'])('no folder for temporary files: %s', (command) => {
  const folder = workFolder();
  const run = diffx([command, 'model.onnx'], folder, { TMPDIR: path.join(folder, 'nowhere') });
  expectFailure(run, { exit: 2, says: /nowhere: no folder for temporary files/ }, folder, ['model.onnx']);
});

test('a working directory that is gone', () => {
  const folder = workFolder();
  const script = `mkdir gone && cd gone && rmdir ../gone && exec ${process.execPath} ${MAIN} rewrite ${LLAMA} -o x.onnx`;
  const run = spawnSync('sh', ['-c', script], { cwd: folder, encoding: 'utf8' });
  expect(run.stderr).toMatch(/error: \.: cannot be read \(the working directory does not exist any more\)/);
  expect(run.status).toBe(2);
});

(fs.existsSync('/dev/full') ? describe : describe.skip)('streams that are full', () => {
  const shell = (args: string) => {
    const run = spawnSync('sh', ['-c', `${process.execPath} ${MAIN} ${args}`], {
      cwd: workFolder(),
      encoding: 'utf8',
    });
    return { code: run.status, stderr: run.stderr };
  };

  test.each(['', '--json'])('standard output, as text or JSON: %s', (json) => {
    expect(shell(`inspect model.onnx ${json} > /dev/full`)).toEqual({
      code: 2,
      stderr: 'error: standard output: cannot be written (no space left on device)\n',
    });
  });

  test('standard error: the exit code is that of the command', () => {
    expect(shell('inspect none.onnx 2> /dev/full').code).toBe(2);
    expect(shell('rewrite model.onnx --quiet 2> /dev/full').code).toBe(0);
  });
});

test('devices are written to, and never replaced', () => {
  const folder = workFolder();
  fs.symlinkSync('/dev/null', path.join(folder, 'null'));
  const args = ['rewrite', 'model.onnx', '--quiet', '--force', '--save-weights', 'null'];
  expect(diffx(args, folder)).toMatchObject({ code: 0, stderr: '' });
  expect(fs.readlinkSync(path.join(folder, 'null'))).toBe('/dev/null');
  const piped = `${process.execPath} ${MAIN} weights model.onnx model.diff.onnx -q -o /dev/stdout | head -c 10`;
  const run = spawnSync('sh', ['-c', piped], { cwd: folder });
  expect(run.stderr.toString()).toBe('');
  // The length of the header, and its beginning.
  expect(run.stdout.toString('latin1')).toMatch(/^.{2}\0{6}\{"/s);
});

describe('a full disk', () => {
  const disk = path.join(workFolder(null), 'disk');
  fs.mkdirSync(disk);
  // Only root may mount; where that is not allowed, /dev/full above stands for it.
  const tryMount = () =>
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', disk], { encoding: 'utf8' });
  const umount = () => spawnSync('umount', [disk]);
  const mount = tryMount();
  const mounted = mount.status === 0;
  // Not before a test of these runs: where none is chosen, nobody would take it away.
  if (mounted) {
    umount();
    beforeAll(tryMount);
    afterAll(umount);
  }
  const why = mounted ? '' : ` (skipped: ${(mount.stderr || mount.error?.message || 'no mount').trim()})`;
  (mounted ? test : test.skip).each([[], ['--verify']])(`leaves nothing behind: %j${why}`, (...options) => {
    const folder = workFolder();
    fs.writeFileSync(path.join(disk, 'note'), 'mine');
    const args = ['rewrite', 'model.onnx', '-q', '-o', path.join(disk, 'out.onnx'), ...options];
    const says = /out\.onnx: cannot be written \(no space left on device\)/;
    expectFailure(diffx(args, folder), { exit: 2, says }, folder, ['model.onnx']);
    expect(filesIn(disk)).toEqual(['note']);
  });
});
