import { constantTensor } from '../../analyse';
import type { Model, Node, Value } from '../../ir';

/** How many numbers one position behind convolutions stands for, and how far the next one is from it. */
interface Span {
  readonly field: number;
  readonly jump: number;
}

const ONE: Span = { field: 1, jump: 1 };
const WINDOWED = ['AveragePool', 'Conv', 'LpPool', 'MaxPool'];
/** Positions behind the last convolution: as many as sequences are usually long. */
const POSITIONS = [16, 5, 1];
/** Longer inputs would take too long. */
const LONGEST = 100_000;

/**
 * Lengths at which convolutions over one axis, as of sounds, leave 16, 5 and 1 positions: below the last one there is
 * nothing to run on. Fields grow by (kernel - 1) * dilation * jump less the padding, jumps by the stride (Araujo et al.,
 * Computing Receptive Fields of Convolutional Neural Networks, 2019). None where no convolution shortens anything.
 */
export function spanLengths(model: Model): number[] {
  const spans = new Map<Value, Span>();
  let longest = ONE;
  for (const node of model.graph.nodes) {
    const arriving = node.inputs.map((input) => (input && spans.get(input)) ?? ONE).reduce(longer, ONE);
    const leaving = behind(node, arriving);
    longest = longer(longest, leaving);
    if (leaving !== ONE) for (const output of node.outputs) if (output) spans.set(output, leaving);
  }
  if (longest.field === 1) return [];
  const { field, jump } = longest;
  return POSITIONS.map((count) => field + (count - 1) * jump).filter((length) => length <= LONGEST);
}

function longer(a: Span, b: Span): Span {
  return b.field > a.field ? b : a;
}

function behind(node: Node, { field, jump }: Span): Span {
  const kernel = node.is(...WINDOWED) ? kernelOf(node) : undefined;
  if (kernel === undefined) return field === 1 && jump === 1 ? ONE : { field, jump };
  const [stride = 1] = node.ints('strides') ?? [];
  const [dilation = 1] = node.ints('dilations') ?? [];
  const padding = (node.ints('pads') ?? []).reduce((sum, pad) => sum + pad, 0);
  const more = Math.max(0, (kernel - 1) * dilation - padding);
  return { field: field + more * jump, jump: jump * Math.max(1, stride) };
}

/** The length of a window over one axis. */
function kernelOf(node: Node): number | undefined {
  const weight = node.inputs[1] && constantTensor(node.inputs[1]);
  const kernel = node.ints('kernel_shape') ?? weight?.dims.slice(2).map(Number) ?? [];
  return kernel.length === 1 ? kernel[0] : undefined;
}
