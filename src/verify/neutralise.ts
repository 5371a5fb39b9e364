import { DOMAIN, type RewriteRecord } from '../attention/record';
import type { Graph, Model, Node, Value } from '../ir';
import { withBytes } from './stored';

/**
 * Takes out of a rewritten model what makes it differ from its original: lambda becomes 0 (its vectors and lambda_init
 * are zero, so the gain is 1), and the sublayer norm is passed by. In duplicate mode what is left is A1 V: the original.
 */
export function neutralise(model: Model, record: RewriteRecord): void {
  for (const { path } of record.layers) {
    for (const suffix of ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init'])
      zero(model, `${path}.${suffix}`);
  }
  if (!record.options.sublayerNorm) return;
  const weights = new Set(record.layers.map(({ path }) => `${path}.subln.weight`));
  const bodies = model.functions.filter(({ proto }) => proto.domain === DOMAIN).map(({ body }) => body);
  for (const body of bodies) skipNorm(body, (value) => value.name === 'subln_weight');
  for (const scope of model.graph.scopes()) skipNorm(scope, (value) => weights.has(value.name));
}

function zero(model: Model, name: string): void {
  const value = model.graph.values.get(name);
  const tensor = value?.initializer;
  if (!value || !tensor) throw new Error(`no parameter '${name}'`);
  const { length } = model.file.tensorBytes(tensor);
  model.replaceInitializer(value, withBytes(tensor, new Uint8Array(length)));
}

/** Redirects the readers of x / rms(x) * weight to x. */
function skipNorm(scope: Graph, isWeight: (value: Value) => boolean): void {
  const scaled = scope.nodes.filter(
    (node) => node.is('Mul') && node.inputs.some((input) => input && isWeight(input)),
  );
  for (const node of scaled) {
    const normed = node.inputs.find((input) => input && !isWeight(input));
    const output = node.outputs[0];
    const x = normed && normInput(normed);
    if (!x || !output) throw new Error(`'${node.label}' scales something that is no norm`);
    bypass(scope, output, x);
  }
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

function bypass(scope: Graph, output: Value, x: Value): void {
  const index = scope.outputs.indexOf(output);
  scope.redirect(output, x);
  if (index < 0) return;
  const { name } = output;
  scope.rename(output, `${name}/normed`);
  scope.rename(x, name);
  scope.setOutput(index, x);
}
