/**
 * What diffx makes of real exports, one line each, and the totals: `npm run coverage:models`, or
 *
 *     npm run coverage:models -- FOLDER…             of the .onnx files in these folders instead of the fixtures
 *     npm run coverage:models -- --only 'llama|t5'   of those whose names fit
 *     npm run coverage:models -- --json > all.json   as data
 *     npm run coverage:models -- --faults            only lines of exports that are not as they should be
 *     npm run coverage:models -- --jobs 1            threads (2)
 *
 * Each is rewritten with zero init and without norm, with preserve, and with split heads. The first two must keep the
 * outputs, the third is proven layer by layer in float64; where PyTorch's results are there, all of them must equal those.
 * Exit 1 where an export is neither rewritten and right nor refused for a reason that fixtures/refusals.json knows. A folder
 * may have a `refusals.json` of its own.
 */
import { parseArgs } from 'node:util';
import { faultsOf, readRefusals } from './expected';
import { measureAll } from './pool';
import { printed, totalsOf } from './print';
import { Progress } from './progress';
import { sourcesIn } from './sources';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    faults: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '2' },
  },
});

async function main(): Promise<void> {
  const sources = sourcesIn(positionals, values.only === undefined ? undefined : new RegExp(values.only));
  if (sources.length === 0) throw new Error('no exports to measure');
  const refusals = readRefusals(positionals);
  const progress = new Progress(sources.length);
  const results = await measureAll(sources, Number(values.jobs), ({ name }) => progress.step(name));
  progress.end();
  const judged = results.map((result) => ({ ...result, faults: faultsOf(result, refusals) }));
  const totals = totalsOf(judged);
  if (values.json) console.log(JSON.stringify({ totals, exports: judged }, undefined, 2));
  else console.log(printed(judged, totals, values.faults).join('\n'));
  process.exitCode = totals.faulty === 0 ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
});
