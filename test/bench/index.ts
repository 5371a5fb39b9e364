/**
 * What a rewrite costs, beside what copying the file costs: `npm run bench`, or
 *
 *     npm run bench -- --init zero          the init mode (random)
 *     npm run bench -- --split-heads
 *     npm run bench -- --layers 2           and the other sizes of generate.ts
 *     npm run bench -- --runs 5 --keep      medians of 5 runs (3); keeps the generated model for the next time
 *     npm run bench -- --model big.onnx     measures another model
 *     npm run bench -- --verify             also one verification; with --ep webgpu or another one, there
 *
 * `cp` and `diffx rewrite` take turns in one run. Exit 1 where the peak memory is above 400 MB (of 10^6 bytes) or the time
 * above 4 times that of `cp`.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { writeModel } from '../../src/onnx';
import { SIZE_OPTIONS, sizeOf } from './generate';
import { type LlamaSize, llama } from './llama';
import { type Measurement, measureCopy, measureNode, median, settle, warm } from './measure';

const MEGABYTE = 1e6;
const LARGEST_PEAK = 400 * MEGABYTE;
const LARGEST_RATIO = 4;
const NAME_WIDTH = 44;

const { values } = parseArgs({
  options: {
    ...SIZE_OPTIONS,
    init: { type: 'string', default: 'random' },
    'split-heads': { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
    model: { type: 'string' },
    verify: { type: 'boolean', default: false },
    ep: { type: 'string', default: 'cpu' },
    cli: { type: 'string', default: path.join(__dirname, '../../src/cli/main.js') },
  },
});

/** The generated model; its name has the sizes, so that another one is not taken for it. */
function generated(size: LlamaSize): string {
  const folder = path.join(os.tmpdir(), 'diffx-bench');
  const file = path.join(folder, `llama-${Object.values(size).join('-')}.onnx`);
  if (!fs.existsSync(file)) {
    console.log(`writing ${file}`);
    fs.mkdirSync(folder, { recursive: true });
    writeModel(llama(size), file);
  }
  return file;
}

interface Runs {
  readonly copy: Measurement[];
  readonly rewrite: Measurement[];
  readonly verify: Measurement[];
}

/** Copies and rewrites in turns. */
function measureAll(model: string, folder: string, runs: number): Runs {
  const copied = path.join(folder, 'copy.onnx');
  const rewritten = path.join(folder, 'rewritten.onnx');
  const heads = values['split-heads'] ? ['--split-heads'] : [];
  const args = ['rewrite', model, '-o', rewritten, '--force', '--init', values.init, ...heads];
  const result: Runs = { copy: [], rewrite: [], verify: [] };
  // not counted: the first copy also pays for what was written before
  warm(model);
  settle();
  measureCopy(model, copied);
  fs.rmSync(copied);
  for (let run = 0; run < runs; run++) {
    warm(model);
    settle();
    result.copy.push(measureCopy(model, copied));
    fs.rmSync(copied);
    warm(model);
    settle();
    result.rewrite.push(measureNode(values.cli, args, folder));
    if (run === runs - 1) {
      console.log(`${size(model)} in, ${size(rewritten)} out`);
      if (values.verify) {
        const verify = ['verify', model, rewritten, '--quiet', '--ep', values.ep];
        result.verify.push(measureNode(values.cli, verify, folder));
      }
    }
    fs.rmSync(rewritten);
  }
  return result;
}

function size(file: string): string {
  return `${(fs.statSync(file).size / MEGABYTE).toFixed(0)} MB`;
}

function row(name: string, measurements: readonly Measurement[], ratio: number): string {
  const seconds = measurements.map((measurement) => measurement.seconds);
  const peaks = measurements.flatMap(({ peak }) => (peak === undefined ? [] : [peak / MEGABYTE]));
  const cells = [
    name.padEnd(NAME_WIDTH),
    `${median(seconds).toFixed(2)} s`.padStart(8),
    `${ratio.toFixed(2)}x`.padStart(8),
    (peaks.length === 0 ? '-' : `${Math.max(...peaks).toFixed(0)} MB`).padStart(8),
    `  ${seconds.map((each) => each.toFixed(2)).join(' ')}`,
  ];
  return cells.join('');
}

/** Prints the table; whether the limits are kept. */
function report({ copy, rewrite, verify }: Runs): boolean {
  const ratio = median(rewrite.map(({ seconds }) => seconds)) / median(copy.map(({ seconds }) => seconds));
  const peak = Math.max(...rewrite.map((measurement) => measurement.peak ?? Number.NaN));
  const mode = `--init ${values.init}${values['split-heads'] ? ' --split-heads' : ''}`;
  console.log(
    `${''.padEnd(NAME_WIDTH)}${'median'.padStart(8)}${'of cp'.padStart(8)}${'peak'.padStart(8)}  runs`,
  );
  console.log(row('cp', copy, 1));
  console.log(row(`diffx rewrite ${mode}`, rewrite, ratio));
  const [verified] = verify;
  if (verified)
    console.log(
      row(
        `diffx verify --ep ${values.ep}`,
        verify,
        verified.seconds / median(copy.map(({ seconds }) => seconds)),
      ),
    );
  const kept = ratio <= LARGEST_RATIO && peak <= LARGEST_PEAK;
  console.log(`limits: ${LARGEST_RATIO}x, ${LARGEST_PEAK / MEGABYTE} MB: ${kept ? 'kept' : 'EXCEEDED'}`);
  return kept;
}

function main(): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-bench-run-'));
  try {
    const model = values.model ?? generated(sizeOf(values));
    const kept = report(measureAll(model, folder, Number(values.runs)));
    process.exitCode = kept ? 0 : 1;
    if (values.model === undefined && !values.keep) {
      fs.rmSync(model);
    }
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

main();
