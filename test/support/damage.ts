/** Models that something is wrong with, at random but the same in every run. */
import { derive, type GraphProto, type ModelProto, type NodeProto, type TensorProto } from '../../src/onnx';
import { graphOf } from './models';

/** Whole numbers from 0 on, below the one given. */
export type Random = (below: number) => number;

/** A generator of its own for each seed: xorshift32. */
export function randomOf(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435761) >>> 0 || 1;
  return (below) => {
    for (const [left, by] of [
      [true, 13],
      [false, 17],
      [true, 5],
    ] as const)
      state = (left ? state ^ (state << by) : state ^ (state >>> by)) >>> 0;
    return state % below;
  };
}

const OPERATORS =
  'Add MatMul Softmax Reshape Transpose Gather Slice Concat Split Shape Cast Where Einsum Gemm Unsqueeze Identity Mul ' +
  'Expand If Loop Attention DequantizeLinear MatMulInteger Constant Range ReduceSum Pad Tile Conv Exp Unknown';

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)] as T;
}

function sized(random: Random, value: bigint): bigint {
  return pick(random, [0n, 1n, -1n, 3n, 7n, value + 1n, value * 2n, 1_000_000_007n, 9223372036854775807n]);
}

/** What may be wrong with a node. */
const NODE_DAMAGES: readonly ((node: NodeProto, random: Random, names: readonly string[]) => NodeProto)[] = [
  (node, random, names) =>
    derive(node, { input: node.input.map((name) => (random(2) ? name : pick(random, ['', ...names]))) }),
  (node) => derive(node, { input: [...node.input].reverse() }),
  (node) => derive(node, { input: [] }),
  (node) => derive(node, { input: [...node.input, ...node.input] }),
  (node, random) => derive(node, { opType: pick(random, OPERATORS.split(' ')) }),
  (node, random) => derive(node, { domain: pick(random, ['com.microsoft', 'ai.diffx', 'own', '']) }),
  (node) => derive(node, { attribute: [] }),
  (node, random) =>
    derive(node, {
      attribute: node.attribute.map((each) =>
        derive(each, {
          ...(each.i === undefined ? {} : { i: sized(random, each.i) }),
          ...(each.ints.length === 0 ? {} : { ints: each.ints.map((value) => sized(random, value)) }),
        }),
      ),
    }),
  (node, random) => derive(node, { output: node.output.slice(0, random(node.output.length + 1)) }),
];

/** What may be wrong with a weight. */
const WEIGHT_DAMAGES: readonly ((tensor: TensorProto, random: Random) => TensorProto)[] = [
  (tensor, random) =>
    derive(tensor, { dims: tensor.dims.map((dim) => (random(2) ? dim : sized(random, dim))) }),
  (tensor) => derive(tensor, { dims: [] }),
  (tensor, random) => derive(tensor, { dataType: random(30) }),
  (tensor) => derive(tensor, { rawData: undefined }),
];

/** What may be wrong with a graph as a whole. */
const GRAPH_DAMAGES: readonly ((graph: GraphProto, random: Random) => GraphProto)[] = [
  (graph, random) =>
    derive(graph, { node: graph.node.filter((_, index) => index !== random(graph.node.length)) }),
  (graph, random) =>
    derive(graph, { node: graph.node.flatMap((node) => (random(9) ? [node] : [node, node])) }),
  (graph, random) => derive(graph, { node: [...graph.node].sort(() => random(3) - 1) }),
  (graph, random) =>
    derive(graph, { initializer: graph.initializer.slice(random(graph.initializer.length)) }),
  (graph, random) => derive(graph, { output: graph.output.slice(0, random(graph.output.length + 1)) }),
  (graph) =>
    derive(graph, { valueInfo: [], input: graph.input.map((each) => derive(each, { type: undefined })) }),
  (graph, random) =>
    derive(graph, {
      input: graph.input.map((each) => {
        const dim = Array.from({ length: random(5) }, () => ({
          dimValue: pick(random, [0n, -1n, 5n, 99999999999n]),
        }));
        return derive(each, { type: { tensorType: { elemType: random(20), shape: { dim } } } });
      }),
    }),
];

function replaced<T>(all: readonly T[], random: Random, change: (one: T) => T): T[] {
  const at = random(Math.max(all.length, 1));
  return all.map((each, index) => (index === at ? change(each) : each));
}

/** Damages a model in one to three places. */
export function damaged(model: ModelProto, random: Random): ModelProto {
  let graph = graphOf(model);
  for (let count = 1 + random(3); count > 0; count--) {
    const names = graph.node.flatMap(({ output }) => output);
    const kind = random(3);
    if (kind === 0) graph = pick(random, GRAPH_DAMAGES)(graph, random);
    else if (kind === 1) {
      const damage = pick(random, NODE_DAMAGES);
      graph = derive(graph, { node: replaced(graph.node, random, (node) => damage(node, random, names)) });
    } else {
      const damage = pick(random, WEIGHT_DAMAGES);
      graph = derive(graph, {
        initializer: replaced(graph.initializer, random, (tensor) => damage(tensor, random)),
      });
    }
  }
  return derive(model, { graph });
}
