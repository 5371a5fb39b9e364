/** Models that were changed after diffx wrote them: what can be monitored is, the rest is said. */
import { monitorModel } from '../../src/api/monitor';
import { METADATA } from '../../src/attention/record';
import { DiffxError } from '../../src/errors';
import { openExport } from '../support/fixtures';
import { Draft } from '../verify/support/draft';
import { pairOf } from '../verify/support/pairs';

const { io } = openExport('llama-dec-ts17-sdpa');
const { rewritten, layers } = pairOf('llama-dec-ts17-sdpa', { monitorLayers: 1 });
const monitor = (draft: Draft) => monitorModel(draft.write(), { inputs: [io], numMonitorLayers: 2 });

test('a layer whose node is gone keeps the metrics of its parameters', async () => {
  const draft = new Draft(rewritten);
  draft.node(layers[1]?.node ?? '').name = 'renamed';
  const { notMonitored, layers: monitored, logged } = await monitor(draft);
  expect(monitored.map(({ number }) => number)).toEqual([0]);
  expect(notMonitored.map(({ number }) => number)).toEqual([1]);
  expect(notMonitored[0]?.reason).toMatch(/^it is not where the record says/);
  const names = Object.keys(logged[0]?.metrics ?? {});
  expect(names).toContain('layer_0/attn1_std');
  expect(names).toContain('layer_1/lambda_full');
  expect(names).not.toContain('layer_1/attn1_std');
});

test('a layer that starts from what is gone, too', async () => {
  const draft = new Draft(rewritten);
  const start = layers[1]?.start['A2'] ?? '';
  const producer = draft.producer(start);
  producer.output = producer.output.map((name) => (name === start ? 'other' : name));
  draft.redirect(start, 'other');
  expect((await monitor(draft)).notMonitored.map(({ number }) => number)).toEqual([1]);
});

test('metrics follow the parameters as they are now', async () => {
  const draft = new Draft(rewritten);
  const name = `${layers[0]?.path}.lambda_q2`;
  draft.weight(name, (bytes) => bytes.fill(0));
  const { metrics = {} } = (await monitor(draft)).logged[0] ?? {};
  expect(metrics['layer_0/lambda_q2_norm']).toBe(0);
  expect(metrics['layer_0/lambda2']).toBe(1);
  expect(metrics['layer_1/lambda2']).not.toBe(1);
});

test.each([
  '[{}]',
  '{"number": 0}',
  'no json',
  '[{"number":0,"path":"a","of":"maps","outputs":{},"inside":[]}]',
])('a damaged record is an error: %s', async (text) => {
  const draft = new Draft(rewritten);
  draft.metadata.set(METADATA.monitored, text);
  const error = await monitor(draft).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DiffxError);
  expect(error).toMatchObject({ code: 'invalid-record', exitCode: 2 });
});
