/**
 * A Llama in float64 around the reference's attention, for the golden conversions of fixtures/golden: what
 * transformers' modeling_llama.py computes, with the attention that the case's preset puts in its place.
 */
import { readFileSync } from 'node:fs';
import { onnx } from 'onnx-proto';
import { DataType } from '../../../src/onnx/data-types';
import { decodeFloats } from '../../../src/onnx/floats';
import {
  type Array64,
  array64,
  differentialAttention,
  lambdaInit,
  lambdaOf,
  repeatHeads,
  rmsNorm,
  scores,
  softmax,
  splitDifferentialAttention,
} from '../../../src/verify/reference';
import { openSafetensors } from '../../../src/weights/checkpoint';
import type { GoldenCase } from '../../support/fixtures';

/** Parameters by name; matrices are [out, in]. */
type Parameters = (name: string) => Array64 | undefined;

/** What the attention modules of a converted model need beside their input: constants of one run. */
interface Run {
  readonly B: number;
  readonly S: number;
  /** Causal and padding mask, [B, 1, S, S], 0 or -Infinity. */
  readonly mask: Array64;
  readonly parameters: Parameters;
  readonly golden: GoldenCase;
}

/** The converted model's logits, [B, S, vocabulary]. */
export function goldenLogits(golden: GoldenCase): Array64 {
  const { ids, B, S, mask } = readInputs(golden.io);
  const parameters = readParameters(golden);
  const run = { B, S, mask, parameters, golden };
  const eps = golden.settings.rms_norm_eps;
  const norm = (x: Array64, name: string) => rmsNorm(x, eps, need(parameters, `${name}.weight`).data);
  const embeddings = need(parameters, 'model.embed_tokens.weight');
  const width = embeddings.shape[1] as number;
  let x = array64(
    [B, S, width],
    ids.flatMap((id) => Array.from(embeddings.data.subarray(id * width, (id + 1) * width))),
  );
  for (let layer = 0; layer < golden.settings.layers; layer++) {
    const path = `model.layers.${layer}`;
    x = add(x, attention(run, layer, norm(x, `${path}.input_layernorm`)));
    const h = norm(x, `${path}.post_attention_layernorm`);
    const gate = linear(h, parameters, `${path}.mlp.gate_proj`);
    const up = linear(h, parameters, `${path}.mlp.up_proj`);
    const product = up.data.map((value, i) => {
      const g = gate.data[i] as number;
      return (value * g) / (1 + Math.exp(-g));
    });
    x = add(x, linear({ shape: up.shape, data: product }, parameters, `${path}.mlp.down_proj`));
  }
  return linear(norm(x, 'model.norm'), parameters, 'lm_head');
}

function attention(run: Run, layer: number, x: Array64): Array64 {
  const { parameters, golden, S } = run;
  const { preset, heads, heads_base: h, kv_heads_base: g, head_dim: d, ...settings } = golden.settings;
  const path = `model.layers.${layer}.self_attn`;
  const project = (name: string, count: number) =>
    heads_BHSD(linear(x, parameters, `${path}.${name}`), count);
  const copies = heads === 'duplicate' ? 2 : 1;
  const Q = rotary(project('q_proj', h * copies));
  const K = rotary(project('k_proj', preset === 'v2' ? g : g * copies));
  const V = project('v_proj', g);
  const map = (q: Array64, k: Array64) =>
    softmax(scores(q, repeatHeads(k, q.shape[1] as number), 1 / Math.sqrt(d), run.mask));
  const init = parameters(`${path}.lambda_init`)?.data[0] ?? lambdaInit(layer);
  const weight = parameters(`${path}.subln.weight`)?.data;
  const rest = {
    mix: settings.diffAttnMix ?? 1,
    norm: settings.sublayerNorm ? { eps: settings.rms_norm_eps, ...(weight ? { weight } : {}) } : undefined,
    timesOneMinusLambdaInit: preset === 'paper' || preset === 'diffllama' ? init : undefined,
    gain: 1,
  };
  const vector = (name: string) => need(parameters, `${path}.${name}`).data;
  const lambda = () =>
    lambdaOf({
      lambda_q1: vector('lambda_q1'),
      lambda_k1: vector('lambda_k1'),
      lambda_q2: vector('lambda_q2'),
      lambda_k2: vector('lambda_k2'),
      lambda_init: init,
    });
  let C: Array64;
  if (preset === 'v2') {
    // Heads 2i and 2i + 1 of the 2h query heads; lambda = sigmoid(x W), [B, S, h] seen as [B, h, S, 1].
    const A = map(Q, K);
    const sigmoid = linear(x, parameters, `${path}.lambda_proj`);
    const perToken = { shape: sigmoid.shape, data: sigmoid.data.map((value) => 1 / (1 + Math.exp(-value))) };
    const [A1_BHST, A2_BHST] = [0, 1].map((odd) => takeHeads(A, h, (i) => 2 * i + odd)) as [Array64, Array64];
    C = differentialAttention({
      ...rest,
      A1_BHST,
      A2_BHST,
      V_BHTD: repeatHeads(V, h),
      lambda: heads_BHSD(perToken, h),
    });
  } else if (heads === 'split') {
    const pairing = preset === 'paper' ? 'adjacent' : 'halves';
    C = splitDifferentialAttention({ ...rest, A_BHST: map(Q, K), V_BGTD: V, pairing, lambda: lambda() });
  } else {
    const [A1_BHST, A2_BHST] = [0, 1].map((negative) =>
      map(
        takeHeads(Q, h, (i) => i + negative * h),
        takeHeads(K, g, (i) => i + negative * g),
      ),
    ) as [Array64, Array64];
    C = differentialAttention({ ...rest, A1_BHST, A2_BHST, V_BHTD: repeatHeads(V, h), lambda: lambda() });
  }
  return linear(merge(C, S), parameters, `${path}.o_proj`);
}

/** Inputs of a case; the mask is 0 where the key is a token and not after the query. */
function readInputs(io: string): { ids: number[]; B: number; S: number; mask: Array64 } {
  const file = openSafetensors(io);
  const numbers = (name: string) => {
    const bytes = file.get(name)?.data.read().slice() ?? new Uint8Array();
    return Array.from(new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8), Number);
  };
  const [B = 0, S = 0] = file.get('input.input_ids')?.shape ?? [];
  const tokens = numbers('input.attention_mask');
  const mask = new Float64Array(B * S * S).map((_, i) => {
    const [t, s, b] = [i % S, Math.floor(i / S) % S, Math.floor(i / (S * S))];
    return t <= s && tokens[b * S + t] === 1 ? 0 : Number.NEGATIVE_INFINITY;
  });
  return { ids: numbers('input.input_ids'), B, S, mask: array64([B, 1, S, S], mask) };
}

/** The base model's parameters, from names or from the nodes that use them, and the case's own before them. */
function readParameters({ models, attention }: GoldenCase): Parameters {
  const all = new Map<string, Array64>();
  const model = onnx.ModelProto.decode(readFileSync(models.torchscript));
  const byName = new Map((model.graph?.initializer ?? []).map((tensor) => [tensor.name ?? '', tensor]));
  for (const [name, tensor] of byName) all.set(name.replace(/^m\./, ''), arrayOf(tensor));
  for (const { opType, name, input } of model.graph?.node ?? []) {
    const tensor = byName.get(input?.[1] ?? '');
    const path = /^\/m\/(.*)\/MatMul$/.exec(name ?? '')?.[1];
    if (opType !== 'MatMul' || !tensor || path === undefined) continue;
    all.set(`${path.replaceAll('/', '.')}.weight`, transposed(arrayOf(tensor)));
  }
  const own = openSafetensors(attention);
  for (const name of own.names) {
    const { shape, data } = own.get(name) ?? { shape: [], data: { read: () => new Uint8Array() } };
    all.set(name, array64(shape, decodeFloats(DataType.FLOAT, data.read())));
  }
  return (name) => all.get(name);
}

function arrayOf(tensor: onnx.ITensorProto): Array64 {
  const bytes = tensor.rawData ?? new Uint8Array();
  const numbers = tensor.dataType === DataType.FLOAT ? decodeFloats(DataType.FLOAT, bytes) : [];
  return { shape: (tensor.dims ?? []).map(Number), data: Float64Array.from(numbers) };
}

function transposed({ shape, data }: Array64): Array64 {
  const [rows, columns] = shape as [number, number];
  return array64(
    [columns, rows],
    data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number),
  );
}

function need(parameters: Parameters, name: string): Array64 {
  const found = parameters(name);
  if (!found) throw new Error(`no parameter ${name}`);
  return found;
}

function add(a: Array64, b: Array64): Array64 {
  return { shape: a.shape, data: a.data.map((value, i) => value + (b.data[i] as number)) };
}

/** x W^T, and the bias where there is one. */
function linear(x: Array64, parameters: Parameters, name: string): Array64 {
  const weight = need(parameters, `${name}.weight`);
  const bias = parameters(`${name}.bias`);
  const [out, width] = weight.shape as [number, number];
  const shape = [...x.shape.slice(0, -1), out];
  const data = new Float64Array((x.data.length / width) * out).map((_, i) => {
    const [row, column] = [Math.floor(i / out), i % out];
    let sum = bias?.data[column] ?? 0;
    for (let k = 0; k < width; k++)
      sum += (x.data[row * width + k] as number) * (weight.data[column * width + k] as number);
    return sum;
  });
  return { shape, data };
}

/** [B, S, H * D] to [B, H, S, D]. */
function heads_BHSD(x: Array64, H: number): Array64 {
  const [B, S, width] = x.shape as [number, number, number];
  const D = width / H;
  const data = x.data.map((_, i) => {
    const [d, s, head, b] = [
      i % D,
      Math.floor(i / D) % S,
      Math.floor(i / (D * S)) % H,
      Math.floor(i / (D * S * H)),
    ];
    return x.data[(b * S + s) * width + head * D + d] as number;
  });
  return { shape: [B, H, S, D], data };
}

/** [B, H, S, D] to [B, S, H * D]. */
function merge(C: Array64, S: number): Array64 {
  const [B, H, , D] = C.shape as [number, number, number, number];
  const data = C.data.map((_, i) => {
    const [d, head, s, b] = [
      i % D,
      Math.floor(i / D) % H,
      Math.floor(i / (D * H)) % S,
      Math.floor(i / (D * H * S)),
    ];
    return C.data[((b * H + head) * S + s) * D + d] as number;
  });
  return { shape: [B, S, H * D], data };
}

function takeHeads(x: Array64, count: number, source: (head: number) => number): Array64 {
  const [B, H, X, Y] = x.shape as [number, number, number, number];
  const data = Array.from({ length: B * count }, (_, i) => {
    const from = (Math.floor(i / count) * H + source(i % count)) * X * Y;
    return Array.from(x.data.subarray(from, from + X * Y));
  });
  return array64([B, count, X, Y], data.flat());
}

/** Llama's rotary embedding: the first half of a head turns with the second, base 10000. */
function rotary(x: Array64): Array64 {
  const [, , S, D] = x.shape as [number, number, number, number];
  const half = D / 2;
  const data = x.data.map((value, i) => {
    const d = i % D;
    const angle = (Math.floor(i / D) % S) * 10000 ** (-(d % half) / half);
    const other = d < half ? -(x.data[i + half] as number) : (x.data[i - half] as number);
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
  return { shape: x.shape, data };
}
