/** The checks that depend on the execution provider, on one that is not the CPU. */
import type { Bench, Tensors } from './bench';
import { type CaseRun, inputOf } from './case-runs';
import { compareOutputs } from './check-function';
import { checkLayers } from './check-layers';
import { checkOverflow } from './check-overflow';
import { checkPlacement } from './check-placement';
import { compareTensors } from './compare';
import { locateElsewhere } from './locate-elsewhere';
import { type ChangedOutputs, changesBetween, OptimizationChanges } from './optimized-outputs';
import { type Placement, placementOf } from './placement';
import type { ProviderSpec } from './providers';
import { type Check, CheckBuilder, type PlacementAtLevel } from './report';
import type { Requirement } from './requirement';
import { runRewritten } from './rewritten-runs';
import { StepChanges } from './steps';
import type { Tolerance } from './tolerance';
import { canBeUnmixed, type HomeRuns, STATES } from './verify-home';

export interface Elsewhere {
  readonly checks: readonly Check[];
  readonly placements: readonly PlacementAtLevel[];
}

/**
 * Runs the rewritten model on a provider and compares what it gives with what it gives on the CPU, always; with what the
 * original gives on the CPU, where the options keep the function or the warm-up input is at 0; and layer by layer with
 * the float64 reference, always. At each level of optimization the other side ran at the same one.
 * @param home what both models give on the CPU
 * @param notVerified gets a line for each thing that is not looked at
 */
export async function verifyElsewhere(
  spec: ProviderSpec,
  home: readonly HomeRuns[],
  keepsFunction: boolean,
  requirement: Requirement,
  notVerified: string[],
): Promise<Elsewhere> {
  const on = (states: string) => `${spec.text}: ${states}`;
  const placed = new CheckBuilder('placement', on(PLACED[requirement]), spec.text);
  const same = new CheckBuilder('providers', on('the outputs are those of the CPU'), spec.text);
  const layers = new CheckBuilder('layers', on(STATES.layers), spec.text);
  const kept = new CheckBuilder('function', on(STATES.function), spec.text);
  const loud = new CheckBuilder('overflow', on(STATES.overflow), spec.text);
  const unmixed = new CheckBuilder('mix', on(STATES.mix), spec.text);
  const placements: PlacementAtLevel[] = [];
  for (const at of home) {
    const bench = at.bench.at({ provider: spec });
    const between = toleranceBetween(at.bench, bench);
    let known: Promise<string | undefined> | undefined;
    const blameOriginal = async (check: CheckBuilder) => {
      known ??= differenceOfOriginal(bench, at.original, between, atHome(home, at, originalGives));
      const difference = await known;
      if (difference !== undefined)
        check.findInOriginal(
          `the original itself is not the same there, so this is no fault of the rewrite: ${difference}`,
        );
    };
    const rewritten = await runRewritten(bench, at.original, at.loud, same);
    if (!rewritten) {
      await blameOriginal(same);
      continue;
    }
    const placement = checkPlacement(spec, rewritten.nodes, requirement, at.where, placed);
    placements.push({ ...placement, optimization: bench.place.optimization });
    await blameKernels(bench, at.original, placement, placed);
    const { given } = rewritten;
    const expected = at.rewritten.given;
    const changes = changesAt(bench, at.original, atHome(home, at, rewrittenGives));
    const wrong = await compareRuns(at.original, expected, given, between, same, changes);
    notVerified.push(...changes.notes);
    if (wrong) {
      await bench.noteRefusals(same, () => locateElsewhere(at.bench, bench, wrong, same));
      await blameOriginal(same);
    }
    const before = layers.findings.length;
    await checkLayers(bench, at.original, given, layers, notVerified);
    if (layers.findings.length > before) await blameOriginal(layers);
    if (keepsFunction) await compareOutputs(bench, at.original, given, kept, notVerified, at.bench);
    checkOverflow(at.loud, rewritten.loud, loud);
    if (canBeUnmixed(bench))
      await compareOutputs(bench, at.original, rewritten.unmixed, unmixed, notVerified, at.bench);
  }
  const ran = placements.length > 0;
  const checks = [
    ...(ran ? [placed] : []),
    same,
    ...(ran ? [layers] : []),
    ...(ran && keepsFunction ? [kept] : []),
    ...(ran && home.some((at) => at.loud.length > 0) ? [loud] : []),
    ...(ran && home.some(({ bench }) => canBeUnmixed(bench)) ? [unmixed] : []),
  ];
  return { checks: checks.map((check) => check.done()), placements };
}

const PLACED: Readonly<Record<Requirement, string>> = {
  compute: 'it ran every node but shape arithmetic, as the profile says',
  all: 'it ran every node, as the profile says',
};

/** What a model gives in two places is rounded in both: each may be off by what is allowed there, unless the user says. */
export function toleranceBetween(home: Bench, away: Bench): Bench['toleranceOf'] {
  return (dtype) => {
    const [here, there] = [home.toleranceOf(dtype), away.toleranceOf(dtype)];
    return away.settings.tolerance ?? { atol: here.atol + there.atol, rtol: here.rtol + there.rtol };
  };
}

const originalGives = ({ original }: HomeRuns): readonly CaseRun[] => original;

function rewrittenGives({ original, rewritten: { given } }: HomeRuns): CaseRun[] {
  return original.map((run, index) => ({ ...run, outputs: { ...given[index] } }));
}

/** What optimizations change on the CPU in what a model gives there. */
function atHome(
  home: readonly HomeRuns[],
  at: HomeRuns,
  given: (runs: HomeRuns) => readonly CaseRun[],
): ChangedOutputs {
  const plain = home.find(({ bench }) => bench.place.optimization === 'disabled');
  return plain ? changesBetween(at.bench, given(plain), given(at)) : new Map();
}

/**
 * For a model on a provider beside the same model on the CPU. What that gives without optimizations is right, and with them
 * it may be far from there; what they do on the provider is what is looked for.
 */
function changesAt(bench: Bench, runs: readonly CaseRun[], changed: ChangedOutputs): OptimizationChanges {
  return new OptimizationChanges(bench, new StepChanges(bench, runs), async () => [changed]);
}

/** Compares what the same model gives in two places; gives the first case in which that differs. */
async function compareRuns(
  runs: readonly CaseRun[],
  expected: readonly Tensors[],
  actual: readonly Tensors[],
  between: Bench['toleranceOf'],
  check: CheckBuilder,
  changes: OptimizationChanges,
): Promise<CaseRun | undefined> {
  let wrong: CaseRun | undefined;
  for (const [index, run] of runs.entries()) {
    check.ranOn(inputOf(run));
    for (const [name, tensor] of Object.entries(expected[index] ?? {})) {
      const compared = (tolerance: Tolerance) => compareTensors(tensor, actual[index]?.[name], tolerance);
      const comparison = await changes.allowing(name, between(tensor.dtype), compared);
      if (!comparison.passed) wrong ??= run;
      check.compare(`output '${name}'`, comparison, run.where);
    }
  }
  return wrong;
}

/** Whether the same operators of the original fall back as well: then the provider has no kernels for them. */
async function blameKernels(
  bench: Bench,
  runs: readonly CaseRun[],
  { fellBack }: Placement,
  check: CheckBuilder,
): Promise<void> {
  const operators = new Set(fellBack.flatMap(({ opType, computes }) => (computes ? [opType] : [])));
  const [run] = runs;
  if (operators.size === 0 || !run) return;
  const { provider } = bench.place;
  const nodes = await bench.original(async (session) => {
    await session.run(run.feeds);
    return session.endProfiling();
  }, true);
  const before = placementOf(provider, nodes).fellBack;
  const also = [...operators].filter((opType) =>
    before.some((node) => node.computes && node.opType === opType),
  );
  if (also.length === 0) return;
  const message = `${provider.text} has no kernel for ${also.join(', ')}: it is the same in the original`;
  if (also.length === operators.size) check.findInOriginal(message);
  else check.findOnce(message);
}

/** How the original does no better on the provider, if that is so: then the rewrite is not at fault. */
async function differenceOfOriginal(
  bench: Bench,
  runs: readonly CaseRun[],
  between: Bench['toleranceOf'],
  changed: ChangedOutputs,
): Promise<string | undefined> {
  const itself = new CheckBuilder('providers', '');
  await bench.noteRefusals(itself, () =>
    bench.original(async (session) => {
      const given: Tensors[] = [];
      for (const run of runs) given.push(await session.run(run.feeds));
      const expected = runs.map(({ outputs }) => outputs);
      await compareRuns(runs, expected, given, between, itself, changesAt(bench, runs, changed));
    }),
  );
  return itself.findings[0]?.message;
}
