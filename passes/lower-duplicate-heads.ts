import type { LocatedSite } from '../src/attention/find';
import { isDoubled } from '../src/attention/presets';
import type { OperatorCore, PlainScores, WrittenOutCore } from '../src/attention/site';
import type { Value } from '../src/ir';
import { arrangeMap, arrangeOutput, arrangeProbabilities, arrangeValues } from '../src/rewrite/arrange';
import { Builder } from '../src/rewrite/builder';
import { cloneSlice, projectNegative, type Substitution } from '../src/rewrite/clone';
import {
  doubleOperatorPresent,
  doublePresents,
  splitOperatorPast,
  splitPasts,
} from '../src/rewrite/key-cache';
import type { Lowering } from '../src/rewrite/lowering';
import { callAgain, merged, negativeInputs, separated } from '../src/rewrite/operator-calls';
import type { RewriteSession } from '../src/rewrite/session';

/** Duplicate heads, scores written out: the slice from the projections on is copied with the second projections. */
export const lowerDuplicateWrittenOut: Lowering = {
  name: 'duplicate-heads-written-out',
  accepts: ({ core }, { options }) => options.heads === 'duplicate' && core.kind === 'written-out',
  lower(site, session) {
    const { core } = site;
    if (core.kind !== 'written-out') return;
    if (core.joined) lowerJoined(site, core, core.joined.operands, session);
    else lowerWrittenOut(site, core, session);
  },
};

/** Duplicate heads behind a fused operator: the operator is called a second time. */
export const lowerDuplicateOperator: Lowering = {
  name: 'duplicate-heads-operator',
  accepts: ({ core }, { options }) => options.heads === 'duplicate' && core.kind === 'operator',
  lower(site, session) {
    if (site.core.kind === 'operator') lowerOperator(site, site.core, session);
  },
};

function lowerWrittenOut(site: LocatedSite, core: WrittenOutCore, session: RewriteSession): void {
  const uses = [...core.output.uses];
  const builder = new Builder(site.scope, core.product, site.path);
  const substitution = projectNegative(site, session, builder);
  const keyed = isDoubled(session.options, 'key');
  const pasts = keyed ? splitPasts(site, session, substitution) : [];
  const form = session.formOf(site);
  const start: Record<string, Value> =
    core.plain && form === 'scores'
      ? scoresStart(core, core.plain, substitution, builder, keyed)
      : {
          A1: arrangeProbabilities(builder, core, core.probabilities),
          A2: arrangeProbabilities(builder, core, cloneSlice(core.probabilities, substitution, builder)),
          V: arrangeValues(builder, core),
        };
  session.addLambda(site, form, start, builder);
  const [attended, map] = session.differentialAttention(site, form, start, builder);
  if (!attended) throw new Error(`${site.path}: no result`);
  const result = arrangeOutput(builder, core, attended);
  const presents = keyed ? doublePresents(site, session, substitution, builder) : [];
  const caches = [...pasts, ...presents];
  session.finish(site, form, start, { result, attended, uses, map: arrangeMap(builder, core, map), caches });
}

/** Where the map weighs several things, their sum is what both components are taken from: it is linear in the maps. */
function lowerJoined(
  site: LocatedSite,
  core: WrittenOutCore,
  operands: readonly Value[],
  session: RewriteSession,
): void {
  const uses = [...core.output.uses];
  const end = core.output.producer;
  const builder = new Builder(site.scope, end && site.scope.nodes[site.scope.indexOf(end) + 1], site.path);
  const substitution = projectNegative(site, session, builder);
  const keyed = isDoubled(session.options, 'key');
  const pasts = keyed ? splitPasts(site, session, substitution) : [];
  const probabilities = cloneSlice(core.probabilities, substitution, builder);
  const kept = operands.map((operand): [Value, Value] => [operand, operand]);
  const weighed = new Map([...kept, [core.probabilities, probabilities]]);
  const start: Record<string, Value> = { Y1: core.output, Y2: cloneSlice(core.output, weighed, builder) };
  session.addLambda(site, 'outputs', start, builder);
  const [attended] = session.differentialAttention(site, 'outputs', start, builder);
  if (!attended) throw new Error(`${site.path}: no result`);
  const presents = keyed ? doublePresents(site, session, substitution, builder) : [];
  const caches = [...pasts, ...presents];
  session.finish(site, 'outputs', start, { result: attended, attended, uses, caches });
}

/**
 * Q1, K1, Q2, K2 and V with the scale and bias of the model.
 * @param keyed true where the negative component has keys of its own
 */
function scoresStart(
  core: WrittenOutCore,
  plain: PlainScores,
  substitution: Map<Value, Value>,
  builder: Builder,
  keyed: boolean,
): Record<string, Value> {
  const query = core.scores.inputs[core.queryIndex];
  const transposedKey = core.scores.inputs[core.keyIndex];
  if (!query || !transposedKey) throw new Error('a product without operands');
  const key = untransposed(transposedKey);
  const keys = (value: Value) => (key ? value : builder.transpose(value, [0, 1, 3, 2]));
  const keyOperand = key ?? transposedKey;
  const K1 = keys(keyOperand);
  const start: Record<string, Value> = {
    Q1: query,
    K1,
    Q2: cloneSlice(query, substitution, builder),
    K2: keyed ? keys(cloneSlice(keyOperand, substitution, builder)) : K1,
    V: core.values,
  };
  if (plain.scale) start[plain.scale.operator === 'Mul' ? 'scale' : 'divisor'] = plain.scale.value;
  if (plain.bias) start['bias'] = plain.bias;
  return start;
}

/** The keys [B, h, T, d] behind a transposition of the last two axes. */
function untransposed(value: Value): Value | undefined {
  const node = value.producer;
  const perm = node?.is('Transpose') ? node.ints('perm') : undefined;
  return perm?.join() === '0,1,3,2' ? node?.inputs[0] : undefined;
}

function lowerOperator(site: LocatedSite, core: OperatorCore, session: RewriteSession): void {
  const { node } = core;
  const uses = [...core.output.uses];
  const after = site.scope.nodes[site.scope.indexOf(node) + 1];
  const builder = new Builder(site.scope, after, site.path);
  const inside = core.weightIndex !== undefined;
  const substitution: Substitution = inside ? new Map() : projectNegative(site, session, builder);
  const keyed = isDoubled(session.options, 'key');
  const pasts = keyed && !inside ? splitPasts(site, session, substitution) : [];
  const inputs = negativeInputs(site, core, session, substitution, builder);
  const own = core.cache && keyed ? splitOperatorPast(site, core.cache, session, inputs) : [];
  const outputs = callAgain(builder, node, inputs, '/negative');
  const [negative] = outputs;
  if (!negative) throw new Error(`${node.label}: no output`);
  const start: Record<string, Value> = {
    Y1: separated(builder, site, core, core.output),
    Y2: separated(builder, site, core, negative),
  };
  session.addLambda(site, 'outputs', start, builder);
  const [attended] = session.differentialAttention(site, 'outputs', start, builder);
  if (!attended) throw new Error(`${site.path}: no result`);
  const result = core.merged ? merged(builder, site, attended) : attended;
  const presents = inside || !keyed ? [] : doublePresents(site, session, substitution, builder);
  const shown = core.cache && keyed ? doubleOperatorPresent(site, core.cache, session, outputs, builder) : [];
  session.finish(site, 'outputs', start, {
    result,
    attended,
    uses,
    caches: [...pasts, ...own, ...presents, ...shown],
  });
}
