/** Who ran what: read off profiles, and never taken on trust. */
import { DataType } from '../../src/onnx';
import { checkPlacement } from '../../src/verify/check-placement';
import { isShapeArithmetic, placementOf } from '../../src/verify/placement';
import type { NodeRun } from '../../src/verify/profile';
import { parseProvider } from '../../src/verify/providers';
import { CheckBuilder } from '../../src/verify/report';
import { withSession } from '../../src/verify/session';
import { addModel } from './models';

function run(opType: string, output: string, provider = 'CPUExecutionProvider', input = output): NodeRun {
  const name = `${opType}_${output}`;
  return { name, opType, provider, microseconds: 1, inputTypes: [input], outputTypes: [output] };
}
const gpu = 'CUDAExecutionProvider';
const cuda = parseProvider('cuda:1');

test.each([
  ['Shape', 'int64', 'float', true],
  ['If', 'float', 'bool', true],
  ['Add', 'int64', 'int64', true],
  ['Add', 'float', 'float', false],
  ['Add', 'float16', 'float16', false],
  ['Where', 'bool', 'bool', true],
  ['Cast', 'float', 'int64', true],
  ['Cast', 'float', 'float16', false],
  ['MatMul', 'float', 'float', false],
  ['MatMulInteger', 'int32', 'int8', false],
  ['DynamicQuantizeLinear', 'uint8', 'float', false],
  ['Softmax', 'float', 'float', false],
  ['LayerNormalization', 'float', 'float', false],
  ['SomethingNew', 'int64', 'int64', false],
])('%s that gives %s of %s: shape arithmetic %p', (opType, output, input, expected) => {
  expect(isShapeArithmetic(run(opType, output, 'CPUExecutionProvider', input))).toBe(expected);
});

test('what ran elsewhere is listed node by node, each once, and copies between devices are not nodes', () => {
  const runs = [
    run('MatMul', 'float', gpu),
    run('MatMul', 'float', gpu),
    run('MemcpyToHost', 'float', gpu),
    run('Softmax', 'float'),
    run('Shape', 'int64'),
  ];
  expect(placementOf(cuda, runs)).toEqual({
    provider: 'cuda:1',
    ran: 1,
    fellBack: [
      { name: 'Softmax_float', opType: 'Softmax', computes: true },
      { name: 'Shape_int64', opType: 'Shape', computes: false },
    ],
  });
});

test.each([
  ['compute', [run('MatMul', 'float', gpu), run('Shape', 'int64')], []],
  [
    'all',
    [run('MatMul', 'float', gpu), run('Shape', 'int64')],
    [/^1 nodes ran on the CPU instead: 'Shape_int64' \(Shape\)$/],
  ],
  ['compute', [run('MatMul', 'float', gpu), run('Softmax', 'float')], [/'Softmax_float' \(Softmax\)$/]],
  ['compute', [run('Shape', 'int64')], [/^no node ran on cuda:1$/]],
  ['compute', [run('MatMul', 'float', 'DmlExecutionProvider')], [/^no node ran on cuda:1$/, /MatMul/]],
  ['compute', [], [/^no node ran on cuda:1$/]],
] as const)('--require-ep %s of %j', (requirement, runs, says) => {
  const check = new CheckBuilder('placement', '');
  checkPlacement(cuda, runs, requirement, '', check);
  expect(check.findings.map(({ message }) => message)).toEqual(
    says.map((each) => expect.stringMatching(each)),
  );
  expect(check.done().passed).toBe(says.length === 0);
});

test('a session that ran on the CPU is not taken for another provider', async () => {
  const one = { dtype: DataType.FLOAT, shape: [1, 2], data: Float32Array.of(1, 2) };
  const runs = await withSession(addModel(), { profile: true }, async (session) => {
    await session.run({ a: one, b: one });
    return session.endProfiling();
  });
  expect(placementOf(parseProvider('cpu'), runs)).toMatchObject({ ran: 1, fellBack: [] });
  expect(placementOf(parseProvider('webgpu'), runs)).toMatchObject({
    ran: 0,
    fellBack: [{ computes: true }],
  });
});
