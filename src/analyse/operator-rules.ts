import { arithmetic, arithmeticRules, combineElements } from './arithmetic-rules';
import { broadcast, Dim } from './dim';
import { einsumTerms } from './einsum';
import { type Fact, frontAxis, NOTHING, type Rule, type RuleContext } from './facts';
import { fusedRules } from './fused-rules';
import { layoutRules } from './layout-rules';
import { recurrentRules } from './recurrent-rules';
import { selectionRules } from './selection-rules';
import { spatialRules } from './spatial-rules';

/** Operators that give a tensor of the shape of their first input, from whatever domain. */
const SAME_SHAPE = [
  'Abs',
  'Acos',
  'Asin',
  'Atan',
  'Bernoulli',
  'BitwiseNot',
  'Cast',
  'CastLike',
  'Ceil',
  'Celu',
  'Clip',
  'Cos',
  'Cosh',
  'CumSum',
  'Dropout',
  'Elu',
  'Erf',
  'Exp',
  'EyeLike',
  'Floor',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'Hardmax',
  'Identity',
  'IsInf',
  'IsNaN',
  'LRN',
  'LayerNormalization',
  'LeakyRelu',
  'Log',
  'LogSoftmax',
  'LpNormalization',
  'MeanVarianceNormalization',
  'Mish',
  'Neg',
  'Not',
  'RMSNormalization',
  'RandomNormalLike',
  'RandomUniformLike',
  'Reciprocal',
  'Relu',
  'RotaryEmbedding',
  'Round',
  'Scatter',
  'ScatterElements',
  'ScatterND',
  'Selu',
  'Shrink',
  'Sigmoid',
  'Sign',
  'Sin',
  'Sinh',
  'Softmax',
  'Softplus',
  'Softsign',
  'Sqrt',
  'Swish',
  'Tan',
  'Tanh',
  'TensorScatter',
  'ThresholdedRelu',
  'Trilu',
  'QuantizeLinear',
  'DequantizeLinear',
  'SimplifiedLayerNormalization',
  'FastGelu',
  'BiasGelu',
  'QuickGelu',
  'InstanceNormalization',
  'GroupNormalization',
  'BatchNormalization',
  'ReverseSequence',
] as const;

const BROADCAST = [
  'Add',
  'And',
  'BitShift',
  'BitwiseAnd',
  'BitwiseOr',
  'BitwiseXor',
  'Div',
  'Equal',
  'Greater',
  'GreaterOrEqual',
  'Less',
  'LessOrEqual',
  'Max',
  'Mean',
  'Min',
  'Mod',
  'Mul',
  'Or',
  'PRelu',
  'Pow',
  'Sub',
  'Sum',
  'Where',
  'Xor',
] as const;

const REDUCE = [
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceMax',
  'ReduceMean',
  'ReduceMin',
  'ReduceProd',
  'ReduceSum',
  'ReduceSumSquare',
] as const;

function sameShape(context: RuleContext): readonly Fact[] {
  const fact = { shape: context.shape(0) };
  const through = context.node.is('Cast', 'Identity', 'CastLike');
  return [through ? { ...fact, elements: context.elements(0) } : fact];
}

/** The quantized numbers, and one scale and one zero point for all. */
function quantizing(context: RuleContext): readonly Fact[] {
  return [{ shape: context.shape(0) }, { shape: [] }, { shape: [] }];
}

function broadcasting(context: RuleContext): readonly Fact[] {
  let shape: readonly Dim[] | undefined = [];
  for (const input of context.node.inputs) {
    const next = context.fact(input).shape;
    shape = shape && next ? broadcast(shape, next) : undefined;
  }
  const combine = arithmetic[context.node.opType];
  const elements = context.node.is('Where') ? choose(context) : combine && combineElements(context, combine);
  return [{ shape, elements }];
}

function choose(context: RuleContext): readonly Dim[] | undefined {
  const [condition, yes, no] = [context.elements(0), context.elements(1), context.elements(2)];
  if (!condition || !yes || !no) return undefined;
  const length = Math.max(condition.length, yes.length, no.length);
  const at = (list: readonly Dim[], index: number) => list[list.length === 1 ? 0 : index];
  const result: Dim[] = [];
  for (let index = 0; index < length; index++) {
    const holds = at(condition, index)?.value;
    const picked = at(holds ? yes : no, index);
    result.push((holds === undefined ? undefined : picked) ?? Dim.unknown());
  }
  return result;
}

/** Of a vector of sizes: as tf2onnx counts the elements behind one another. */
function reduceProduct(context: RuleContext): readonly Fact[] {
  const [fact = NOTHING] = reduce(context);
  const elements = context.shape(0)?.length === 1 ? context.elements(0) : undefined;
  return [elements ? { ...fact, elements: [Dim.product(elements)] } : fact];
}

function reduce(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  if (!shape) return [NOTHING];
  const given = context.node.inputs[1] || context.node.attribute('axes');
  const axes = given
    ? context.numbers(1, 'axes')?.map((axis) => frontAxis(axis, shape.length))
    : shape.map((_, index) => index);
  if (!axes) return [NOTHING];
  const keep = (context.node.int('keepdims') ?? 1) === 1;
  return [
    { shape: shape.flatMap((dim, index) => (!axes.includes(index) ? [dim] : keep ? [Dim.of(1)] : [])) },
  ];
}

/** Shape of a (batched) matrix product, as numpy.matmul gives it. */
export function matMulShape(
  a: readonly Dim[] | undefined,
  b: readonly Dim[] | undefined,
): readonly Dim[] | undefined {
  if (!a || !b || a.length === 0 || b.length === 0) return undefined;
  const rows = a.length > 1 ? a.slice(-2, -1) : [];
  const columns = b.length > 1 ? b.slice(-1) : [];
  return [...broadcast(a.slice(0, -2), b.slice(0, -2)), ...rows, ...columns];
}

function matMul(context: RuleContext): readonly Fact[] {
  const flip = (shape: readonly Dim[] | undefined, flag: string) =>
    shape && context.node.int(flag) === 1 ? [...shape.slice(0, -2), ...shape.slice(-2).reverse()] : shape;
  return [{ shape: matMulShape(flip(context.shape(0), 'transA'), flip(context.shape(1), 'transB')) }];
}

function einsum(context: RuleContext): readonly Fact[] {
  const ranks = context.node.inputs.map((_, index) => context.shape(index)?.length);
  const terms = einsumTerms(context.node, ranks);
  if (!terms) return [NOTHING];
  const sizes = new Map<string, Dim>();
  terms.inputs.forEach((term, index) => {
    [...term].forEach((letter, axis) => {
      const dim = context.shape(index)?.[axis];
      // An axis of size 1 is broadcast.
      if (dim && (dim.value !== 1 || !sizes.has(letter))) sizes.set(letter, dim);
    });
  });
  return [{ shape: [...terms.output].map((letter) => sizes.get(letter) ?? Dim.unknown()) }];
}

/** The indices of all elements, where all of one constant other than zero: how exporters count up to a size. */
function nonZero({ node, fact, model }: RuleContext): readonly Fact[] {
  const [input] = node.inputs;
  const shape = fact(input).shape;
  const filled = input?.producer?.is('ConstantOfShape') ? input.producer.tensor('value') : undefined;
  const bytes = filled && model.bytes(filled);
  const count = shape && bytes?.some((byte) => byte !== 0) ? Dim.product(shape) : Dim.unknown();
  return [{ shape: [shape ? Dim.of(shape.length) : Dim.unknown(), count] }];
}

const rules = new Map<string, Rule>(
  Object.entries({
    ...arithmeticRules,
    ...layoutRules,
    ...spatialRules,
    ...selectionRules,
    ...recurrentRules,
  }),
);
for (const op of SAME_SHAPE) rules.set(op, sameShape);
rules.set('DynamicQuantizeLinear', quantizing);
for (const op of BROADCAST) rules.set(op, broadcasting);
for (const op of REDUCE) rules.set(op, reduce);
rules.set('ReduceProd', reduceProduct);
for (const op of [
  'MatMul',
  'MatMulInteger',
  'FusedMatMul',
  'MatMulIntegerToFloat',
  'DynamicQuantizeMatMul',
  'FusedGemm',
  'FusedMatMulActivation',
  'Gemm',
  'GemmFastGelu',
])
  rules.set(op, matMul);
rules.set('QLinearMatMul', (context) => [{ shape: matMulShape(context.shape(0), context.shape(3)) }]);
rules.set('Einsum', einsum);
rules.set('NonZero', nonZero);
for (const [op, rule] of Object.entries(fusedRules)) rules.set(op, rule);

/** The rule of an operator, if diffx has one. Contrib operators of ONNX Runtime share the names of their kin. */
export function operatorRule(opType: string): Rule | undefined {
  return rules.get(opType);
}
