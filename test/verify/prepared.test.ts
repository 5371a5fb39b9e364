/** The original whose functions stand in the place of their calls is run once more: a mistake there is found. */
import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import { inlineAttention } from '../../src/attention/functions';
import { readRecord } from '../../src/attention/record';
import { load, type Model } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { Bench } from '../../src/verify/bench';
import { runOriginal } from '../../src/verify/case-runs';
import { checkPrepared } from '../../src/verify/check-prepared';
import { Correspondence } from '../../src/verify/outside';
import { ATTENTION, line, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { pairOfModel } from './support/pairs';

const TEXT = `${variant(ATTENTION, [
  ['"com.microsoft" : 1', '"f" : 1'],
  [line('softmax'), '  ["softmax"] A = f.probabilities <along: int = -1> (S)'],
])}
<domain: "f", opset_import: ["" : 17]> probabilities <along> (s) => (p) { p = Softmax <axis: int = @along> (s) }`;

async function findingsWith(damage: (model: Model) => void): Promise<readonly string[]> {
  const files = pairOfModel(modelPath(textBytes(TEXT)), {});
  const [original, rewritten] = [load(readModel(files.original)), load(readModel(files.rewritten))];
  const record = readRecord(rewritten);
  if (!record) throw new Error('no record');
  const prepared = inlineAttention(original, passes.recognisers);
  expect(prepared).toEqual(['probabilities']);
  const { sites } = findAttention(original, passes.recognisers);
  const prepareOriginal = (model: Model) => {
    inlineAttention(model, passes.recognisers);
    damage(model);
  };
  const pair = {
    original,
    rewritten,
    record,
    sites,
    keepsFunction: false,
    expectedParameters: new Map(),
    prepared,
    prepareOriginal,
  };
  const bench = new Bench(pair, new Correspondence(original, rewritten, record, sites), {});
  const runs = await bench.original((session) => runOriginal(original, session, {}, []));
  const check = await checkPrepared(bench, runs);
  expect(check.compared).toBeGreaterThan(0);
  return check.findings.map(({ message }) => message);
}

test('functions in place give the same', async () => {
  expect(await findingsWith(() => undefined)).toEqual([]);
});

test('an operator that lost its attribute is found', async () => {
  const [finding] = await findingsWith((model) => {
    const { graph } = model;
    const softmax = graph.nodes.find((node) => node.is('Softmax'));
    const scores = softmax?.inputs[0];
    if (!softmax || !scores) throw new Error('no softmax');
    const scaled = scores.producer?.inputs[0];
    graph.setInput(softmax, 0, scaled);
  });
  expect(finding).toMatch(/^y: /);
});
