/** What inspections say, and that they are data. */

import { Dim } from '../../src/analyse';
import { inspectModel } from '../../src/api/inspect';
import { describeView } from '../../src/report/binding';
import { inspectionText } from '../../src/report/inspection-text';
import { exportNames, openExport } from '../support/fixtures';
import { modelPath, rewriteToBytes, textBytes } from '../support/models';

const inspect = (name: string) => inspectModel(openExport(name).model);

/** One export of each architecture, and the odd ones. */
const names = exportNames().filter(
  (name) => /(-ts17-sdpa|-ts14-eager|^ms-|-if-)/.test(name) && !name.includes('+'),
);

test.each(names)('%s: every candidate is shown, as an attention or with the reason why not', (name) => {
  const inspection = inspect(name);
  const { attentions, notUnderstood } = inspection;
  expect(attentions.length + notUnderstood.length).toBeGreaterThan(0);
  // plain data: nothing is lost on the way through JSON
  expect(JSON.parse(JSON.stringify(inspection))).toEqual(inspection);
  const lines = inspectionText(inspection, { width: 80 });
  for (const { depth } of attentions)
    expect(lines.some((line) => line.startsWith(`      ${depth}  `))).toBe(true);
  for (const { anchor } of notUnderstood) expect(lines.join('\n')).toContain(`'${anchor}'`);
});

test('weights that attentions share are said to be shared', () => {
  const { attentions } = inspect('albert-enc-ts17-sdpa');
  expect(attentions.every(({ shared }) => shared)).toBe(true);
  expect(inspectionText(inspect('albert-enc-ts17-sdpa')).join('\n')).toMatch(/ shared$/m);
});

test('side files count', () => {
  const { file } = inspect('bert-enc-dy18-sdpa+external');
  expect(file.sideFiles).toHaveLength(1);
  expect(file.sideFiles[0]?.size).toBeGreaterThan(10_000);
  expect(inspectionText(inspect('bert-enc-dy18-sdpa+external'))[1]).toMatch(/ with 1 side file$/);
});

test('a model without attention says so', () => {
  const model = `<ir_version: 8, opset_import: ["": 17]>
    mlp (float[N, 8] x) => (float[N, 8] y) <float[8, 8] w = {...}> { y = MatMul(x, w) }`;
  const inspection = inspectModel(modelPath(textBytes(model)));
  expect(inspection).toMatchObject({ attentions: [], notUnderstood: [], differential: null });
  expect(inspection.file.parameters).toBe(64);
  expect(inspectionText(inspection).at(-1)).toBe('No attention found.');
});

test('a softmax that is no attention is named where everything is explained', () => {
  const model = `<ir_version: 8, opset_import: ["": 17]>
    g (float[N, 8] x) => (float[N, 8] y) <float[8, 8] w = {...}> {
      l = MatMul (x, w)
      ["classes"] y = Softmax (l)
    }`;
  const inspection = inspectModel(modelPath(textBytes(model)));
  expect(inspection.otherSoftmaxes).toEqual(['classes']);
  expect(inspectionText(inspection).join('\n')).not.toContain('classes');
  expect(inspectionText(inspection, { explain: true }).join('\n')).toContain(
    "1 softmax that is no attention\n  'classes'",
  );
  expect(inspect('bert-enc-ts17-sdpa').otherSoftmaxes).toEqual([]);
});

test('lambda is computed from the parameters that are stored', () => {
  const { model } = openExport('llama-dec-ts17-sdpa');
  const zero = inspectModel(modelPath(rewriteToBytes(model, { init: 'zero', normEps: 1e-3 }))).differential;
  if (zero?.by !== 'diffx') throw new Error('not by diffx');
  for (const layer of zero.layers) expect(layer).toMatchObject({ lambda: 0, lambdaInit: 0, epsilon: 1e-3 });
});

test('a lambda that every token has its own of is not a number', () => {
  const { model } = openExport('llama-dec-ts17-sdpa');
  const told = (init: string) => {
    const inspection = inspectModel(modelPath(rewriteToBytes(model, { preset: 'v2', init })));
    return { differential: inspection.differential, text: inspectionText(inspection).join('\n') };
  };
  const random = told('random');
  const layers = [0, 1].map(() => ({ lambda: null, lambdaPerToken: true, lambdaInit: null, epsilon: null }));
  expect(random.differential).toMatchObject({ by: 'diffx', preset: 'v2', layers });
  expect(random.text).toMatch(/ per token {2}- +(scores|probabilities) +no norm$/m);
  // sigmoid(0)
  expect(told('preserve').text).toMatch(/ per token {2}0\.5 +(scores|probabilities) +no norm$/m);
});

test('views are written as axes of size:stride', () => {
  const batch = { kind: 'lead', size: Dim.symbol('batch'), order: [0] } as const;
  const heads = { kind: 'column', size: Dim.of(4), stride: 8 } as const;
  const repeat = { kind: 'repeat', size: Dim.of(2) } as const;
  const lost = { kind: 'column', size: Dim.of(8), stride: undefined } as const;
  expect(describeView({ axes: [[batch], [heads, repeat], [], [lost]], offset: 0 })).toBe(
    '[batch, 4:8 x2, 1, 8:?]',
  );
  expect(describeView({ axes: [[heads]], offset: 32 })).toBe('[4:8] from column 32');
});
