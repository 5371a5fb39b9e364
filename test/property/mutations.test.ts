/** The test of random attentions can fail: rewritten models that are damaged a little do not pass it. */

import { derive, encode, type GraphProto, memoryBytes, type NodeProto, parseModel } from '../../src/onnx';
import { compareRun, type Mode, rewriteRandom } from '../support/generator/check';
import { randomModel } from '../support/generator/model';
import { type AttentionCase, attentionCases, sizesOf } from '../support/generator/plan';
import { graphOf } from '../support/models';
import fc from '../support/properties';

/** Cases in which every part matters: several keys, two heads or more, no half precision. */
const plans = fc.sample(
  attentionCases.filter(
    (plan) =>
      (sizesOf(plan)['T'] ?? 0) > 2 &&
      plan.kvHeads === 2 &&
      plan.length > 1 &&
      plan.mask === 'none' &&
      plan.emit === 'function' &&
      plan.sublayerNorm &&
      !plan.half,
  ),
  { numRuns: 6, seed: 3 },
);

interface Damage {
  readonly what: string;
  readonly modes: readonly Mode[];
  readonly edit: (graph: GraphProto, plan: AttentionCase) => GraphProto;
}

/** Changes the floats of the initializers whose names end so; at least one. */
function changed(
  graph: GraphProto,
  suffix: string,
  change: (values: Float32Array) => Float32Array,
): GraphProto {
  let count = 0;
  const initializer = graph.initializer.map((tensor) => {
    if (!tensor.name?.endsWith(suffix)) return tensor;
    count++;
    const bytes = tensor.rawData?.read();
    if (!bytes) throw new Error(`${tensor.name} is not stored as bytes`);
    const values = change(new Float32Array(bytes.slice().buffer));
    return derive(tensor, { rawData: memoryBytes(new Uint8Array(values.buffer)) });
  });
  if (count === 0) throw new Error(`no ${suffix}`);
  return derive(graph, { initializer });
}

/** Changes the nodes that a test picks; at least one. */
function edited(graph: GraphProto, edit: (node: NodeProto) => NodeProto | undefined): GraphProto {
  let count = 0;
  const node = graph.node.map((each) => {
    const next = edit(each);
    if (next) count++;
    return next ?? each;
  });
  if (count === 0) throw new Error('no such node');
  return derive(graph, { node });
}

/** The first rows behind the last ones. */
function halvesExchanged(values: Float32Array): Float32Array {
  const half = values.length / 2;
  return Float32Array.from(values, (_, i) => values[(i + half) % values.length] ?? 0);
}

function exchanged<T>(list: readonly T[], a: number, b: number): T[] {
  const at = (i: number) => (i === a ? b : i === b ? a : i);
  return list.flatMap((_, i) => list.slice(at(i), at(i) + 1));
}

const damages: readonly Damage[] = [
  {
    what: 'heads of the second queries exchanged',
    modes: ['duplicate'],
    edit: (graph) => changed(graph, '.q2_proj.weight', halvesExchanged),
  },
  {
    what: 'heads of the second keys exchanged',
    modes: ['duplicate'],
    edit: (graph) => changed(graph, '.k2_proj.weight', halvesExchanged),
  },
  {
    what: 'second queries a tenth larger, as a forgotten scale would make them',
    modes: ['duplicate'],
    edit: (graph) => changed(graph, '.q2_proj.weight', (values) => values.map((value) => 1.1 * value)),
  },
  {
    what: 'another lambda',
    modes: ['duplicate', 'split'],
    edit: (graph) => changed(graph, '.lambda_init', (values) => values.map((value) => value + 0.01)),
  },
  {
    what: 'the weight of the norm turned round',
    modes: ['duplicate', 'split'],
    edit: (graph) => changed(graph, '.subln.weight', (values) => values.reverse()),
  },
  {
    what: 'positive and negative component exchanged',
    modes: ['duplicate', 'split'],
    edit: (graph) =>
      edited(graph, (node) => {
        if (node.domain !== 'ai.diffx') return undefined;
        const [a, b] = node.opType === 'DifferentialAttention' ? [0, 2] : [0, 1];
        const once = exchanged(node.input, a ?? 0, b ?? 0);
        return derive(node, {
          input: node.opType === 'DifferentialAttention' ? exchanged(once, 1, 3) : once,
        });
      }),
  },
  {
    what: 'the negative component left out',
    modes: ['duplicate', 'split'],
    edit: (graph) =>
      ['.lambda_init', '.lambda_q1', '.lambda_q2'].reduce((all, name) => changed(all, name, zero), graph),
  },
];

function zero(values: Float32Array): Float32Array {
  return values.fill(0);
}

describe.each(damages)('$what', ({ modes, edit }) => {
  test.each(modes)('%s', async (mode) => {
    for (const plan of plans) {
      const rewritten = rewriteRandom(randomModel(plan), mode);
      await compareRun(plan, rewritten);
      const { proto } = parseModel(rewritten.bytes);
      const damaged = derive(proto, { graph: edit(graphOf(proto), plan) });
      const bytes = encode('ModelProto', damaged).read();
      await expect(compareRun(plan, { ...rewritten, bytes })).rejects.toThrow(/ is off by /);
    }
  });
});
