import * as path from 'node:path';
import { Dataflow, Shapes } from '../analyse';
import { type ModelFile, memoryBytes, writeFiles } from '../onnx';
import { describeDifferential, describeLayer } from '../report/differential';
import type { ErrorDocument } from '../report/documents';
import type { Phase, ReportContent, ReportFile } from '../report/html/content';
import { drawnLayer, drawnSite } from '../report/html/drawn';
import { htmlReport } from '../report/html/page';
import { pictures, type Sides } from '../report/html/pictures';
import { attentionSubgraph, GraphFacts, type Subgraph } from '../report/html/subgraph';
import type { RewriteReport } from '../report/rewrite';
import { machine } from '../verify/machine';
import type { VerifyReport } from '../verify/report';
import type { Examination } from './inspect';
import type { RewrittenParts } from './rewritten-parts';
import { version } from './version';

/** What a command has to show. What it does not know is left out. */
export interface ReportParts {
  readonly command: ReportContent['command'];
  /** The model that the report is about. */
  readonly subject: string;
  /** The model before the rewrite, or the one that was inspected. */
  readonly original?: Examination | undefined;
  readonly rewritten?: RewrittenParts | undefined;
  readonly rewrite?: RewriteReport | undefined;
  readonly verification?: VerifyReport | undefined;
  readonly phases: readonly Phase[];
  readonly warnings?: readonly string[] | undefined;
  readonly error?: ErrorDocument | undefined;
}

/**
 * Writes a report as one HTML file that needs nothing else.
 * @throws DiffxError exists unless `force`, unwritable
 */
export async function writeHtmlReport(
  parts: ReportParts,
  target: string,
  { force, makeFolder = false }: { readonly force: boolean; readonly makeFolder?: boolean },
): Promise<void> {
  const text = await htmlReport(contentOf(parts));
  writeFiles([{ path: target, bytes: memoryBytes(Buffer.from(text)), makeFolder }], force);
}

function contentOf(parts: ReportParts): ReportContent {
  const {
    command,
    subject,
    original,
    rewritten,
    rewrite,
    verification,
    phases,
    warnings = [],
    error,
  } = parts;
  const { onnxRuntime, node, platform, cores } = machine();
  // Of a rewritten model that is inspected there is no other one.
  const after = rewritten ?? original;
  return {
    command,
    title: path.basename(subject),
    made: {
      at: new Date().toISOString(),
      diffx: version,
      onnxRuntime: verification ? onnxRuntime : undefined,
      ...{ node, platform, cores },
    },
    files: [
      ...(original ? filesOf(original.model.file, command === 'inspect' ? 'model' : 'original') : []),
      ...(rewritten?.written ? filesOf(rewritten.model.file, 'rewritten') : []),
    ],
    inspection: original?.inspection,
    rewrite,
    differential: after?.record && describeDifferential(after.model, after.record),
    verification,
    pictures: pictures(sidesOf(original, after)),
    phases,
    warnings,
    error,
  };
}

function filesOf(file: ModelFile, role: ReportFile['role']): ReportFile[] {
  const folder = path.dirname(file.path);
  return [
    { role, path: file.path, bytes: file.size, sha256: file.sha256() },
    ...file.externalSha256().map(({ location, sha256 }): ReportFile => {
      const bytes = file.sideFile(location).length;
      return { role: 'side file', path: path.join(folder, location), bytes, sha256 };
    }),
  ];
}

/** Each attention before and after, in the order of the model before. */
function sidesOf(
  original: Examination | undefined,
  rewritten: Pick<RewrittenParts, 'model' | 'record'> | undefined,
): ReadonlyMap<string, Sides> {
  const before = original ? beforeOf(original) : new Map<string, Subgraph>();
  const after = rewritten ? afterOf(rewritten) : new Map<string, Subgraph>();
  const paths = new Set([...before.keys(), ...after.keys()]);
  return new Map([...paths].map((each) => [each, { before: before.get(each), after: after.get(each) }]));
}

function beforeOf({ found, inspection }: Examination): Map<string, Subgraph> {
  const { dataflow, shapes } = found.analysis;
  const facts = new GraphFacts(dataflow, shapes);
  // What diffx has rewritten is an attention of the model no more.
  const shown = new Set(inspection.attentions.map(({ path: each }) => each));
  return drawings(
    found.sites.filter((site) => shown.has(site.path)),
    (site) => attentionSubgraph(drawnSite(site), facts),
  );
}

function afterOf({ model, record }: Pick<RewrittenParts, 'model' | 'record'>): Map<string, Subgraph> {
  if (!record) return new Map();
  const facts = new GraphFacts(new Dataflow(model), new Shapes(model));
  return drawings(record.layers, (layer) => {
    const drawn = drawnLayer(model, layer, describeLayer(model, layer).lambda);
    return drawn && attentionSubgraph(drawn, facts);
  });
}

/** One drawing for each path: an attention that runs in several places is drawn as it runs in the first. */
function drawings<T extends { readonly path: string }>(
  attentions: readonly T[],
  drawOne: (attention: T) => Subgraph | undefined,
): Map<string, Subgraph> {
  const drawn = new Map<string, Subgraph>();
  for (const attention of attentions) {
    const subgraph = drawn.has(attention.path) ? undefined : drawOne(attention);
    if (subgraph) drawn.set(attention.path, subgraph);
  }
  return drawn;
}
