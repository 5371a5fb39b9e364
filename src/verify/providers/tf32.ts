/**
 * TF32 on NVIDIA's GPUs: products of float32 numbers with 10 bits behind the point. ONNX Runtime uses it by default;
 * onnxruntime-node has no way to say no, but cuBLAS, cuDNN and TensorRT all read NVIDIA_TF32_OVERRIDE when they are
 * loaded (https://docs.nvidia.com/cuda/cublas/#tensorfloat-32-tf32).
 */
import { errors } from '../../errors';
import type { ProviderSpec } from './names';

const VARIABLE = 'NVIDIA_TF32_OVERRIDE';

/** True for providers that may use TF32. */
function has({ provider }: ProviderSpec): boolean {
  return provider === 'cuda' || provider === 'tensorrt';
}

function asked({ options }: ProviderSpec): boolean {
  return options['use_tf32'] === '1';
}

/**
 * Switches TF32 off unless it is asked for, in the process that ONNX Runtime gets: it is started with this environment.
 * @throws DiffxError contradiction where one provider wants it and another does not: a process has one environment
 */
export function settleTf32(specs: readonly ProviderSpec[]): void {
  const concerned = specs.filter(has);
  const [first] = concerned;
  if (!first) return;
  const other = concerned.find((spec) => asked(spec) !== asked(first));
  if (other)
    throw errors.contradiction(
      `--ep ${first.text}`,
      `--ep ${other.text}`,
      'TF32 is on or off for a whole process',
    );
  if (!asked(first)) process.env[VARIABLE] = '0';
}

/** Whether products may be computed in TF32, as far as can be known. */
export function usesTf32(spec: ProviderSpec): boolean {
  return has(spec) && process.env[VARIABLE] !== '0';
}
