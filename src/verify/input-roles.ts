import { constantTensor, isDequantize } from '../analyse';
import { type Model, type Node, pushAll, type Value } from '../ir';
import { DataType } from '../onnx';
import { type FeedInput, guessRole } from './feeds';
import type { TensorDescription } from './tensor';

/** Operators that hand indices on to an embedding as they are. */
const THROUGH = ['Cast', 'Flatten', 'Identity', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'];

/** What each input of a model is for: read off the graph where it shows, guessed from the name where it does not. */
export function inputRoles(model: Model, inputs: readonly TensorDescription[]): FeedInput[] {
  return inputs.map((input) => {
    const value = model.graph.values.get(input.name);
    const guess = guessRole(input);
    const vocabulary = value && isInteger(input.dtype) ? smallestTable(value) : undefined;
    if (vocabulary === undefined) return { ...input, role: guess };
    const indices = guess.kind === 'ids' || guess.kind === 'data';
    return { ...input, role: indices ? { kind: 'ids', vocabulary } : guess };
  });
}

function isInteger(type: number): boolean {
  return type === DataType.INT64 || type === DataType.INT32;
}

/** Rows of the smallest embedding that a value is an index into. */
function smallestTable(value: Value): number | undefined {
  let smallest: number | undefined;
  const seen = new Set<Value>();
  const open = [value];
  for (let at = open.pop(); at; at = open.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    for (const { node, index } of at.uses) {
      const rows = index === 1 && node.is('Gather') ? tableRows(node) : undefined;
      if (rows !== undefined) smallest = Math.min(smallest ?? rows, rows);
      if (index === 0 && node.is(...THROUGH))
        pushAll(
          open,
          node.outputs.flatMap((output) => output ?? []),
        );
    }
  }
  return smallest;
}

function tableRows(node: Node): number | undefined {
  const table = node.inputs[0] && constantTensor(behindDequantize(node.inputs[0]));
  return table?.dims.length === 2 ? Number(table.dims[0]) : undefined;
}

function behindDequantize(value: Value): Value {
  const node = value.producer;
  return node && (node.is('Cast') || isDequantize(node)) && node.inputs[0] ? node.inputs[0] : value;
}
