import type { Node, Value } from '../ir';
import { isShapeReader } from './dataflow';
import { elementwise, type LostView, reduce, type Step, steps } from './layout-steps';
import type { Shapes } from './shapes';
import type { View } from './view';

export type { LostView } from './layout-steps';

/** Operators that only move elements: what they give is what they take, elsewhere. */
const LAYOUT = new Set([
  'GatherND',
  'Reshape',
  'Flatten',
  'Transpose',
  'Unsqueeze',
  'Squeeze',
  'Slice',
  'Split',
  'Gather',
  'Expand',
  'Tile',
  'Identity',
]);

/** Whether an operator only moves elements, and computes nothing. */
export function isLayout(node: Node): boolean {
  return node.domain === '' && LAYOUT.has(node.opType);
}

/** The step of an operator that is neither in the table nor a reduction: elementwise, if its shape rule says so. */
function stepOf(node: Node): Step {
  if (node.domain === '' && node.opType.startsWith('Reduce')) return reduce;
  const step = node.domain === '' ? steps.get(node.opType) : undefined;
  return step ?? elementwise;
}

/**
 * Follows views forward through nodes that are in topological order.
 * @param start views of the values the nodes begin with
 * @returns the view of every value reached, or where it was lost
 */
export function followViews(
  shapes: Shapes,
  start: ReadonlyMap<Value, View>,
  nodes: Iterable<Node>,
): Map<Value, View | LostView> {
  const views = new Map<Value, View | LostView>(start);
  for (const node of nodes) {
    if (isShapeReader(node)) continue;
    let loss: LostView | undefined;
    let source: View | undefined;
    for (const input of node.inputs) {
      const found = input && views.get(input);
      if (!found) continue;
      if ('axes' in found) source ??= found;
      else loss ??= found;
    }
    if (!source && !loss) continue;
    const view = (index: number) => {
      const input = node.inputs[index];
      const found = input && views.get(input);
      return found && 'axes' in found ? found : undefined;
    };
    const results = source ? stepOf(node)({ node, shapes, view, source }) : [];
    for (const [index, output] of node.outputs.entries()) {
      const result = results[index] ?? loss ?? results[0];
      if (output && result && !views.has(output)) views.set(output, result);
    }
  }
  return views;
}
