/** New parameters: shapes and initial values by the SPEC, whatever the rewriter says that they should be. */

import { passes } from '../../passes';
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { findAttention } from '../../src/attention/find';
import { readRecord } from '../../src/attention/record';
import { load } from '../../src/ir';
import { type ByteRange, readModel } from '../../src/onnx';
import { checkParameters } from '../../src/verify/check-parameters';
import { type Pair, verifyPair } from '../../src/verify/verify';
import { Draft } from './support/draft';
import { pairOf } from './support/pairs';

/** The check of a rewritten file against what that file itself holds: only the SPEC is left to object. */
function checkAgainstItself(original: string, rewritten: string) {
  const [model, source] = [load(readModel(rewritten)), load(readModel(original))];
  const record = readRecord(model);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(source, passes.recognisers);
  const expected = new Map<string, ByteRange>();
  for (const [name, value] of model.graph.values) {
    const path = record.layers.find((layer) => name.startsWith(`${layer.path}.`))?.path;
    const isNew = path !== undefined && /\.(lambda_|subln|[qk]2_proj)/.test(name.slice(path.length));
    if (isNew && value.initializer) expected.set(name, model.file.tensorBytes(value.initializer));
  }
  return checkParameters(model, record, sites, expected);
}

const float = (value: number, count = 1) =>
  new Uint8Array(Float32Array.from({ length: count }, () => value).buffer.slice(0));

test.each<RewriteFileSettings>([{}, { splitHeads: true }, { init: 'zero' }, { init: 'preserve' }])(
  'what a rewrite with %j writes is what the SPEC says',
  (settings) => {
    const { original, rewritten } = pairOf('llama-dec-dy18-eager', settings);
    expect(checkAgainstItself(original, rewritten)).toMatchObject({ passed: true, findings: [] });
  },
);

test.each<[string, RewriteFileSettings, string, Uint8Array]>([
  ['lambda_init of the wrong depth', {}, 'm.model.layers.1.self_attn.lambda_init', float(0.2)],
  ['lambda_init that is not zero', { init: 'zero' }, 'm.model.layers.0.self_attn.lambda_init', float(0.2)],
  ['a vector that is not zero', { init: 'zero' }, 'm.model.layers.0.self_attn.lambda_q2', float(0.1, 8)],
  ['a norm weight that is not one', {}, 'm.model.layers.0.self_attn.subln.weight', float(0.5, 8)],
])('%s', (_, settings, name, bytes) => {
  const { original, rewritten } = pairOf('llama-dec-dy18-eager', settings);
  const draft = new Draft(rewritten);
  draft.setBytes(name, bytes);
  expect(checkAgainstItself(original, draft.write()).findings.map(({ message }) => message)).toEqual([
    `parameter '${name}' is not what diffx wrote`,
  ]);
});

test('without a single value to compare with, a parameter is not what diffx wrote', () => {
  const { original, rewritten } = pairOf('llama-dec-dy18-eager');
  const [model, source] = [load(readModel(rewritten)), load(readModel(original))];
  const record = readRecord(model);
  const { sites } = findAttention(source, passes.recognisers);
  if (!record) throw new Error('no record');
  const pair: Pair = {
    original: source,
    rewritten: model,
    record,
    sites,
    keepsFunction: false,
    expectedParameters: new Map(),
    prepared: [],
    prepareOriginal: () => undefined,
  };
  return expect(verifyPair(pair, { lengths: [1] })).resolves.toMatchObject({ passed: false });
});
