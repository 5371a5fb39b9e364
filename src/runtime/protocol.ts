/** What is said between a process of diffx and the one that holds ONNX Runtime for it. */
import type { InferenceSession, Tensor } from 'onnxruntime-node';

/** A tensor without its numbers, which follow as bytes. */
export interface TensorHeader {
  readonly name: string;
  /** As ONNX Runtime calls it: `float32`. */
  readonly type: Tensor.Type;
  readonly dims: readonly number[];
}

/** What is asked for, one after the other. */
export type Request =
  /** Loads a model; without a path, its bytes follow. */
  | {
      readonly kind: 'create';
      readonly session: number;
      readonly path?: string;
      readonly settings: InferenceSession.SessionOptions;
    }
  /** Runs it; the numbers of the feeds follow in their order. */
  | {
      readonly kind: 'run';
      readonly session: number;
      readonly feeds: readonly TensorHeader[];
      readonly outputs: readonly string[];
    }
  | { readonly kind: 'end-profiling'; readonly session: number }
  | { readonly kind: 'release'; readonly session: number };

/** What comes back; the numbers of `tensors` follow in their order. */
export interface Answer {
  /** Comes first: the request has arrived. What happens from here on happens to it. */
  readonly begun?: true;
  /** What ONNX Runtime complained about. */
  readonly error?: string;
  readonly inputs?: readonly InferenceSession.ValueMetadata[];
  readonly outputs?: readonly InferenceSession.ValueMetadata[];
  readonly tensors?: readonly TensorHeader[];
  /** How long ONNX Runtime took. */
  readonly milliseconds?: number;
}

/** A message with what follows it. */
export interface Parcel<T> {
  readonly message: T;
  readonly payloads: readonly Uint8Array[];
}

/** The descriptor of the pipe between the two, in the process that holds ONNX Runtime. */
export const DESCRIPTOR = 3;
