/** What `npm run coverage:models -- --ep` says: verified, the original's own fault, or a false alarm. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel } from '../../src/api/rewrite';
import { CheckBuilder, type CheckName } from '../../src/verify/report';
import { ATTENTION, line, variant } from '../support/attention-text';
import { openExport, temporaryFolder } from '../support/fixtures';
import { textBytes } from '../support/models';
import type { Rewrite } from './measure';
import { proofFaults, proofLines, proofTotals } from './print-proof';
import { judged, type ProvenExport, prove } from './proof';

const LLAMA = 'llama-dec-ts17-sdpa';
const cpu = { ep: 'cpu' } as const;

function check(name: CheckName, provider: string | undefined, inOriginal = false) {
  const builder = new CheckBuilder(name, '', provider);
  builder.find(`${name} is not right`);
  if (inOriginal) builder.findInOriginal('it is the same in the original');
  return builder.done();
}

const right = (() => {
  const builder = new CheckBuilder('layers', '');
  builder.count();
  return builder.done();
})();

test.each([
  ['nothing fails', [right], 'proven', undefined],
  ['a check fails', [right, check('layers', 'webgpu')], 'alarm', 'layers: layers is not right'],
  [
    'it fails in the original too',
    [check('placement', 'webgpu', true)],
    'original',
    'placement: it is the same in the original',
  ],
  [
    'another one does not',
    [check('placement', 'webgpu', true), check('layers', 'webgpu')],
    'alarm',
    /^layers/,
  ],
  [
    'outputs follow from outputs',
    [check('providers', 'webgpu', true), check('function', 'webgpu')],
    'original',
    /^providers/,
  ],
  ['layers do not', [check('providers', 'webgpu', true), check('layers', 'webgpu')], 'alarm', /^layers/],
  ['the CPU has no excuse', [check('function', undefined, true)], 'alarm', /^function/],
  ['nothing was compared', [new CheckBuilder('layers', '').done()], 'alarm', /nothing was compared/],
] as const)('%s', (_, checks, verdict, detail) => {
  const proof = judged({ checks });
  expect(proof.verdict).toBe(verdict);
  if (detail instanceof RegExp) expect(proof.detail).toMatch(detail);
  else expect(proof.detail).toBe(detail);
});

describe('an export', () => {
  test('that is right', async () => {
    const result = await prove({ name: LLAMA }, { ...cpu, modes: ['preserve', 'split'] });
    expect(result.modes).toEqual({ preserve: { verdict: 'proven' }, split: { verdict: 'proven' } });
    expect(proofFaults(result, [])).toEqual([]);
  });

  test('whose rewrite is that of another one is an alarm, and an error inside is none of anybody', async () => {
    const other = openExport('llama-dec-ts14-eager').model;
    const mistaken: Rewrite = (_, settings) => rewriteModel(other, settings);
    const alarm = await prove({ name: LLAMA }, { ...cpu, modes: ['split'] }, mistaken);
    expect(alarm.modes.split).toMatchObject({ verdict: 'alarm', detail: expect.stringMatching(/^record: /) });
    const clumsy: Rewrite = () => {
      throw new TypeError('not a function');
    };
    const broken = await prove({ name: LLAMA }, { ...cpu, modes: ['split'] }, clumsy);
    expect(broken.modes.split).toMatchObject({
      verdict: 'broken',
      detail: expect.stringContaining('TypeError'),
    });
    for (const result of [alarm, broken]) expect(proofFaults(result, [])).toHaveLength(1);
  });

  test('that is refused, or does not run itself, is no alarm', async () => {
    const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'proof-'));
    const write = (name: string, text: string) =>
      fs.writeFileSync(path.join(folder, `${name}.onnx`), textBytes(text));
    write('mine', variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']]));
    const never = '["o_proj"] o = MatMul (C_BSE, "layers.0.attn.o_proj.weight")\n  y = Reshape (o, seven)';
    write(
      'odd',
      variant(ATTENTION, [
        ['  float scale', '  int64[1] seven = {7},\n  float scale'],
        [line('o_proj').trim(), never],
      ]),
    );
    const refused = await prove({ name: 'mine', folder }, { ...cpu, modes: ['preserve'] });
    expect(refused.modes.preserve).toMatchObject({ verdict: 'refused', code: 'softmax-axis' });
    expect(proofFaults(refused, [])).toHaveLength(1);
    expect(proofFaults(refused, [{ export: 'mine', code: 'softmax-axis', why: '' }])).toEqual([]);
    expect(proofFaults(refused, [{ export: 'mine', code: 'odd-heads', why: '' }])).toHaveLength(1);
    const none = await prove({ name: 'odd', folder }, { ...cpu, modes: ['preserve'] });
    expect(none.modes.preserve?.verdict).toBe('original');
  });
});

test('a line for each export, why it is not verified, and the totals', () => {
  const results: ProvenExport[] = [
    {
      name: 'a',
      modes: { preserve: { verdict: 'proven' }, split: { verdict: 'refused', code: 'odd-heads' } },
    },
    { name: 'b', modes: { preserve: { verdict: 'original', detail: 'placement: no kernel' } } },
    { name: 'c', modes: { preserve: { verdict: 'alarm', detail: 'layers: C differs\nmore' } } },
  ];
  const refusals = [{ export: 'a', split: 'odd-heads', why: '' }];
  expect(results.flatMap(proofLines)).toEqual([
    'a: preserve verified, split refused (odd-heads)',
    'b: preserve the original itself fails there',
    '    placement: no kernel',
    'c: preserve FALSE ALARM',
    '    layers: C differs',
  ]);
  expect(proofTotals(results, 'webgpu', refusals)).toEqual([
    'c: preserve: FALSE ALARM: layers: C differs',
    '3 exports on webgpu',
    'preserve: 1 verified, 1 the original itself fails there, 1 FALSE ALARM',
    'split: 1 refused',
    '1 fault',
  ]);
  expect(proofTotals(results.slice(0, 2), 'webgpu', refusals).at(-1)).toBe('no false alarm');
});
