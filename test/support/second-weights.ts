/** Random weights for what a rewrite adds: neither zero, nor mirrored, nor function-keeping, which hide mistakes. */
import * as path from 'node:path';
import { type RewriteOutput, rewrittenBytes } from '../../src/api/rewrite';
import { derive, encode, memoryBytes, parseModel } from '../../src/onnx';
import { encodeFloats } from '../../src/onnx/floats';
import type { Architecture, KnownAttention } from './exports';
import { randomFill, temporaryFolder } from './fixtures';
import { graphOf } from './models';
import { floatTensor, numbersOf, type Tensors, writeTensors } from './run';

/** Hidden size of every model in fixtures/exports. */
const HIDDEN = 32;

/** Weights from -scale to scale. Where the input of the attention is not normalised, small ones would not matter. */
function scaleOf(architecture: string): number {
  return architecture === 'timm_vit-custom' ? 4 : 0.4;
}

/**
 * Parameters of one attention under the names of SPEC section 2, without the path: second projections [out, in], lambda
 * vectors that make lambda clearly differ from lambda_init, and a norm weight of the given width.
 */
function parametersOf(
  { path: module, heads, kvHeads, headWidth }: KnownAttention,
  bias: boolean,
  scale: number,
  normWidth: number | undefined,
): Tensors {
  const draw = randomFill(1);
  const random = (name: string, shape: readonly number[], spread: number, middle = 0) => {
    const count = shape.reduce((all, size) => all * size, 1);
    const values = Array.from(draw(`${module}.${name}`, count), (value) => middle + spread * value);
    return [name, floatTensor(shape, values)] as const;
  };
  const [q, k] = [heads * headWidth, kvHeads * headWidth];
  return Object.fromEntries([
    random('q2_proj.weight', [q, HIDDEN], scale),
    random('k2_proj.weight', [k, HIDDEN], scale),
    ...(bias ? [random('q2_proj.bias', [q], scale), random('k2_proj.bias', [k], scale)] : []),
    ...['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2'].map((name) => random(name, [headWidth], 0.5)),
    random('lambda_init', [], 0.2, 0.6),
    ...(normWidth === undefined ? [] : [random('subln.weight', [normWidth], 0.5, 1)]),
  ]);
}

export interface SecondWeights {
  /** The checkpoint. */
  readonly file: string;
  /** Its parameters by layer, without the path. */
  readonly layers: readonly Tensors[];
}

/** A checkpoint of random second weights for an architecture. `normWidth`: width of the sublayer norm, if there is one. */
export function secondWeights({ name, attention, bias }: Architecture, normWidth?: number): SecondWeights {
  const layers = attention.map((each) => parametersOf(each, bias, scaleOf(name), normWidth));
  const all = attention.flatMap(({ path: module }, layer) =>
    Object.entries(layers[layer] ?? {}).map(([key, tensor]) => [`${module}.${key}`, tensor] as const),
  );
  const file = path.join(temporaryFolder(), `${name}-${normWidth ?? 'none'}.safetensors`);
  writeTensors(file, Object.fromEntries(all));
  return { file, layers };
}

/** lambda of a layer in float64: exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2) + lambda_init. */
export function lambdaOf(layer: Tensors): number {
  const dot = (a: string, b: string) => {
    const other = numbersOf(layer[b]);
    return numbersOf(layer[a]).reduce((sum, value, i) => sum + value * (other[i] ?? Number.NaN), 0);
  };
  const [init = Number.NaN] = numbersOf(layer['lambda_init']);
  return Math.exp(dot('lambda_q1', 'lambda_k1')) - Math.exp(dot('lambda_q2', 'lambda_k2')) + init;
}

/** What the numbers of a parameter lie around, and how far they lie from it; second weights and biases: from -0.4 to 0.4. */
const SPREADS: Readonly<Record<string, readonly [middle: number, spread: number]>> = {
  'subln.weight': [1, 0.5],
  lambda_init: [0.6, 0.2],
  lambda_q1: [0, 0.5],
  lambda_k1: [0, 0.5],
  lambda_q2: [0, 0.5],
  lambda_k2: [0, 0.5],
};

/**
 * The bytes of a rewritten model in which everything new has random numbers, by layer and name: the same ones in every
 * export of an architecture.
 */
export function randomParameters(output: RewriteOutput): Uint8Array {
  const { proto } = parseModel(rewrittenBytes(output).read());
  const graph = graphOf(proto);
  const draw = randomFill(4);
  const initializer = graph.initializer.map((tensor) => {
    const name = tensor.name ?? '';
    const layer = output.layers.findIndex(({ path: module }) => name.startsWith(`${module}.`));
    const suffix = name.slice((output.layers[layer]?.path.length ?? 0) + 1);
    if (layer < 0 || !/^(q2_proj|k2_proj|lambda_|subln)/.test(suffix)) return tensor;
    const [middle, spread] = SPREADS[suffix] ?? [0, 0.4];
    const count = tensor.dims.reduce((all, size) => all * Number(size), 1);
    const values = draw(`${layer}.${suffix}`, count).map((value) => middle + spread * value);
    return derive(tensor, {
      floatData: [],
      rawData: memoryBytes(encodeFloats(tensor.dataType as 1, values)),
    });
  });
  return encode('ModelProto', derive(proto, { graph: derive(graph, { initializer }) })).read();
}
