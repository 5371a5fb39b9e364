/** What the name of an export says: `<architecture>-<kind>-<exporter><opset>-<attention>[+variant]`. */

export interface ExportName {
  readonly name: string;
  /** `llama-dec`: architecture and kind. */
  readonly model: string;
  /** Who wrote the file: `ts`, `dy` and the others of `EXPORTERS`. */
  readonly exporter: string;
  /** What remains: opset, attention, variant. */
  readonly form: string;
}

/** The ways from a model to ONNX, by what stands for them in names. Whatever else stands there is a file built by hand. */
export const EXPORTERS: Readonly<Record<string, string>> = {
  ts: 'PyTorch, TorchScript',
  dy: 'PyTorch, dynamo',
  optimum: 'Optimum',
  tf: 'TensorFlow, tf2onnx',
  jax: 'JAX, jax2onnx',
  genai: 'ONNX Runtime GenAI',
};
export const BY_HAND = 'by hand';

export function parseName(name: string): ExportName {
  const [base = name, ...variants] = name.split('+');
  const parts = base.split('-');
  const at = parts.findIndex((part, index) => index > 0 && exporterOf(part) !== undefined);
  const behind = Math.min(2, at < 0 ? parts.length : at);
  const exporter =
    exporterOf(parts[at] ?? '') ?? Object.keys(EXPORTERS).find((each) => name.startsWith(`${each}_`));
  const form = parts.slice(behind).map((part) => (exporterOf(part) ? part.replace(/^[a-z]+/, '') : part));
  return {
    name,
    model: parts.slice(0, behind).join('-'),
    exporter: exporter === undefined ? BY_HAND : (EXPORTERS[exporter] ?? exporter),
    form: [...form, ...variants].join(' '),
  };
}

function exporterOf(part: string): string | undefined {
  const [, letters = ''] = /^([a-z]+)\d+$/.exec(part) ?? [];
  return letters in EXPORTERS ? letters : undefined;
}
