/** Options of execution providers, and what becomes of them in onnxruntime-node. */
import type { Provider } from './names';

export interface ProviderOption {
  readonly values: RegExp;
  /** What values it takes, for messages. */
  readonly says: string;
  /** The name under which the binding hands it on, and how it wants it. Without: the binding does not hand it on. */
  readonly binding?: string;
  readonly as?: 'number' | 'text';
  /** Set by other means than the binding. */
  readonly otherwise?: true;
}

const integer = { values: /^\d+$/, says: 'Give a whole number from 0 on.' };
const flag = { values: /^[01]$/, says: 'Give 0 or 1.' };
const anything = { values: /./, says: '' };
function choice(...names: string[]) {
  return { values: new RegExp(`^(${names.join('|')})$`), says: `Give one of ${names.join(', ')}.` };
}

const device = { ...integer, binding: 'deviceId', as: 'number' } as const;
/** NVIDIA's libraries read it from the environment, see `tf32.ts`. */
const tf32 = { ...flag, otherwise: true } as const;
const cache = choice('disabled', 'lazyRelease', 'simple', 'bucket');

/**
 * By ONNX Runtime's names; `*` stands for any ending. onnxruntime-node 1.30 hands on the number of the device of CUDA
 * and TensorRT, and nothing else (js/node/src/session_options_helper.cc).
 */
export const OPTIONS: Readonly<Record<Provider, Readonly<Record<string, ProviderOption>>>> = {
  cpu: {},
  cuda: {
    device_id: device,
    use_tf32: tf32,
    gpu_mem_limit: integer,
    arena_extend_strategy: choice('kNextPowerOfTwo', 'kSameAsRequested'),
    cudnn_conv_algo_search: choice('EXHAUSTIVE', 'HEURISTIC', 'DEFAULT'),
    cudnn_conv_use_max_workspace: flag,
    cudnn_conv1d_pad_to_nc1d: flag,
    do_copy_in_default_stream: flag,
    enable_cuda_graph: flag,
    enable_skip_layer_norm_strict_mode: flag,
    fuse_conv_bias: flag,
    prefer_nhwc: flag,
    sdpa_kernel: integer,
    tunable_op_enable: flag,
    tunable_op_tuning_enable: flag,
    use_ep_level_unified_stream: flag,
  },
  tensorrt: { device_id: device, use_tf32: tf32, 'trt_*': anything },
  webgpu: {
    preferred_layout: { ...choice('NCHW', 'NHWC'), binding: 'preferredLayout', as: 'text' },
    validation_mode: {
      ...choice('disabled', 'wgpuOnly', 'basic', 'full'),
      binding: 'validationMode',
      as: 'text',
    },
    storage_buffer_cache_mode: { ...cache, binding: 'storageBufferCacheMode', as: 'text' },
    uniform_buffer_cache_mode: { ...cache, binding: 'uniformBufferCacheMode', as: 'text' },
    query_resolve_buffer_cache_mode: { ...cache, binding: 'queryResolveBufferCacheMode', as: 'text' },
    default_buffer_cache_mode: { ...cache, binding: 'defaultBufferCacheMode', as: 'text' },
  },
  dml: { device_id: device },
  coreml: { coreml_flags: { ...integer, binding: 'coreMlFlags', as: 'number' } },
};
