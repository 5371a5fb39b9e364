import { DataType } from '../../../src/onnx/data-types';
import {
  describeCase,
  type FeedInput,
  guessRole,
  isDelicate,
  planCases,
  type Role,
  resolveShapes,
} from '../../../src/verify/feeds';
import type { TensorDescription } from '../../../src/verify/tensor';

const int64 = (name: string, ...shape: (number | string)[]) => ({ name, dtype: DataType.INT64, shape });
const float = (name: string, ...shape: (number | string)[]) => ({ name, dtype: DataType.FLOAT, shape });
const withRoles = (...inputs: TensorDescription[]): FeedInput[] =>
  inputs.map((input) => ({ ...input, role: guessRole(input) }));
const shapes = (inputs: FeedInput[], batch: number, sequence: number, past = 0, symbols = {}) =>
  Object.fromEntries(resolveShapes(inputs, { batch, sequence, past, symbols }));

test.each<[TensorDescription, Role]>([
  [int64('input_ids', 'b', 's'), { kind: 'ids', vocabulary: 32 }],
  [int64('attention_mask', 'b', 't'), { kind: 'mask' }],
  [{ name: 'mask', dtype: DataType.BOOL, shape: ['b', 't'] }, { kind: 'mask' }],
  [{ name: 'keep', dtype: DataType.BOOL, shape: ['b', 't'] }, { kind: 'mask' }],
  [float('attention_mask', 'b', 't'), { kind: 'mask' }],
  [float('attn_mask', 'b', 1, 's', 't'), { kind: 'mask', form: 'additive' }],
  [int64('position_ids', 'b', 's'), { kind: 'positions' }],
  [int64('cache_position', 's'), { kind: 'positions' }],
  [int64('token_type_ids', 'b', 's'), { kind: 'constant', value: 0 }],
  [float('past_key_values.0.key', 'b', 4, 'p', 8), { kind: 'past' }],
  [float('mems', 'b', 'm', 32), { kind: 'past' }],
  [float('inputs_embeds', 'b', 's', 32), { kind: 'data' }],
  [float('pixel_values', 'b', 3, 32, 32), { kind: 'data' }],
  [{ name: 'use_cache_branch', dtype: DataType.BOOL, shape: [1] }, { kind: 'has-past' }],
  [
    { name: 'seqlens_k', dtype: DataType.INT32, shape: ['b'] },
    { kind: 'total-length', offset: -1 },
  ],
  [
    { name: 'total_sequence_length', dtype: DataType.INT32, shape: [] },
    { kind: 'total-length', offset: 0 },
  ],
  [float('diff_attn_mix'), { kind: 'mix' }],
  [int64('num_logits_to_keep'), { kind: 'constant', value: 1 }],
  [float('audio_features', 'b', 80, 3000), { kind: 'data' }],
])('the role of $name', (input, role) => {
  expect(guessRole(input)).toEqual(role);
});

describe('shapes', () => {
  test('a decoder with cache as the TorchScript exporter names its axes', () => {
    const inputs = withRoles(
      int64('input_ids', 'batch', 'sequence'),
      int64('attention_mask', 'batch', 'total'),
      float('past_key_values.0.key', 'batch', 2, 'past', 8),
    );
    expect(shapes(inputs, 3, 5, 6)).toEqual({
      input_ids: [3, 5],
      attention_mask: [3, 11],
      'past_key_values.0.key': [3, 2, 6, 8],
    });
  });

  test('the dynamo exporter names axes anew that must be equal', () => {
    const inputs = withRoles(
      int64('input_ids', 's10', 's70'),
      int64('attention_mask', 's43', 's53'),
      float('past_key_values.0.key', 's10', 2, 's69', 8),
      float('past_key_values.0.value', 's10', 2, 's89', 8),
    );
    expect(shapes(inputs, 3, 5, 6)).toEqual({
      input_ids: [3, 5],
      attention_mask: [3, 11],
      'past_key_values.0.key': [3, 2, 6, 8],
      'past_key_values.0.value': [3, 2, 6, 8],
    });
  });

  test('axes without a name, and names that are sums', () => {
    const inputs = withRoles(
      int64('input_ids', '', 1),
      int64('attention_mask', '', 'past_length + 1'),
      float('past.0', '', 2, 'past_length', 8),
    );
    expect(shapes(inputs, 2, 1, 6)).toEqual({
      input_ids: [2, 1],
      attention_mask: [2, 7],
      'past.0': [2, 2, 6, 8],
    });
  });

  test('one symbol is one size, whichever role it has besides', () => {
    const inputs = withRoles(
      int64('attention_mask', 'n', 's'),
      int64('input_ids', 'n', 's'),
      float('past', 'n', 2, 'p', 8),
    );
    expect(shapes(inputs, 3, 5, 6)['attention_mask']).toEqual([3, 5]);
  });

  test('encoder and decoder have lengths of their own', () => {
    const inputs = withRoles(
      int64('input_ids', 'b', 's'),
      int64('attention_mask', 'b', 's'),
      int64('decoder_input_ids', 'b', 'd'),
    );
    expect(shapes(inputs, 1, 5)).toEqual({
      input_ids: [1, 5],
      attention_mask: [1, 5],
      decoder_input_ids: [1, 3],
    });
    const decoder = withRoles(
      int64('input_ids', 'b', 's'),
      float('encoder_hidden_states', 'b', 'e', 32),
      int64('encoder_attention_mask', 'b', 'x'),
      float('past_key_values.0.decoder.key', 'b', 4, 'p', 8),
      float('past_key_values.0.encoder.key', 'b', 4, 'q', 8),
    );
    expect(shapes(decoder, 1, 5, 6)).toEqual({
      input_ids: [1, 5],
      encoder_hidden_states: [1, 7, 32],
      encoder_attention_mask: [1, 7],
      'past_key_values.0.decoder.key': [1, 4, 6, 8],
      'past_key_values.0.encoder.key': [1, 4, 7, 8],
    });
  });

  test('masks of four axes, positions before the batch, and sizes that the caller knows', () => {
    const inputs = withRoles(
      int64('input_ids', 'b', 's'),
      float('attn_mask', 'b', 'heads', 's', 't'),
      int64('position_ids', 3, 'b', 's'),
      float('pixel_values', 'images', 3, 'h', 'w'),
    );
    expect(shapes(inputs, 2, 5, 0, { h: 28, w: 14 })).toEqual({
      input_ids: [2, 5],
      attn_mask: [2, 1, 5, 5],
      position_ids: [3, 2, 5],
      pixel_values: [2, 3, 28, 14],
    });
  });
});

describe('plans', () => {
  const describeAll = (inputs: FeedInput[], options = {}) => planCases(inputs, options).map(describeCase);

  test('an encoder with a mask: every batch and length, padded where there are rows to tell apart', () => {
    expect(describeAll(withRoles(int64('input_ids', 'b', 's'), int64('attention_mask', 'b', 's')))).toEqual([
      'batch 1, length 1',
      'batch 3, length 1',
      'batch 1, length 5',
      'batch 3, length 5',
      'batch 3, length 5, left padding',
      'batch 3, length 5, right padding',
      'batch 1, length 16',
      'batch 3, length 16',
      'batch 3, length 16, left padding',
      'batch 3, length 16, right padding',
      'batch 3, length 16, a row of padding',
    ]);
  });

  test('a decoder with cache: without and with a past', () => {
    const inputs = withRoles(int64('input_ids', 'b', 's'), float('past.key', 'b', 4, 'p', 8));
    expect(describeAll(inputs, { batches: [1], lengths: [1, 5] })).toEqual([
      'batch 1, length 1',
      'batch 1, length 5',
      'batch 1, length 1, past 6',
      'batch 1, length 5, past 6',
    ]);
  });

  test('extreme cases: large numbers where numbers are fed, a row of padding where there is a mask, not for given lengths', () => {
    const inputs = withRoles(
      int64('input_ids', 'b', 's'),
      int64('attention_mask', 'b', 't'),
      float('past.key', 'b', 4, 'p', 8),
    );
    const extreme = planCases(inputs).filter(isDelicate);
    expect(extreme.map(describeCase)).toEqual([
      'batch 3, length 16, past 6, large numbers',
      'batch 3, length 16, past 6, a row of padding',
    ]);
    expect(planCases(inputs, { lengths: [16] }).filter(isDelicate)).toEqual([]);
  });

  test('what the model fixes stays, and cases that then are the same are one', () => {
    expect(describeAll(withRoles(float('pixel_values', 1, 3, 32, 32)))).toEqual([
      'batch 1, length 1',
      'batch 1, length 16, large numbers',
    ]);
    expect(describeAll(withRoles(float('pixel_values', 'b', 3, 32, 32)))).toEqual([
      'batch 1, length 1',
      'batch 3, length 1',
      'batch 3, length 16, large numbers',
    ]);
    expect(describeAll(withRoles(int64('input_ids', 2, 7)))).toEqual(['batch 2, length 7']);
    // Positions for one row do not make the batch one row.
    expect(
      describeAll(withRoles(int64('position_ids', 1, 's'), int64('input_ids', 'b', 's')), { lengths: [5] }),
    ).toEqual(['batch 1, length 5', 'batch 3, length 5']);
  });
});
