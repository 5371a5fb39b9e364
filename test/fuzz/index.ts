/**
 * Mutates the bundled exports, and looks for what must not happen: `npm run fuzz`, or
 *
 *     npm run fuzz -- --minutes 60          as long as that (1)
 *     npm run fuzz -- --iterations 500      or as many mutants, whichever is first
 *     npm run fuzz -- --seed 7              others (1)
 *     npm run fuzz -- --iteration 42        that one alone, to see a finding again
 *     npm run fuzz -- --only semantic       one kind of mutations: bytes, protobuf or semantic
 *     npm run fuzz -- --corpus folder       models of a folder instead
 *     npm run fuzz -- --out folder          where findings are saved (fuzz-findings)
 *     npm run fuzz -- --jobs 1              worker processes (2)
 *
 * A finding is an error that is no DiffxError, more than 5 s of processor time, more than 500 MB, a rewrite that ONNX
 * Runtime does not load although it loads the mutant, or one with `preserve` that does not give the mutant's outputs. It is
 * saved as the smallest input that shows it. Exit 1 where there is one.
 */
import { parseArgs } from 'node:util';
import { fuzz } from './fuzz';
import { KINDS } from './mutate';
import { summary } from './summary';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    iterations: { type: 'string' },
    iteration: { type: 'string' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    corpus: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    out: { type: 'string', default: 'fuzz-findings' },
  },
});

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0)) throw new Error(`--${option}: ${text} is no number`);
  return value;
}

async function main(): Promise<void> {
  const only = KINDS.find((kind) => kind === values.only);
  if (values.only !== undefined && !only) throw new Error(`--only: one of ${KINDS.join(', ')}`);
  const { iteration, iterations, corpus } = values;
  const first = iteration === undefined ? 0 : numberOf('iteration', iteration);
  const last = iteration === undefined ? Number.POSITIVE_INFINITY : first + 1;
  const result = await fuzz({
    seed: numberOf('seed', values.seed),
    first,
    last: iterations === undefined ? last : Math.min(last, first + numberOf('iterations', iterations)),
    minutes: numberOf('minutes', values.minutes),
    out: values.out,
    jobs: Math.max(1, numberOf('jobs', values.jobs)),
    ...(only ? { only } : {}),
    ...(corpus === undefined ? {} : { corpus }),
  });
  console.log(summary(result).join('\n'));
  process.exitCode = result.findings.length === 0 ? 0 : 1;
}

// So that the temporary folder goes as well.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
