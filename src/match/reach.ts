import {
  activationProduct,
  ancestors,
  type Dataflow,
  dataInputs,
  descendants,
  isShapeReader,
  type Shapes,
} from '../analyse';
import { type Node, pushAll, type Value } from '../ir';
import { fail } from './outcome';
import { describeProjection, isProjection, type Projection } from './projection';

/** What a search for projections stopped at. */
export interface Reach {
  /** The nearest linear layer on each way back, in the order in which the operand reads them. */
  readonly projections: Projection[];
  /** Values that are fed and join the operand, such as past keys. */
  readonly fed: Value[];
}

/**
 * Walks back from an operand to the linear layers it comes from. Tables and masks, which come from no linear layer,
 * are passed over.
 * @param passed linear layers to look behind
 */
export function reachProjections(
  operand: Value,
  dataflow: Dataflow,
  shapes: Shapes,
  passed: ReadonlySet<Node> = new Set(),
): Reach {
  const projections: Projection[] = [];
  const fed: Value[] = [];
  const seen = new Set<Value>();
  const open = [operand];
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value) || !dataflow.dependsOnData(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (!node) {
      fed.push(value);
      continue;
    }
    const layer = passed.has(node) ? undefined : describeProjection(node, dataflow, shapes);
    if (layer && 'code' in layer) fail(layer.code, layer.node, layer.wanted, layer.found);
    if (layer) {
      if (!projections.includes(layer)) projections.push(layer);
      continue;
    }
    if (node.is('Softmax'))
      fail('no-projection', node, 'a linear layer before the scores', `${node.operator} '${node.label}'`);
    if (node.bodies.size > 0) fail('control-flow', node, 'operators without bodies', node.operator);
    pushAll(open, dataInputs(node).reverse());
  }
  return { projections, fed };
}

/**
 * Several linear layers make up queries or keys if what they give goes there and nowhere else. Where it also flows into
 * another linear layer they are the layers before: of a residual stream that is attended to without a projection.
 * @param values what the projections give, up to the operand
 * @param own nodes on the way to the operand
 */
export function refuseOtherReaders(
  values: readonly Value[],
  own: ReadonlySet<Node>,
  anchor: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): void {
  const reader = projectionBehind(values, own, anchor, dataflow, shapes);
  if (!reader) return;
  const wanted = 'linear layers whose results are queries and keys alone';
  fail('several-projections', reader, wanted, `'${reader.label}' projects what they give`);
}

/** True for an operand whose linear layers give what other linear layers read: not queries or keys, but what becomes them. */
export function isResidualStream(
  operand: Value,
  dataflow: Dataflow,
  shapes: Shapes,
  passed: ReadonlySet<Node> = new Set(),
): boolean {
  const { projections } = reachProjections(operand, dataflow, shapes, passed);
  const stop = new Set(projections.map(({ output }) => output));
  const path = descendants(stop, ancestors(operand, stop));
  const values = [...stop, ...path.flatMap(({ outputs }) => outputs.flatMap((output) => output ?? []))];
  return projectionBehind(values, new Set(path), undefined, dataflow, shapes) !== undefined;
}

/** A linear layer that some values flow into, other than by way of products of activations. */
function projectionBehind(
  values: readonly Value[],
  own: ReadonlySet<Node>,
  anchor: Node | undefined,
  dataflow: Dataflow,
  shapes: Shapes,
): Node | undefined {
  const seen = new Set<Value>(values);
  for (const value of seen) {
    for (const reader of value.readers) {
      if (reader === anchor || isShapeReader(reader) || activationProduct(reader, dataflow)) continue;
      if (own.has(reader)) continue;
      if (isProjection(reader, dataflow, shapes)) return reader;
      for (const output of reader.outputs) if (output) seen.add(output);
    }
  }
  return undefined;
}
