import { Dataflow, dataInputs, isDequantize, isQuantize } from '../analyse';
import { DOMAIN, METADATA } from '../attention/record';
import { errors } from '../errors';
import { type Graph, type Model, type Node, pushAll, type Value } from '../ir';

/** Refuses models that diffx has rewritten, and models that compute differential attention by themselves. */
export function refuseDifferential(model: Model): void {
  const { path } = model.file;
  const version = model.metadataValue(METADATA.version);
  if (version !== undefined) throw errors.alreadyDifferential(path, `written by diffx ${version}`);
  if (model.functions.some(({ proto }) => proto.domain === DOMAIN)) {
    throw errors.alreadyDifferential(path, `it holds functions of ${DOMAIN}`);
  }
  const dataflow = new Dataflow(model);
  for (const graph of model.scopes()) {
    const own = graph.nodes.find(({ domain }) => domain === DOMAIN);
    if (own) throw errors.alreadyDifferential(path, `node '${own.label}' is an operator of ${DOMAIN}`);
    const node = findDifference(graph, dataflow);
    if (node)
      throw errors.alreadyDifferential(path, `node '${node.label}' subtracts one attention from another`);
  }
}

/**
 * A Sub whose operands both come from products with the probabilities of one softmax (or from attention operators with
 * the same queries and keys) through layout alone, the second one times a lambda; or the same of two attention maps.
 */
function findDifference(graph: Graph, dataflow: Dataflow): Node | undefined {
  return graph.nodes.find((node) => {
    if (!node.is('Sub')) return false;
    const [left, right] = node.inputs;
    const product = right && unrounded(right);
    if (!left || !right || !product?.is('Mul') || product.graph !== graph) return false;
    const maps =
      softmaxBehind(left) !== undefined &&
      product.inputs.some((factor) => softmaxBehind(factor) !== undefined);
    if (maps) return true;
    const first = attentionBehind(left, dataflow);
    return (
      first !== undefined &&
      product.inputs.some((factor) => factor && attentionBehind(factor, dataflow) === first)
    );
  });
}

const LAYOUT = [
  'Cast',
  'Concat',
  'Flatten',
  'Gather',
  'Identity',
  'Reshape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
];

function movesOrRounds(node: Node): boolean {
  return node.is(...LAYOUT) || isQuantize(node) || isDequantize(node);
}

/** The node that gives a value, before it is quantized. */
function unrounded({ producer }: Value): Node | undefined {
  const source =
    producer && (isQuantize(producer) || isDequantize(producer)) ? producer.inputs[0] : undefined;
  return source ? unrounded(source) : producer;
}

/** What an attended value was made with: its softmax, or the query of its attention operator. */
function attentionBehind(start: Value, dataflow: Dataflow): Value | undefined {
  let value: Value | undefined = start;
  while (value) {
    const node: Node | undefined = value.producer;
    if (!node) return undefined;
    if (node.opType === 'Attention' || node.opType === 'MultiHeadAttention') return node.inputs[0];
    if (node.is('MatMul')) return softmaxBehind(node.inputs[0]);
    if (!movesOrRounds(node)) return undefined;
    value = node.inputs.find((input) => dataflow.dependsOnData(input));
  }
  return undefined;
}

function softmaxBehind(start: Value | undefined): Value | undefined {
  const seen = new Set<Value>();
  const open = start ? [start] : [];
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (node?.is('Softmax')) return node.outputs[0];
    if (node && (node.is('Where', 'Dropout') || movesOrRounds(node))) pushAll(open, dataInputs(node));
  }
  return undefined;
}
