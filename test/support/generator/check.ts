/** Rewrites random models, and compares what ONNX Runtime makes of them with the float64 reference. */
import { passes } from '../../../passes';
import { load, save } from '../../../src/ir';
import { parseText } from '../../../src/ir/text';
import { derive, encode, memoryBytes, modelBytes, parseModel } from '../../../src/onnx';
import { encodeFloats } from '../../../src/onnx/floats';
import { type RewriteSettings, resolveOptions } from '../../../src/rewrite/options';
import { runRewrite } from '../../../src/rewrite/run';
import { randomFill } from '../fixtures';
import { graphOf } from '../models';
import { floatTensor, largestDifference, runModel, type Tensors } from '../run';
import { type AddedNumbers, expectedResults } from './expected';
import type { RandomModel } from './model';
import { type LinearNumbers, rounded } from './numbers';
import { type AttentionCase, sizesOf } from './plan';

/** A rewrite, and what it must give. */
export interface Rewritten {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly feeds: Tensors;
  readonly expected: Tensors;
}

/** Largest differences allowed, absolute: values are of size 1 to 10. */
const TOLERANCE = 2e-4;
const HALF_TOLERANCE = 6e-2;

/** Epsilon of norms. */
const EPSILON = 1e-3;

export function modelBytesOf({ text, fill }: Pick<RandomModel, 'text' | 'fill'>): Uint8Array {
  return encode('ModelProto', parseText(text, { fill })).read();
}

/** Runs a model; fails where outputs differ from what is expected. */
export async function compareRun(
  { half }: AttentionCase,
  { what, bytes, feeds, expected }: Rewritten,
): Promise<void> {
  // ONNX Runtime's optimizer of layouts crashes on some float16 graphs, also on such that nobody rewrote
  const actual = await runModel(bytes, feeds, { optimization: half ? 'extended' : 'all' });
  const tolerance = half ? HALF_TOLERANCE : TOLERANCE;
  for (const [name, tensor] of Object.entries(expected)) {
    const got = actual[name];
    const error = got ? largestDifference(tensor, got) : Number.NaN;
    if (!(error <= tolerance)) throw new Error(`${what}: ${name} is off by ${error}, allowed ${tolerance}`);
  }
}

/** The model as it is, with what it must give: that the generator writes what the reference computes. */
export function originalOf(random: RandomModel): Rewritten {
  return {
    what: 'the original',
    bytes: modelBytesOf(random),
    feeds: random.feeds(),
    expected: random.outputs(expectedResults(random.plan, random.numbers)),
  };
}

export type Mode = 'duplicate' | 'split' | 'zero' | 'paper' | 'diffllama' | 'v2';

/** What each mode asks for. */
const MODES: Readonly<Record<Mode, RewriteSettings>> = {
  duplicate: {},
  split: { splitHeads: true },
  zero: { init: 'zero', sublayerNorm: false },
  paper: { preset: 'paper' },
  diffllama: { preset: 'diffllama' },
  v2: { preset: 'v2' },
};

/** The modes that a case can be rewritten in. */
export function modesFor({ kvHeads, order }: AttentionCase): readonly Mode[] {
  if (kvHeads % 2 === 1) return ['duplicate', 'zero', 'v2'];
  // values that are stored side by side and tiled: nobody has said what that is
  const adjacent: readonly Mode[] = order === 'tiled' ? [] : ['paper'];
  return ['duplicate', 'zero', 'v2', 'split', 'diffllama', ...adjacent];
}

/** Rewrites the model in a mode and fills everything new with random numbers. Fails unless all attentions are rewritten. */
export function rewriteRandom(random: RandomModel, mode: Mode): Rewritten {
  const { plan } = random;
  const chooses = mode === 'duplicate' || mode === 'split';
  const norm = mode === 'paper' || mode === 'diffllama' || (chooses && plan.sublayerNorm);
  const mixInput = mode !== 'zero' && plan.mix;
  const settings: RewriteSettings = {
    ...MODES[mode],
    emit: plan.emit,
    mixInput,
    ...(chooses ? { sublayerNorm: norm } : {}),
    ...(norm ? { normEps: EPSILON } : {}),
  };
  const file = parseModel(modelBytesOf(random), { name: 'random.onnx' });
  const model = load(file);
  const output = runRewrite(model, passes, resolveOptions(settings), {
    sourceHash: () => '0'.repeat(64),
    version: 'test',
  });
  if (output.found.sites.length !== plan.layers || output.layers.length !== plan.layers) {
    throw new Error(
      `${output.found.sites.length} found, ${output.layers.length} rewritten of ${plan.layers}`,
    );
  }
  const proto = save(model);
  const mix = mixInput ? 0.75 : 1;
  const numbers = mode === 'zero' ? undefined : addedNumbers(random, mode, norm, mix);
  const bytes = modelBytes(proto, {
    name: 'random.onnx',
    tensorBytes: (tensor) => file.tensorBytes(tensor),
  }).read();
  const expected = expectedResults(plan, random.numbers, numbers?.added);
  const past2 =
    mode !== 'duplicate' && mode !== 'zero'
      ? undefined
      : random.numbers.layers.map((_, i) => pastKeys2(random, i));
  const outputs = random.outputs(expected);
  return {
    what: `${mode}${norm ? ' with norm' : ''}${mixInput ? ' with mix' : ''}`,
    bytes: numbers ? withNumbers(bytes, numbers.stored) : bytes,
    feeds: { ...random.feeds(past2), diff_attn_mix: floatTensor([], [mix]) },
    // with zero weights the doubled keys are not those of the original
    expected: mode === 'zero' ? withoutKeys(outputs) : outputs,
  };
}

function withoutKeys(outputs: Tensors): Tensors {
  return Object.fromEntries(Object.entries(outputs).filter(([name]) => !name.endsWith('.key')));
}

function pastKeys2({ plan }: RandomModel, layer: number): Float64Array {
  const { B = 0, g = 0, P = 0, d = 0 } = sizesOf(plan);
  return rounded(plan, randomFill(plan.seed + 7)(`${layer}.past keys 2`, B * g * P * d));
}

interface Added {
  readonly added: readonly AddedNumbers[];
  /** By parameter name. */
  readonly stored: ReadonlyMap<string, Float64Array>;
}

/** Random numbers for everything that a rewrite adds, but lambda_init, which follows from the depth. */
function addedNumbers(random: RandomModel, mode: Exclude<Mode, 'zero'>, norm: boolean, mix: number): Added {
  const { plan } = random;
  const { g = 0, r = 0, d = 0, e = 0, M = 0 } = sizesOf(plan);
  const stored = new Map<string, Float64Array>();
  const fill = randomFill(plan.seed + 7);
  const added = random.numbers.layers.map((layer, index): AddedNumbers => {
    const store = (name: string, count: number, spread: number, middle = 0, half = plan.half) => {
      const key = `layers.${index}.attn.${name}`;
      const values = rounded(
        { ...plan, half },
        Array.from(fill(key, count), (value) => middle + spread * value),
      );
      stored.set(key, values);
      return values;
    };
    const linear = (name: string, out: number, { bias }: LinearNumbers) => ({
      weight: store(`${name}.weight`, out * M, 0.8),
      bias: bias || packedBias(plan) ? store(`${name}.bias`, out, 0.5) : undefined,
    });
    const lambda = mode === 'v2' ? store('lambda_proj.weight', g * r * M, 0.5) : lambdaOf(store, d, index);
    const width = mode === 'duplicate' ? e : 2 * e;
    const weight = norm && mode !== 'diffllama' ? store('subln.weight', width, 0.5, 1) : undefined;
    return {
      q2: mode === 'duplicate' || mode === 'v2' ? linear('q2_proj', g * r * d, layer.q) : undefined,
      k2: mode === 'duplicate' ? linear('k2_proj', g * d, layer.k) : undefined,
      pastKeys2: pastKeys2(random, index),
      lambda,
      mix,
      pairs: mode === 'paper' ? 'adjacent' : 'halves',
      norm: norm ? { weight, epsilon: EPSILON } : undefined,
      factor: mode === 'paper' || mode === 'diffllama' ? 1 - initialLambda(index) : 1,
    };
  });
  return { added, stored };
}

function initialLambda(layer: number): number {
  return 0.8 - 0.6 * Math.exp(-0.3 * layer);
}

/** lambda of a layer from its vectors, which are float32 whatever the model is. */
function lambdaOf(
  store: (name: string, count: number, spread: number, middle: number, half: boolean) => Float64Array,
  width: number,
  layer: number,
): number {
  // lambda stays away from 1, where the norm would magnify what rounding leaves of the difference
  const vector = (name: string) => store(name, width, 0.35, 0, false);
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
  const first = dot(vector('lambda_q1'), vector('lambda_k1'));
  const second = dot(vector('lambda_q2'), vector('lambda_k2'));
  return Math.exp(first) - Math.exp(second) + initialLambda(layer);
}

/** Layers without bias that are packed with others that have one. */
function packedBias({ packing, biases, form }: AttentionCase): boolean {
  return biases !== 'none' && (packing !== 'separate' || form === 'packed Attention');
}

/** A model with these numbers in its initializers; every one of them must be there with as many elements. */
export function withNumbers(model: Uint8Array, numbers: ReadonlyMap<string, Float64Array>): Uint8Array {
  const { proto } = parseModel(model);
  const graph = graphOf(proto);
  const left = new Set(numbers.keys());
  const initializer = graph.initializer.map((tensor) => {
    const values = numbers.get(tensor.name ?? '');
    if (!values) return tensor;
    left.delete(tensor.name ?? '');
    const count = tensor.dims.reduce((all, size) => all * Number(size), 1);
    if (count !== values.length)
      throw new Error(`${tensor.name} has ${count} elements, not ${values.length}`);
    const bytes = encodeFloats(tensor.dataType as 1, Float32Array.from(values));
    return derive(tensor, { floatData: [], int32Data: [], rawData: memoryBytes(bytes) });
  });
  if (left.size > 0) throw new Error(`the rewrite did not add ${[...left].join(', ')}`);
  return encode('ModelProto', derive(proto, { graph: derive(graph, { initializer }) })).read();
}
