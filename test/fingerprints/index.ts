/**
 * What a rewrite gives, as SHA-256 of its bytes: every bundled export in twelve sets of options, each with local functions
 * and inline. A change that moves code and nothing else leaves them as they are.
 *
 *     npm run fingerprints -- --write before.json      writes them
 *     npm run fingerprints -- --compare before.json    names those that are not as they were; exit 1 where there are any
 *     npm run fingerprints -- --only 'llama|t5' …      of some of the exports
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { parseArgs } from 'node:util';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { DiffxError } from '../../src/errors';
import { Progress } from '../coverage/progress';
import { open, type Source, sourcesIn } from '../coverage/sources';

/** Option sets by name; between them, they reach every preset, form, init and addition. */
const OPTIONS: Readonly<Record<string, RewriteFileSettings>> = {
  default: {},
  seed: { seed: 7, sublayerNorm: false },
  zero: { init: 'zero', sublayerNorm: false },
  mirror: { init: 'mirror', normEps: 1e-6 },
  preserve: { init: 'preserve' },
  split: { splitHeads: true },
  'split-mirror': { splitHeads: true, init: 'mirror', sublayerNorm: false, mixInput: true },
  paper: { preset: 'paper' },
  diffllama: { preset: 'diffllama', mixInput: true },
  v2: { preset: 'v2', monitorLayers: 2 },
  'v2-preserve': { preset: 'v2', init: 'preserve', mixInput: true },
  'first-layer': { layers: '0', mixInput: true, monitorLayers: 1, allowPartial: true },
};

const EMITS = ['function', 'inline'] as const;

/** By option set and way of emitting: the SHA-256 of the rewritten bytes, or the code of the error. */
type Fingerprints = Readonly<Record<string, string>>;

function fingerprintsOf(source: Source): Fingerprints {
  const { model } = open(source);
  const entries = Object.entries(OPTIONS).flatMap(([name, settings]) =>
    EMITS.map((emit) => [`${name}/${emit}`, fingerprint(model, { ...settings, emit })] as const),
  );
  return Object.fromEntries(entries);
}

function fingerprint(model: string, settings: RewriteFileSettings): string {
  try {
    const hash = createHash('sha256');
    for (const chunk of rewrittenBytes(rewriteModel(model, settings)).chunks()) hash.update(chunk);
    return hash.digest('hex');
  } catch (error) {
    if (error instanceof DiffxError) return error.code;
    throw error;
  }
}

/** One line for each difference. */
function differences(
  before: Readonly<Record<string, Fingerprints>>,
  after: Readonly<Record<string, Fingerprints>>,
): string[] {
  return Object.entries(after).flatMap(([name, prints]) => {
    const changed = Object.keys(prints).filter((key) => prints[key] !== before[name]?.[key]);
    return changed.length === 0 ? [] : [`${name}: ${changed.join(', ')}`];
  });
}

const { values } = parseArgs({
  options: { write: { type: 'string' }, compare: { type: 'string' }, only: { type: 'string' } },
});
const sources = sourcesIn([], values.only === undefined ? undefined : new RegExp(values.only));
const progress = new Progress(sources.length);
const prints: Record<string, Fingerprints> = {};
for (const source of sources) {
  prints[source.name] = fingerprintsOf(source);
  progress.step(source.name);
}
progress.end();
if (values.write !== undefined) fs.writeFileSync(values.write, `${JSON.stringify(prints, undefined, 1)}\n`);
if (values.compare !== undefined) {
  const changed = differences(JSON.parse(fs.readFileSync(values.compare, 'utf8')), prints);
  console.log([...changed, `${sources.length} exports, ${changed.length} with differences`].join('\n'));
  process.exitCode = changed.length === 0 ? 0 : 1;
}
