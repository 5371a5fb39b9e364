/**
 * What diffx makes of real exports, one line each, and the totals: `npm run coverage:models`, or
 *
 *     npm run coverage:models -- FOLDER…             of the .onnx files in these folders instead of the fixtures
 *     npm run coverage:models -- --only 'llama|t5'   of those whose names fit
 *     npm run coverage:models -- --json > all.json   as data
 *     npm run coverage:models -- --faults            only lines of exports that are not as they should be
 *     npm run coverage:models -- --jobs 1            threads (2; with --ep 1, since native providers crash on several)
 *     npm run coverage:models -- --changed           of fixtures whose rewriting is not as fixtures/coverage.json has it
 *     npm run coverage:models -- --update            writes fixtures/coverage.json, docs/coverage.md and README.md
 *     npm run coverage:models -- --ep webgpu         what `diffx verify` says on an execution provider, cpu or another
 *     … --ep webgpu --modes preserve,split           in some of the modes
 *
 * Each is rewritten with zero init and without norm, with preserve, and with split heads. The first two must keep the
 * outputs, the third is proven layer by layer in float64; where PyTorch's results are there, all of them must equal those.
 * Exit 1 where an export is neither rewritten and right nor refused for a reason that fixtures/refusals.json knows. A folder
 * may have a `refusals.json` of its own.
 *
 * With `--ep`, each is rewritten and proven there as `diffx rewrite --verify` does it, with all inputs that are made. A line
 * says whether that passed, or that the original itself fails there, or that it is a false alarm. Exit 1 where there are any.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { DOCUMENT, documentOf, README, readmeWith } from './document';
import { faultsOf, readRefusals } from './expected';
import { measureAll, proveAll } from './pool';
import { printed, totalsOf } from './print';
import { proofFaults, proofLines, proofTotals } from './print-proof';
import { Progress } from './progress';
import type { ProvenExport } from './proof';
import { isAsRecorded, readRecorded, writeRecorded } from './recorded';
import { type ExportResult, MODES } from './result';
import { type Source, sourcesIn } from './sources';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    faults: { type: 'boolean', default: false },
    changed: { type: 'boolean', default: false },
    update: { type: 'boolean', default: false },
    jobs: { type: 'string' },
    ep: { type: 'string' },
    modes: { type: 'string', default: MODES.join(',') },
  },
});

async function measured(sources: readonly Source[]): Promise<ExportResult[]> {
  const progress = new Progress(sources.length);
  const results = await measureAll(sources, Number(values.jobs ?? 2), ({ name }) => progress.step(name));
  progress.end();
  return results;
}

/** The fixtures that are not rewritten, or refused, as it is recorded. */
async function changed(sources: readonly Source[]): Promise<Source[]> {
  const known = new Map(readRecorded().map((result) => [result.name, result]));
  const results = await measured(sources.map((source) => ({ ...source, runs: false })));
  return sources.filter((_, at) => {
    const result = results[at];
    return !result || !isAsRecorded(result, known.get(result.name));
  });
}

async function main(): Promise<void> {
  const all = sourcesIn(positionals, values.only === undefined ? undefined : new RegExp(values.only));
  if (all.length === 0) throw new Error('no exports to measure');
  if (values.ep !== undefined) return proveThere(all, values.ep);
  const sources = values.changed ? await changed(all) : all;
  const refusals = readRefusals(positionals);
  const results = await measured(sources);
  const judged = results.map((result) => ({ ...result, faults: faultsOf(result, refusals) }));
  const totals = totalsOf(judged);
  if (values.update) update(judged);
  if (values.json) console.log(JSON.stringify({ totals, exports: judged }, undefined, 2));
  else console.log(printed(judged, totals, values.faults).join('\n'));
  process.exitCode = totals.faulty === 0 ? 0 : 1;
}

/** What `diffx verify` says on a provider. The lines come as soon as they are known: on some providers it takes hours. */
async function proveThere(sources: readonly Source[], ep: string): Promise<void> {
  const modes = MODES.filter((mode) => values.modes.split(',').includes(mode));
  if (modes.length === 0) throw new Error(`--modes: none of ${MODES.join(', ')}`);
  const refusals = readRefusals(positionals);
  const progress = new Progress(sources.length);
  const show = (result: ProvenExport) => {
    progress.step(result.name);
    const shown = !values.faults || proofFaults(result, refusals).length > 0;
    if (shown && !values.json) console.log(proofLines(result).join('\n'));
  };
  const results = await proveAll(sources, { ep, modes }, Number(values.jobs ?? 1), show);
  progress.end();
  const faults = results.flatMap((result) => proofFaults(result, refusals));
  if (values.json) console.log(JSON.stringify({ ep, faults, exports: results }, undefined, 2));
  else console.log(proofTotals(results, ep, refusals).join('\n'));
  process.exitCode = faults.length === 0 ? 0 : 1;
}

/** The results as they are committed, those that were not measured now as they were, and the document made of them. */
function update(results: readonly ExportResult[]): void {
  if (positionals.length > 0) throw new Error('--update is for fixtures, not for folders');
  writeRecorded(results);
  fs.mkdirSync(path.dirname(DOCUMENT), { recursive: true });
  const all = readRecorded();
  fs.writeFileSync(DOCUMENT, documentOf(all));
  fs.writeFileSync(README, readmeWith(fs.readFileSync(README, 'utf8'), all));
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
