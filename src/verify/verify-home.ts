/** The checks that run the models: at home on the CPU, and on every other provider that was asked for. */
import { isRefused } from '../errors';
import type { Bench, RunPlace } from './bench';
import { type CaseRun, rerunOriginal, runOriginal } from './case-runs';
import { checkExchanged } from './check-exchanged';
import { checkFunction, checkNeutralised, compareOutputs, outputsOfMaps } from './check-function';
import { checkLayers, type PositiveRun } from './check-layers';
import { checkMonitored } from './check-monitored';
import { checkOverflow } from './check-overflow';
import { checkPrepared } from './check-prepared';
import { checkRefused } from './check-refused';
import { type Check, CheckBuilder } from './report';
import { type RewrittenRuns, runRewritten } from './rewritten-runs';

/** ONNX Runtime's own graph optimizations: as users run models, and none. Its fusions have been wrong before. */
const LEVELS: readonly { optimization: RunPlace['optimization']; where: string }[] = [
  { optimization: 'all', where: '' },
  { optimization: 'disabled', where: ', not optimized' },
];

/** What both models give on the CPU, at one level of optimization. */
export interface HomeRuns {
  readonly bench: Bench;
  /** For messages. */
  readonly where: string;
  readonly original: readonly CaseRun[];
  /** The same with large numbers. */
  readonly loud: readonly CaseRun[];
  readonly rewritten: RewrittenRuns;
}

export interface Home {
  readonly checks: readonly Check[];
  /** Empty where the rewritten model does not run. */
  readonly runs: readonly HomeRuns[];
  readonly cases: readonly string[];
}

/**
 * Proves a rewrite on the CPU.
 * @param notVerified gets a line for each thing that is not looked at
 */
export async function verifyAtHome(bench: Bench, notVerified: string[]): Promise<Home> {
  const { original, record, keepsFunction } = bench.pair;
  if (bench.wide) notVerified.push('how bfloat16 is rounded: both models are run with float32 in its place');
  const all = await bench.original((session) => runOriginal(original, session, bench.settings, notVerified));
  const duplicate = record.options.heads === 'duplicate';
  const layers = new CheckBuilder('layers', STATES.layers);
  const levels = await runLevels(bench, all, notVerified);
  const exact = levelOfCopies(bench, levels);
  const home: HomeRuns[] = [];
  let positive: readonly (PositiveRun | undefined)[] = [];
  let ran: readonly CaseRun[] = [];
  for (const level of levels) {
    const { bench: here, where } = level;
    // What does not keep the function may overflow by what it was made to compute.
    const loud = keepsFunction ? level.loud : [];
    const rewritten = await runRewritten(here, level.runs, loud, layers, !keepsFunction);
    if (!rewritten) continue;
    const excused = await checkRefused(here, rewritten.refused, layers, notVerified);
    if (rewritten.runs.length === 0) {
      if (excused > 0) layers.missProof(`the rewritten model as a whole runs with no input${where}`);
      continue;
    }
    home.push({ bench: here, where, original: rewritten.runs, loud, rewritten });
    const { runs, given } = rewritten;
    const withPositive = duplicate && level === exact;
    const looked = await checkLayers(here, runs, given, layers, notVerified, withPositive);
    if (level === exact) [positive, ran] = [looked, runs];
  }
  // One recorded input cannot take every branch; generated ones must.
  if (bench.settings.inputs !== undefined)
    notVerified.push(...layers.giveUp().map((label) => `${label}: not reached by the inputs given`));
  const prepared = bench.pair.prepared.length > 0 ? [await checkPrepared(exact.bench, exact.runs)] : [];
  const checks = [...prepared, layers.done()];
  if (home.length === 0) notVerified.push('the layers: the rewritten model does not run');
  else {
    if (duplicate)
      checks.push(
        await checkNeutralised(exact.bench, exact.runs),
        await checkExchanged(exact.bench, ran, positive, notVerified),
      );
    checks.push(...(await compareWithOriginal(home, keepsFunction, notVerified)));
    if (record.options.monitorLayers !== undefined || record.monitored.length > 0)
      checks.push(await checkMonitored(exact.bench, ran, positive));
  }
  return {
    checks,
    runs: home,
    cases: all.filter(({ loud }) => !loud || keepsFunction).map(({ where }) => where),
  };
}

/** What the original gives at one level of optimization. */
interface Level {
  readonly bench: Bench;
  /** For messages. */
  readonly where: string;
  /** Not empty. */
  readonly runs: readonly CaseRun[];
  readonly loud: readonly CaseRun[];
}

/** The original at every level at which it runs, as users run it first. */
async function runLevels(bench: Bench, all: readonly CaseRun[], notVerified: string[]): Promise<Level[]> {
  const levels: Level[] = [];
  for (const { optimization, where } of LEVELS) {
    const here = bench.at({ optimization });
    const given = where === '' ? all : await again(here, all, where, notVerified);
    const [runs, loud] = [given.filter((run) => !run.loud), given.filter((run) => run.loud)];
    if (runs.length > 0) levels.push({ bench: here, where, runs, loud });
  }
  return levels;
}

/**
 * Where changed copies of a model are compared with what they are copies of. Optimizations make operators of integers of what a
 * quantized model says in floats; those round otherwise, on some processors by far, and a copy has them elsewhere. So
 * such copies are run without optimizations, if the original runs without: then both compute the same.
 */
function levelOfCopies(bench: Bench, levels: readonly Level[]): Level {
  const level = bench.quantized ? levels.at(-1) : levels[0];
  return level ?? { bench, where: '', runs: [], loud: [] };
}

/** What the original gives at another level; nothing where it does not run there, as with some faults of ONNX Runtime. */
async function again(
  bench: Bench,
  runs: readonly CaseRun[],
  where: string,
  notVerified: string[],
): Promise<CaseRun[]> {
  try {
    return await bench.original((session) => rerunOriginal(runs, session, where, notVerified));
  } catch (error) {
    if (!isRefused(error)) throw error;
    notVerified.push(`everything${where}: the original itself does not run: ${error.message}`);
    return [];
  }
}

/** What the checks say that are made on every provider. */
export const STATES = {
  layers: 'every rewritten layer equals differential attention in float64',
  function: 'the outputs are those of the original',
  overflow: 'large numbers overflow nowhere, as in the original',
  mix: 'with the warm-up input at 0, the outputs are those of the original',
} as const;

/** Both models, output by output: where the options keep the function, and with the warm-up input at 0. */
async function compareWithOriginal(
  home: readonly HomeRuns[],
  keepsFunction: boolean,
  notVerified: string[],
): Promise<Check[]> {
  const checks: Check[] = [];
  const [any] = home;
  if (keepsFunction && any) {
    const check = new CheckBuilder('function', STATES.function);
    notVerified.push(
      ...[...outputsOfMaps(any.bench.map.maps)].map(
        (name) => `output '${name}': shows attention maps, which are differential now`,
      ),
    );
    for (const { bench, original, rewritten } of home)
      await checkFunction(bench, original, rewritten.given, check, notVerified);
    checks.push(check.done());
  }
  if (home.some(({ loud }) => loud.length > 0)) {
    const check = new CheckBuilder('overflow', STATES.overflow);
    for (const { loud, rewritten } of home) checkOverflow(loud, rewritten.loud, check);
    checks.push(check.done());
  }
  if (any && canBeUnmixed(any.bench)) {
    const check = new CheckBuilder('mix', STATES.mix);
    for (const { bench, original, rewritten } of home)
      await compareOutputs(bench, original, rewritten.unmixed, check, notVerified);
    checks.push(check.done());
  }
  return checks;
}

/** Whether the warm-up input at 0 leaves the original. */
export function canBeUnmixed({ pair: { record } }: Bench): boolean {
  const { mixInput, heads, sublayerNorm } = record.options;
  return mixInput && heads === 'duplicate' && !sublayerNorm;
}
