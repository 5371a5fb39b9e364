/** Neutralised, a rewritten model computes what the original does, whatever its options. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { readRecord } from '../../src/attention/record';
import { load, save } from '../../src/ir';
import { modelBytes, readModel } from '../../src/onnx';
import { neutralise } from '../../src/verify/neutralise';
import { openExport } from '../support/fixtures';
import { expectClose, largestDifference, readTensors, runModel } from '../support/run';
import { Draft } from './support/draft';
import { pairOf } from './support/pairs';

function neutralised(rewritten: string) {
  const file = readModel(rewritten);
  const model = load(file);
  const record = readRecord(model);
  if (!record) throw new Error('no record');
  const findings = neutralise(model, record);
  return { findings, record, bytes: () => modelBytes(save(model), file).read() };
}

const settings: RewriteFileSettings[] = [
  {},
  { emit: 'inline' },
  { sublayerNorm: false },
  { init: 'mirror' },
  { init: 'preserve' },
];

describe.each(['bert-enc-dy18-eager', 'llama-dec-ts17-sdpa', 'bert-enc-dy23-sdpa'])('%s', (name) => {
  const { io } = openExport(name);
  test.each(settings)('%j', async (options) => {
    const { rewritten } = pairOf(name, options);
    const { findings, bytes } = neutralised(rewritten);
    const expected = readTensors(io, 'output.');
    const outputs = Object.keys(expected);
    expect(findings).toEqual([]);
    expectClose(await runModel(bytes(), readTensors(io, 'input.'), { outputs }), expected, 1e-5);
    // and not because the rewrite had changed nothing
    const changed = await runModel(rewritten, readTensors(io, 'input.'), { outputs });
    const [output = ''] = outputs;
    const difference = largestDifference(expected[output], changed[output]);
    if (options.init === 'preserve') expect(difference).toBeLessThan(1e-4);
    else expect(difference).toBeGreaterThan(1e-3);
  });
});

test('a missing parameter is a finding for its layer', () => {
  const { rewritten, layers } = pairOf('bert-enc-dy18-eager');
  const path = layers[1]?.path ?? '';
  const draft = new Draft(rewritten);
  draft.redirect(`${path}.lambda_q1`, `${path}.lambda_k1`);
  draft.initializers.delete(`${path}.lambda_q1`);
  expect(neutralised(draft.write()).findings).toEqual([
    { message: `parameter '${path}.lambda_q1' is missing`, layer: path },
  ]);
});

test('a weight that scales no norm is a finding', () => {
  const { rewritten, layers } = pairOf('bert-enc-dy18-eager', { emit: 'inline' });
  const path = layers[0]?.path ?? '';
  const draft = new Draft(rewritten);
  draft.part('norm_normed', path).opType = 'Mul';
  expect(neutralised(draft.write()).findings.map(({ message }) => message)).toEqual([
    expect.stringMatching(/scales something that is no norm/),
  ]);
});
