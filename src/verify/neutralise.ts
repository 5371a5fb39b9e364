import { DOMAIN, type RewriteRecord } from '../attention/record';
import type { Graph, Model, Node, Value } from '../ir';
import type { Finding } from './report';
import { withBytes } from './stored';

/**
 * Takes out of a rewritten model what makes it differ from its original: lambda becomes 0 (its vectors and lambda_init
 * are zero, so the gain is 1), and the sublayer norm is passed by. In duplicate mode what is left is A1 V: the original.
 * @returns what could not be taken out
 */
export function neutralise(model: Model, record: RewriteRecord): Finding[] {
  const findings = record.layers.flatMap(({ path }): Finding[] =>
    ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init'].flatMap((suffix) =>
      zero(model, `${path}.${suffix}`)
        ? []
        : [{ message: `parameter '${path}.${suffix}' is missing`, layer: path }],
    ),
  );
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
