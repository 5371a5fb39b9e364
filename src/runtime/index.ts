/** ONNX Runtime, in a process of its own. */
export type { InferenceSession } from 'onnxruntime-node';
export { packageFolder } from './package';
export { RuntimeEnded, RuntimeProcess } from './process';
export {
  endRuntime,
  openSession,
  type RuntimeSession,
  type RuntimeTensor,
  startRuntime,
} from './sessions';
