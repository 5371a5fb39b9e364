import { passes } from '../../passes';
import type { Candidate } from '../analyse';
import type { Found, LocatedSite, Miss } from '../attention/find';
import { pathKind, pathNumbers } from '../attention/path';
import { type RewriteRecord, readRecord } from '../attention/record';
import { DiffxError } from '../errors';
import { load, type Model } from '../ir';
import { DataType, readModel } from '../onnx';
import { describeBinding } from '../report/binding';
import { describeDifferential, withoutRewritten } from '../report/differential';
import type { FileFacts, InspectedAttention, Inspection, NotUnderstood } from '../report/inspection';
import { refuseDifferential } from '../rewrite/already-differential';
import { findPrepared } from '../rewrite/prepare';

/** A model that has been looked at, and what was seen. */
export interface Examination {
  readonly model: Model;
  readonly found: Found;
  /** What diffx has noted in a model that it rewrote. */
  readonly record: RewriteRecord | undefined;
  readonly inspection: Inspection;
}

/**
 * Looks at a model: its attentions and how diffx sees them, what it does not understand, and, where diffx has
 * rewritten it, how and with which lambda. The result is plain data.
 * @throws DiffxError as for every model that cannot be read, see src/errors.ts
 */
export function inspectModel(path: string): Inspection {
  return examine(path).inspection;
}

/** As `inspectModel`, with the graph that was looked at. */
export function examine(path: string): Examination {
  const model = load(readModel(path));
  const record = readRecord(model);
  const file = fileFacts(model);
  const found = findPrepared(model, passes);
  const { candidates } = found.analysis;
  const rest = new Set(record ? withoutRewritten(model, record, candidates) : candidates);
  const anchors = new Set([...rest].map(({ anchor }) => anchor));
  const sites = found.sites.filter(({ anchor }) => anchors.has(anchor));
  const depthOf = record ? depthsBesides(record, sites) : (site: LocatedSite) => site.depth;
  const itself = record ? undefined : differentialByItself(model);
  const inspection: Inspection = {
    file,
    attentions: sites.map((site, index) => describeSite(site, index, depthOf(site))),
    notUnderstood: found.misses.filter(({ candidate }) => rest.has(candidate)).map(describeMiss),
    otherSoftmaxes: otherSoftmaxes(model, candidates),
    differential: record
      ? describeDifferential(model, record)
      : itself === undefined
        ? null
        : { by: 'model', how: itself },
  };
  return { model, found, record, inspection };
}

function otherSoftmaxes(model: Model, candidates: readonly Candidate[]): string[] {
  const anchors = new Set(candidates.map(({ anchor }) => anchor));
  return [...model.scopes()].flatMap(({ nodes }) =>
    nodes.filter((node) => node.is('Softmax') && !anchors.has(node)).map(({ label }) => label),
  );
}

/** Why a model that diffx has no record of is differential all the same. */
function differentialByItself(model: Model): string | undefined {
  try {
    refuseDifferential(model);
    return undefined;
  } catch (error) {
    if (!(error instanceof DiffxError) || error.code !== 'already-differential') throw error;
    return /\((.*)\)$/.exec(error.message)?.[1] ?? error.message;
  }
}

/** Depths as they were before the rewrite: the rewritten layers count as well. */
function depthsBesides(record: RewriteRecord, sites: readonly LocatedSite[]): (site: LocatedSite) => number {
  const paths = [...new Set([...record.layers, ...sites].map(({ path }) => path))];
  const before = (a: readonly number[], b: readonly number[]) => {
    const at = a.findIndex((number, index) => number !== b[index]);
    return at >= 0 && (a[at] ?? -1) < (b[at] ?? -1);
  };
  return ({ path }) =>
    paths.filter((each) => pathKind(each) === pathKind(path) && before(pathNumbers(each), pathNumbers(path)))
      .length;
}

function describeSite(site: LocatedSite, index: number, depth: number): InspectedAttention {
  return {
    index,
    path: site.path,
    depth,
    heads: site.heads,
    kvHeads: site.kvHeads,
    headWidth: site.headWidth,
    valueWidth: site.valueWidth,
    ...site.traits,
    recogniser: site.recogniser,
    node: site.anchor.label,
    graph: site.anchor.graph.label,
    shared: site.shared,
    binding: describeBinding(site),
  };
}

/** A candidate that was not understood, by the names of the user's model. */
export function describeMiss({ candidate, recogniser, reason }: Miss): NotUnderstood {
  const { anchor } = candidate;
  return {
    anchor: anchor.label,
    operator: anchor.operator,
    graph: anchor.graph.label,
    recogniser: recogniser ?? null,
    code: reason.code,
    node: reason.node.label,
    wanted: reason.wanted,
    found: reason.found,
  };
}

function fileFacts(model: Model): FileFacts {
  const { file, proto } = model;
  return {
    path: file.path,
    size: file.size,
    sideFiles: file.externalFiles.map((location) => ({ location, size: file.sideFile(location).length })),
    irVersion: Number(proto.irVersion ?? 0n),
    opset: model.opset,
    opsets: Object.fromEntries([...model.opsets].map(([domain, version]) => [domain || 'ai.onnx', version])),
    producer: proto.producerName ?? '',
    producerVersion: proto.producerVersion ?? '',
    nodes: [...model.graph.scopes()].reduce((all, graph) => all + graph.nodes.length, 0),
    functions: model.functions.length,
    parameters: parameters(model),
  };
}

/** Types of tensors that are shapes, indices and flags, not weights. */
const NO_WEIGHTS: ReadonlySet<number> = new Set([
  DataType.INT32,
  DataType.INT64,
  DataType.BOOL,
  DataType.STRING,
]);

function parameters(model: Model): number {
  let all = 0;
  for (const graph of model.scopes()) {
    for (const { initializer } of graph.values.values()) {
      if (!initializer || NO_WEIGHTS.has(initializer.dataType ?? 0)) continue;
      all += initializer.dims.reduce((size, dim) => size * Number(dim), 1);
    }
  }
  return all;
}
