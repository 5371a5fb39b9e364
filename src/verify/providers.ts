/**
 * Execution providers by name. ONNX Runtime runs an unknown name next to a known one silently on the CPU, so names are
 * checked here and a session has exactly one.
 */
import { InferenceSession } from 'onnxruntime-node';
import { errors } from '../errors';

/** The providers that builds of onnxruntime-node have, on one platform or another. */
export const PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'dml', 'coreml'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** @throws DiffxError unknown-provider (exit 2) */
export function parseProvider(name: string): Provider {
  const found = PROVIDERS.find((provider) => provider === name);
  if (!found) throw errors.unknownProvider(name, PROVIDERS);
  return found;
}

/**
 * Why a provider does not work on this machine, or undefined where it does: tried on a model of one Identity node,
 * since the lists that ONNX Runtime gives name providers whose libraries are not there.
 */
export async function whyUnavailable(provider: Provider): Promise<string | undefined> {
  try {
    const options = { executionProviders: [provider], logSeverityLevel: 4 } as const;
    const session = await InferenceSession.create(identityModel(), options);
    await session.release();
    return undefined;
  } catch (error) {
    return (error as Error).message.trim();
  }
}

/** An ONNX model, IR version 8, opset 13, graph `g`: float x[1] -> Identity -> float y[1]. */
function identityModel(): Uint8Array {
  const message = (field: number, ...content: number[]) => [(field << 3) | 2, content.length, ...content];
  const text = (field: number, value: string) => message(field, ...Buffer.from(value));
  const integer = (field: number, value: number) => [field << 3, value];
  const shape = message(2, ...message(1, ...integer(1, 1)));
  const type = message(2, ...message(1, ...integer(1, 1), ...shape));
  const node = [...text(1, 'x'), ...text(2, 'y'), ...text(4, 'Identity')];
  const graph = [
    ...message(1, ...node),
    ...text(2, 'g'),
    ...message(11, ...text(1, 'x'), ...type),
    ...message(12, ...text(1, 'y'), ...type),
  ];
  return Uint8Array.from([...integer(1, 8), ...message(7, ...graph), ...message(8, ...integer(2, 13))]);
}
