import type { Preset } from '../attention/presets';
import { DOMAIN, type FunctionForm } from '../attention/record';
import { type AttributeProto, AttributeType, DataType, type FunctionProto, type NodeProto } from '../onnx';
import { attribute } from './attributes';
import { floatTensor, int64Vector } from './tensors';

export const FUNCTION_NAMES: Readonly<Record<FunctionForm, string>> = {
  scores: 'DifferentialAttention',
  probabilities: 'DifferentialAttentionFromProbabilities',
  outputs: 'DifferentialAttentionFromOutputs',
};

/** What the body contains; one body serves all layers of a model, so it holds what any of them needs. */
export interface FunctionFeatures {
  /** Scores are multiplied with the input `scale`. */
  readonly scale: boolean;
  /** Scores are divided by the input `divisor`. */
  readonly divisor: boolean;
  /** The input `bias` is added to the scores. */
  readonly bias: boolean;
  /** lambda comes from four vectors and `lambda_init`, or is the sigmoid of the input `lambda_logits`. */
  readonly lambda: Preset['lambda'];
  /** RMSNorm with the attribute `epsilon`. */
  readonly norm: boolean;
  /** That norm multiplies with the input `subln_weight`. */
  readonly normWeight: boolean;
  /** C is multiplied with (1 - lambda_init). */
  readonly timesOneMinusLambdaInit: boolean;
  /** The input `mix` multiplies lambda. */
  readonly mix: boolean;
  /** C is multiplied with 1 / (1 - mix * lambda_init), see SPEC section 1 (`preserve`). */
  readonly gain: boolean;
  /** A second output is the differential attention map. */
  readonly map: boolean;
  /** Element type of the maps, the values and what they give, a `DataType`. */
  readonly dataType: number;
  /** Element type of the input `lambda_logits`. */
  readonly logitsType: number;
}

/** A body: operators over names. The function uses it as it is, `--emit inline` with other names. */
export interface FunctionBody {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly nodes: readonly NodeProto[];
}

const STARTS: Readonly<Record<FunctionForm, readonly string[]>> = {
  scores: ['Q1', 'K1', 'Q2', 'K2', 'V'],
  probabilities: ['A1', 'A2', 'V'],
  outputs: ['Y1', 'Y2'],
};

/** Names of the inputs of a function, in order. */
export function functionInputs(form: FunctionForm, features: FunctionFeatures): string[] {
  const scores = form === 'scores';
  return [
    ...STARTS[form],
    ...(scores && features.scale ? ['scale'] : []),
    ...(scores && features.divisor ? ['divisor'] : []),
    ...(scores && features.bias ? ['bias'] : []),
    ...lambdaInputs(features),
    ...(features.norm && features.normWeight ? ['subln_weight'] : []),
    ...(features.mix ? ['mix'] : []),
  ];
}

/** What lambda and what is computed from its initial value read. */
function lambdaInputs({ lambda, gain, timesOneMinusLambdaInit }: FunctionFeatures): string[] {
  if (lambda === 'vectors') return ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init'];
  return gain || timesOneMinusLambdaInit ? ['lambda_logits', 'lambda_init'] : ['lambda_logits'];
}

/** Collects nodes whose outputs are named by what they hold. */
class Body {
  readonly nodes: NodeProto[] = [];

  add(
    output: string,
    opType: string,
    input: readonly string[],
    attributes: readonly AttributeProto[] = [],
  ): string {
    this.nodes.push({
      input,
      output: [output],
      opType,
      name: output,
      attribute: attributes,
      metadataProps: [],
    });
    return output;
  }

  one(output: string, value: number): string {
    return this.add(
      output,
      'Constant',
      [],
      [attribute.tensor('value', floatTensor(DataType.FLOAT, [], Float32Array.of(value)))],
    );
  }
}

/**
 * The operators of SPEC section 1:
 *
 *     lambda = exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2) + lambda_init     (float32)
 *     or lambda = sigmoid(lambda_logits), one for each token and head                    (float32)
 *     C = (A1 - mix * lambda * A2) V,   C = norm(C),   C = C * (1 - lambda_init),   C = C * gain
 */
export function functionBody(form: FunctionForm, features: FunctionFeatures, opset: number): FunctionBody {
  const body = new Body();
  const wide = features.dataType === DataType.FLOAT;
  const narrow = (name: string) =>
    wide ? name : body.add(`${name}_cast`, 'Cast', [name], [attribute.int('to', features.dataType)]);
  const weight = narrow(lambdaNodes(body, features));
  let positive = 'A1';
  let negative = 'A2';
  if (form === 'scores') {
    positive = probabilityNodes(body, features, '1');
    negative = probabilityNodes(body, features, '2');
  }
  let result: string;
  if (form === 'outputs') {
    result = body.add('difference', 'Sub', ['Y1', body.add('weighted', 'Mul', [weight, 'Y2'])]);
  } else {
    const map = body.add('map', 'Sub', [positive, body.add('weighted', 'Mul', [weight, negative])]);
    result = body.add('attended', 'MatMul', [map, 'V']);
  }
  if (features.norm) result = normNodes(body, result, features, opset);
  if (features.timesOneMinusLambdaInit) {
    const rest = body.add('lambda_init_rest', 'Sub', [body.one('rest_one', 1), 'lambda_init']);
    result = body.add('scaled', 'Mul', [result, narrow(rest)]);
  }
  if (features.gain) result = body.add('gained', 'Mul', [result, narrow(gainNodes(body, features))]);
  body.add('C', 'Identity', [result]);
  const named = withoutIdentity(body.nodes, result, 'C');
  const withMap = features.map && form !== 'outputs';
  return {
    inputs: functionInputs(form, features),
    outputs: withMap ? ['C', 'map'] : ['C'],
    attributes: features.norm ? ['epsilon'] : [],
    nodes: named,
  };
}

/** Gives the last result its name directly instead of through an Identity. */
function withoutIdentity(nodes: readonly NodeProto[], from: string, to: string): NodeProto[] {
  const name = (each: string) => (each === from ? to : each);
  return nodes.slice(0, -1).map((node) => ({
    ...node,
    input: node.input.map(name),
    output: node.output.map(name),
    name: name(node.name ?? ''),
  }));
}

/** mix * lambda in float32. */
function lambdaNodes(body: Body, features: FunctionFeatures): string {
  const lambda = features.lambda === 'vectors' ? vectorNodes(body) : sigmoidNodes(body, features);
  return features.mix ? body.add('lambda_mixed', 'Mul', [lambda, 'mix']) : lambda;
}

function sigmoidNodes(body: Body, { logitsType }: FunctionFeatures): string {
  const float = [attribute.int('to', DataType.FLOAT)];
  const logits =
    logitsType === DataType.FLOAT
      ? 'lambda_logits'
      : body.add('lambda_wide', 'Cast', ['lambda_logits'], float);
  return body.add('lambda', 'Sigmoid', [logits]);
}

function vectorNodes(body: Body): string {
  const keep = [attribute.int('keepdims', 0)];
  const exponent = (n: string) => {
    const product = body.add(`lambda${n}_product`, 'Mul', [`lambda_q${n}`, `lambda_k${n}`]);
    return body.add(`lambda${n}`, 'Exp', [body.add(`lambda${n}_dot`, 'ReduceSum', [product], keep)]);
  };
  const difference = body.add('lambda_difference', 'Sub', [exponent('1'), exponent('2')]);
  return body.add('lambda', 'Add', [difference, 'lambda_init']);
}

function gainNodes(body: Body, { mix }: FunctionFeatures): string {
  const share = mix ? body.add('lambda_init_mixed', 'Mul', ['lambda_init', 'mix']) : 'lambda_init';
  const rest = body.add('lambda_rest', 'Sub', [body.one('gain_one', 1), share]);
  return body.add('gain', 'Reciprocal', [rest]);
}

function probabilityNodes(body: Body, features: FunctionFeatures, n: '1' | '2'): string {
  const keys = body.add(`K${n}_transposed`, 'Transpose', [`K${n}`], [attribute.ints('perm', [0, 1, 3, 2])]);
  let scores = body.add(`scores${n}`, 'MatMul', [`Q${n}`, keys]);
  if (features.scale) scores = body.add(`scores${n}_scaled`, 'Mul', [scores, 'scale']);
  if (features.divisor) scores = body.add(`scores${n}_divided`, 'Div', [scores, 'divisor']);
  if (features.bias) scores = body.add(`scores${n}_biased`, 'Add', [scores, 'bias']);
  return body.add(`A${n}`, 'Softmax', [scores], [attribute.int('axis', -1)]);
}

/**
 * RMSNorm over the value width (Zhang and Sennrich, arXiv 1910.07467), times the weight if there is one; in float32, or in
 * double precision where the values have it.
 */
function normNodes(body: Body, input: string, features: FunctionFeatures, opset: number): string {
  const double = features.dataType === DataType.DOUBLE;
  const wide = double || features.dataType === DataType.FLOAT;
  const x = wide ? input : body.add('norm_input', 'Cast', [input], [attribute.int('to', DataType.FLOAT)]);
  const square = body.add('norm_square', 'Mul', [x, x]);
  const axes =
    opset >= 18
      ? [body.add('norm_axes', 'Constant', [], [attribute.tensor('value', int64Vector([-1]))])]
      : [];
  const mean = body.add(
    'norm_mean',
    'ReduceMean',
    [square, ...axes],
    opset >= 18 ? [] : [attribute.ints('axes', [-1])],
  );
  const float = body.add(
    'norm_epsilon',
    'Constant',
    [],
    [attribute.reference('value_float', AttributeType.FLOAT, 'epsilon')],
  );
  const epsilon = double
    ? body.add('norm_epsilon_cast', 'Cast', [float], [attribute.int('to', features.dataType)])
    : float;
  const root = body.add('norm_root', 'Sqrt', [body.add('norm_shifted', 'Add', [mean, epsilon])]);
  const normed = body.add('norm_normed', 'Div', [x, root]);
  const back = wide
    ? normed
    : body.add('norm_cast', 'Cast', [normed], [attribute.int('to', features.dataType)]);
  return features.normWeight ? body.add('norm_weighted', 'Mul', [back, 'subln_weight']) : back;
}

/** The local function of a form. */
export function functionProto(
  name: string,
  form: FunctionForm,
  features: FunctionFeatures,
  opset: number,
): FunctionProto {
  const body = functionBody(form, features, opset);
  return {
    name,
    domain: DOMAIN,
    input: body.inputs,
    output: body.outputs,
    attribute: body.attributes,
    attributeProto: [],
    node: body.nodes,
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    docString: 'Differential attention (arXiv 2410.05258), written by diffx.',
    valueInfo: [],
    metadataProps: [],
  };
}
