import { presetOf } from '../attention/presets';
import { DOMAIN, type RewriteRecord, type RewrittenLayer } from '../attention/record';
import type { Graph, Model, Node, Value } from '../ir';
import type { DataType } from '../onnx';
import { encodeFloats } from '../onnx/floats';
import { lambdaNames } from './layer-reference';
import type { Finding } from './report';
import { withBytes } from './stored';

/**
 * Takes out of a rewritten model what makes it differ from its original: lambda becomes 0 (its vectors and lambda_init
 * are zero, so the gain is 1; a sigmoid is shut), and the sublayer norm is passed by. In duplicate mode what is left is A1 V: the original.
 * @returns what could not be taken out
 */
export function neutralise(model: Model, record: RewriteRecord): Finding[] {
  const { options } = record;
  const findings = record.layers.flatMap((layer): Finding[] => [
    ...lambdaNames({ layer, options }).flatMap((name) =>
      zero(model, name) ? [] : [{ message: `parameter '${name}' is missing`, layer: layer.path }],
    ),
    ...(presetOf(options).lambda === 'projection' ? shut(model, layer) : []),
  ]);
  if (!record.options.sublayerNorm) return findings;
  const weights = new Set(record.layers.map(({ path }) => `${path}.subln.weight`));
  for (const { proto, body } of model.functions) {
    if (proto.domain === DOMAIN) findings.push(...skipNorms(body, (value) => value.name === 'subln_weight'));
  }
  for (const scope of model.graph.scopes())
    findings.push(...skipNorms(scope, (value) => weights.has(value.name)));
  return findings;
}

function zero(model: Model, name: string): boolean {
  const value = model.graph.values.get(name);
  const tensor = value?.initializer;
  if (!value || !tensor) return false;
  const { length } = model.file.tensorBytes(tensor);
  model.replaceInitializer(value, withBytes(tensor, new Uint8Array(length)));
  return true;
}

/** A logit whose sigmoid is 0, as far as float16 goes. */
const SHUT = -1e4;

/** A lambda that is a sigmoid becomes 0: whoever reads its logits reads one number far below 0. */
function shut(model: Model, { path, start }: RewrittenLayer): Finding[] {
  const name = start['lambda_logits'] ?? '';
  const logits = [...model.graph.scopes()].flatMap((scope) => scope.values.get(name) ?? []);
  const weight = model.graph.values.get(`${path}.lambda_proj.weight`)?.initializer;
  if (logits.length === 0 || !weight) return [{ message: 'the logits of lambda are missing', layer: path }];
  const bytes = encodeFloats(weight.dataType as DataType, Float32Array.of(SHUT));
  const tensor = { ...withBytes(weight, bytes), dims: [] };
  for (const value of logits) {
    const constant = model.graph.addInitializer(`${name}/shut`, tensor);
    for (const { node, index } of [...value.uses]) node.graph.setInput(node, index, constant);
  }
  return [];
}

/** Redirects the readers of x / rms(x) * weight to x. */
function skipNorms(scope: Graph, isWeight: (value: Value) => boolean): Finding[] {
  const scaled = scope.nodes.filter(
    (node) => node.is('Mul') && node.inputs.some((input) => input && isWeight(input)),
  );
  return scaled.flatMap((node) => {
    const normed = node.inputs.find((input) => input && !isWeight(input));
    const output = node.outputs[0];
    const x = normed && normInput(normed);
    if (!x || !output)
      return [{ message: `'${node.label}' in ${scope.label} scales something that is no norm` }];
    bypass(scope, output, x);
    return [];
  });
}

/** The x behind Div(x, root), through the casts to float32 and back. */
function normInput(normed: Value): Value | undefined {
  const divide = through(normed, 'Cast').producer;
  const x = divide?.is('Div') ? divide.inputs[0] : undefined;
  return x && through(x, 'Cast');
}

function through(value: Value, opType: string): Value {
  const node: Node | undefined = value.producer;
  return node?.is(opType) && node.inputs[0] ? node.inputs[0] : value;
}

/** Readers of one value read another, which bears its name from now on. */
function bypass(scope: Graph, output: Value, x: Value): void {
  const { name } = output;
  scope.redirect(output, x);
  scope.rename(output, scope.model.names.mint(`${name}/normed`));
  scope.rename(x, name);
  scope.outputs.forEach((each, index) => {
    if (each === output) scope.setOutput(index, x);
  });
}
