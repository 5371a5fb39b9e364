/** Models that no exporter should write: a reason that is the user's to read, or a rewrite that leaves them as they are. */
import { inspectModel } from '../../src/api/inspect';
import { rewriteModel } from '../../src/api/rewrite';
import { derive, encode, type ModelProto, parseModel, readModel, type TensorProto } from '../../src/onnx';
import { ATTENTION, line, variant } from '../support/attention-text';
import { openExport, randomFill } from '../support/fixtures';
import { graphOf, modelPath, rewriteText, rewriteToBytes, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';

function changed(change: (model: ModelProto) => ModelProto): string {
  return modelPath(encode('ModelProto', change(parseModel(textBytes(ATTENTION)).proto)).read());
}

function withWeight(name: string, change: (tensor: TensorProto) => TensorProto): string {
  return changed((model) => {
    const graph = graphOf(model);
    const initializer = graph.initializer.map((each) => (each.name === name ? change(each) : each));
    return derive(model, { graph: derive(graph, { initializer }) });
  });
}

const WEIGHT = 'layers.0.attn.q_proj.weight';

describe('nodes that nobody needs', () => {
  const text = variant(ATTENTION, [
    [line('o_proj'), `${line('o_proj')}\n  ["unused"] log = Log (S)\n  ["unused2"] negative = Neg (raw)`],
  ]);

  test.each([{}, { splitHeads: true }])('stay with what they read: %j', async (settings) => {
    const bytes = rewriteToBytes(modelPath(textBytes(text)), settings);
    const nodes = graphOf(parseModel(bytes).proto).node.map(({ name }) => name);
    expect(nodes).toEqual(expect.arrayContaining(['unused', 'unused2', 'scaled', 'scores']));
    const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));
    const without = rewriteToBytes(modelPath(textBytes(ATTENTION)), settings);
    const [given, expected] = [await runModel(bytes, { x }), await runModel(without, { x })];
    expectClose(given, expected, 1e-6);
  });
});

describe('weights', () => {
  test.each([
    ['of more elements than there are', [4096n, 8n]],
    ['of more elements than a number counts', [9223372036854775807n, 8n]],
    ['with a negative dimension', [-8n, 8n]],
  ])('%s', (_, dims) => {
    const model = withWeight(WEIGHT, (tensor) => derive(tensor, { dims }));
    for (const run of [() => inspectModel(model), () => rewriteModel(model)]) {
      const error = thrownBy(run);
      expect(error).toMatchObject({ code: 'tensor-invalid', exitCode: 2 });
      expect(error.message).toContain(WEIGHT);
    }
  });

  test('that are cast to whole numbers', () => {
    const cast = `["whole"] wq = Cast <to = 6> ("${WEIGHT}")\n["xs"] xq = Cast <to = 6> (x)\n["q_proj"] qi = MatMul (xq, wq)`;
    const text = variant(ATTENTION, [[line('q_proj'), `${cast}\n["floats"] q = Cast <to = 1> (qi)`]]);
    const error = thrownBy(() => rewriteText(text));
    expect(error).toMatchObject({ code: 'unrewritten', reasons: ['projection-form'] });
  });

  test.each([
    ['whole numbers', 'int32', 'int32[8, 8]', 6],
    ['numbers of 8 bits', 'float8e4m3fn', 'uint8[8, 8]', 17],
  ])('that are %s, cast to floats', (_, name, type, dataType) => {
    const text = variant(ATTENTION, [
      [`float[8, 8] "${WEIGHT}" = {...}`, `${type} "${WEIGHT}" = {${'1, '.repeat(63)}1}`],
      [line('q_proj'), `["wide"] wq = Cast <to = 1> ("${WEIGHT}")\n["q_proj"] q = MatMul (x, wq)`],
    ]);
    const { proto } = parseModel(textBytes(text));
    const graph = graphOf(proto);
    const initializer = graph.initializer.map((each) =>
      each.name === WEIGHT ? derive(each, { dataType }) : each,
    );
    const model = encode('ModelProto', derive(proto, { graph: derive(graph, { initializer }) })).read();
    const error = thrownBy(() => rewriteModel(modelPath(model)));
    expect(error).toMatchObject({ code: 'unrewritten', reasons: ['projection-form'] });
    expect(error.message).toContain(`weights of type ${name}`);
  });
});

describe('weights in blocks of 4 bits', () => {
  const { model } = openExport('llama-dec-ts17-sdpa+q4');
  const { proto } = readModel(model);
  const graph = graphOf(proto);

  test.each(['block_size', 'N', 'K'])('whose %s is not that of what is stored', (attribute) => {
    const node = graph.node.map((each) => {
      const changed = each.attribute.map((a) =>
        a.name === attribute ? derive(a, { i: (a.i ?? 0n) * 3n }) : a,
      );
      return each.opType === 'MatMulNBits' ? derive(each, { attribute: changed }) : each;
    });
    const broken = encode('ModelProto', derive(proto, { graph: derive(graph, { node }) })).read();
    expect(thrownBy(() => rewriteModel(modelPath(broken)))).toMatchObject({ code: 'unrewritten' });
  });
});

describe('weights in blocks of 2 bits', () => {
  const quantized = (name: string) =>
    `["${name}_proj"] ${name} = com.microsoft.MatMulNBits <K = 8, N = 8, bits = 2, block_size = 16> (x, ${name}_b, ${name}_s)`;
  const text = variant(ATTENTION, [
    [line('q_proj'), quantized('q')],
    [line('k_proj'), quantized('k')],
    [
      '  float scale',
      '  uint8[8, 1, 4] q_b = {...}, float[8] q_s = {...}, uint8[8, 1, 4] k_b = {...}, float[8] k_s = {...},\n  float scale',
    ],
  ]);
  const bytes = textBytes(text, (_, count) => Array.from({ length: count }, (__, index) => index % 3));

  test.each(['random', 'zero'])('are not written anew: %s', (init) => {
    const error = thrownBy(() => rewriteModel(modelPath(bytes), { init }));
    expect(error).toMatchObject({ code: 'unrewritten', reasons: ['projection-form'] });
    expect(error.message).toContain('2 bits, which --init mirror and preserve copy');
  });

  test('are copied', () => {
    const { model } = rewriteModel(modelPath(bytes), { init: 'mirror' });
    const stored = (end: string) => {
      const value = [...model.graph.values.values()].find(({ name }) => name.endsWith(end));
      return value?.initializer && model.bytes(value.initializer);
    };
    expect(stored('q2_proj.weight')).toEqual(stored('q_b'));
    expect(stored('q2_proj.weight')).toBeDefined();
  });
});

test('values of more heads than there are for any query', () => {
  const text = `<ir_version: 10, opset_import: ["" : 23]>
    g (float[B, S, 8] x) => (float[B, 2, S, 4] y) <
      float[8, 8] wq = {...}, float[8, 8] wk = {...}, int64[4] heads = {0, 0, 2, 4}, int64[4] many = {1, 1000, 1, 4}
    > {
      q = MatMul (x, wq)
      k = MatMul (x, wk)
      q_BSHD = Reshape (q, heads)
      k_BSHD = Reshape (k, heads)
      Q = Transpose <perm = [0, 2, 1, 3]> (q_BSHD)
      K = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)
      V = Reshape (x, many)
      y = Attention (Q, K, V)
    }`;
  const error = thrownBy(() => rewriteText(text, { splitHeads: true }));
  expect(error).toMatchObject({ code: 'unrewritten', reasons: ['heads-do-not-divide'] });
});

describe('functions without end', () => {
  const functions = (bodies: readonly string[]) =>
    bodies
      .map(
        (body, index) => `<opset_import: ["": 17, "own": 1], domain: "own"> f${index} (a) => (b) { ${body} }`,
      )
      .join('\n');
  const calling = (name: string) =>
    variant(ATTENTION, [
      ['"com.microsoft" : 1', '"com.microsoft" : 1, "own" : 1'],
      [
        line('o_proj'),
        `["o_proj"] z = MatMul (C_BSE, "layers.0.attn.o_proj.weight")\n  ["call"] y = own.${name} (z)`,
      ],
    ]);

  test.each([
    ['that call themselves', ['b = own.f0 (a)']],
    ['that call one another', ['b = own.f1 (a)', 'b = own.f0 (a)']],
  ])('%s', (_, bodies) => {
    const error = thrownBy(() => rewriteText(`${calling('f0')}\n${functions(bodies)}`));
    expect(error).toMatchObject({ code: 'invalid-graph', exitCode: 2 });
    expect(error.message).toContain('calls itself');
  });

  test('that double at every level', () => {
    const bodies = [
      'b = Neg (a)',
      ...Array.from({ length: 40 }, (_, n) => `c = own.f${n} (a) b = own.f${n} (c)`),
    ];
    const error = thrownBy(() => rewriteText(`${calling('f40')}\n${functions(bodies)}`));
    expect(error).toMatchObject({ code: 'invalid-graph', exitCode: 2 });
    expect(error.message).toContain('nodes');
  });
});

test('values that are declared wider than any can be', () => {
  const text = variant(ATTENTION, [
    ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, 2, S, 99999999999] V)'],
    [line('v_heads'), ''],
  ]);
  const error = thrownBy(() => rewriteText(text));
  expect(error).toMatchObject({ code: 'unrewritten', reasons: ['heads-unknown'] });
});

test('a node of the domain of diffx without its function', () => {
  const text = variant(ATTENTION, [
    ['"com.microsoft" : 1', '"com.microsoft" : 1, "ai.diffx" : 1'],
    [line('o_proj'), `${line('o_proj')}\n  ["left"] z = ai.diffx.DifferentialAttention (y)`],
  ]);
  const error = thrownBy(() => rewriteText(text));
  expect(error).toMatchObject({ code: 'already-differential', exitCode: 2 });
  expect(error.message).toContain("'left'");
});

test.each(['Identity', 'Cast <to = 1>'])('a scale behind ten thousand nodes: %s', (operator) => {
  const chain = Array.from(
    { length: 12_000 },
    (_, index) => `s${index} = ${operator} (${index === 0 ? 'scale' : `s${index - 1}`})`,
  );
  const text = variant(ATTENTION, [
    [line('scaled'), `${chain.join('\n')}\n["scaled"] S = Mul (raw, s11999)`],
  ]);
  expect(inspectModel(modelPath(textBytes(text))).attentions).toMatchObject([{ scale: '0.5' }]);
});
