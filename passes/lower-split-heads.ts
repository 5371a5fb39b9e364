import { Dim, type Shapes } from '../src/analyse';
import type { LocatedSite } from '../src/attention/find';
import { presetOf } from '../src/attention/presets';
import type { OperatorCore, WrittenOutCore } from '../src/attention/site';
import { fail } from '../src/match/outcome';
import { knownView } from '../src/match/side';
import { arrangeMap, arrangeOutput, arrangeProbabilities, arrangeValues } from '../src/rewrite/arrange';
import { Builder } from '../src/rewrite/builder';
import {
  componentHeads,
  headAxisOf,
  joinHeads,
  pairOutputs,
  pairValues,
  separateHeads,
  separateValues,
  unpair,
} from '../src/rewrite/heads';
import type { Lowering } from '../src/rewrite/lowering';
import { mirrorHalves } from '../src/rewrite/mirror-halves';
import { callAgain, exchangedInputs, headAxis, merged, separated } from '../src/rewrite/operator-calls';
import type { RewriteSession } from '../src/rewrite/session';

/**
 * Split heads, scores written out: the model's probabilities are computed as they were, then one of each pair of heads
 * is taken as positive, the other as negative.
 */
export const lowerSplitWrittenOut: Lowering = {
  name: 'split-heads-written-out',
  accepts: ({ core }, { options }) => options.heads === 'split' && core.kind === 'written-out',
  lower(site, session) {
    if (site.core.kind === 'written-out') lowerWrittenOut(site, site.core, session);
  },
};

/**
 * Split heads behind a fused operator: a second call with the value heads of each pair exchanged gives both components
 * of the probabilities times both of the values.
 */
export const lowerSplitOperator: Lowering = {
  name: 'split-heads-operator',
  accepts: ({ core }, { options }) => options.heads === 'split' && core.kind === 'operator',
  lower(site, session) {
    if (site.core.kind === 'operator') lowerOperator(site, site.core, session);
  },
};

function lowerWrittenOut(site: LocatedSite, core: WrittenOutCore, session: RewriteSession): void {
  if (core.joined) {
    const found = `'${core.output.name}', in which several are put together`;
    fail('several-value-products', core.product, 'one product with values, whose heads are paired', found);
  }
  const uses = [...core.output.uses];
  const builder = new Builder(site.scope, core.product, site.path);
  if (session.options.init === 'mirror') mirrorHalves(site, session.model, presetOf(session.options).pairing);
  const { shapes } = session.found.analysis;
  const layout = headAxisOf(knownView(core.probabilitiesView), site);
  const ordered = arrangeProbabilities(builder, core, core.probabilities);
  const probabilities = separateHeads(builder, ordered, layout, site.heads);
  const values = separateValues(builder, arrangeValues(builder, core), ordered, layout, site.heads);
  const { pairing } = presetOf(session.options);
  const [positive, negative] = componentHeads(builder, probabilities, layout.axis, site.heads, pairing);
  const paired = pairValues(builder, values, arrangedShape(core, shapes), layout, site, pairing);
  const start = { A1: positive, A2: negative, V: paired };
  const [attended, map] = session.differentialAttention(site, 'probabilities', start, builder);
  if (!attended) throw new Error(`${site.path}: no result`);
  const heads = unpair(builder, attended, layout.axis, layout.rank, site.heads, site.valueWidth);
  const result = arrangeOutput(builder, core, joinHeads(builder, heads, ordered, layout, site.valueWidth));
  session.finish(site, 'probabilities', start, {
    result,
    attended,
    uses,
    map: arrangeMap(builder, core, map),
  });
}

/** Shape of the values as [.., T, E]. */
function arrangedShape({ values, arrangement }: WrittenOutCore, shapes: Shapes): readonly Dim[] | undefined {
  const shape = shapes.shape(values);
  if (!arrangement || !shape) return shape;
  const moved = arrangement.values.map((axis) => shape[axis] ?? Dim.unknown());
  for (const axis of arrangement.valuesUnsqueeze) moved.splice(axis, 0, Dim.of(1));
  return moved;
}

function lowerOperator(site: LocatedSite, core: OperatorCore, session: RewriteSession): void {
  const { node } = core;
  const uses = [...core.output.uses];
  const builder = new Builder(site.scope, site.scope.nodes[site.scope.indexOf(node) + 1], site.path);
  if (session.options.init === 'mirror') mirrorHalves(site, session.model, presetOf(session.options).pairing);
  const [second] = callAgain(builder, node, exchangedInputs(site, core, session, builder), '/exchanged');
  if (!second) throw new Error(`${node.label}: no output`);
  const calls = {
    straight: separated(builder, site, core, core.output),
    exchanged: separated(builder, site, core, second),
  };
  const components = pairOutputs(builder, calls, headAxis(core), site, presetOf(session.options).pairing);
  const start = { Y1: components.positive, Y2: components.negative };
  const [attended] = session.differentialAttention(site, 'outputs', start, builder);
  if (!attended) throw new Error(`${site.path}: no result`);
  const result = core.merged
    ? merged(builder, site, attended)
    : unpair(builder, attended, 1, 4, site.heads, site.valueWidth);
  session.finish(site, 'outputs', start, { result, attended, uses });
}
