/** What is known of the exports in fixtures/exports beside their files. */
import { exportNames } from './fixtures';

/** One attention of an architecture, in the order of the layers. */
export interface KnownAttention {
  /** Module path; exporters put a wrapper in front of it. */
  readonly path: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
}

export interface Architecture {
  /** `<architecture>-<kind>`, as names of exports begin. */
  readonly name: string;
  readonly attention: readonly KnownAttention[];
  /** True where query and key projections have biases. */
  readonly bias: boolean;
}

function twoLayers(name: string, path: (layer: number) => string, bias: boolean, kvHeads = 4): Architecture {
  const attention = [0, 1].map((layer) => ({ path: path(layer), heads: 4, kvHeads, headWidth: 8 }));
  return { name, attention, bias };
}

/** The architectures of issue 2. */
export const architectures: readonly Architecture[] = [
  twoLayers('bert-enc', (i) => `encoder.layer.${i}.attention.self`, true),
  twoLayers('distilbert-enc', (i) => `transformer.layer.${i}.attention`, true),
  twoLayers('roberta-enc', (i) => `encoder.layer.${i}.attention.self`, true),
  twoLayers('vit-vis', (i) => `layers.${i}.attention`, true),
  twoLayers('dinov2-vis', (i) => `encoder.layer.${i}.attention.attention`, true),
  twoLayers('clip_vision_model-vis', (i) => `encoder.layers.${i}.self_attn`, true),
  twoLayers('gpt2-dec', (i) => `transformer.h.${i}.attn`, true),
  twoLayers('llama-dec', (i) => `model.layers.${i}.self_attn`, false, 2),
  twoLayers('qwen2-dec', (i) => `model.layers.${i}.self_attn`, true, 2),
  twoLayers('opt-dec', (i) => `model.decoder.layers.${i}.self_attn`, true),
  twoLayers('nanogpt-custom', (i) => `h.${i}.attn`, true),
  twoLayers('timm_vit-custom', (i) => `blocks.${i}.a`, true),
];

/** More architectures whose queries, keys and values come from one layer. */
export const packedArchitectures: readonly Architecture[] = [
  twoLayers('bloom-dec', (i) => `transformer.h.${i}.self_attention`, true),
  twoLayers('falcon-dec', (i) => `transformer.h.${i}.self_attention`, false, 1),
  twoLayers('mpt-dec', (i) => `transformer.blocks.${i}.attn`, false),
  twoLayers('torch_encoder-custom', (i) => `layers.${i}.self_attn`, true),
  twoLayers('ms-attention', (i) => `model.layers.${i}.attn`, true),
];

/** The exports of an architecture: all forms, and of the variants those that issue 2 promises. */
export function exportsOf(architecture: string): string[] {
  return exportNames().filter(
    (name) => name.startsWith(`${architecture}-`) && !/\+(?!external$|fp16$|ortfused$)/.test(name),
  );
}

/** How far outputs may be off: float16 variants round to three digits. */
export function toleranceOf(name: string, float32: number): number {
  return name.endsWith('+fp16') ? 2e-2 : float32;
}
