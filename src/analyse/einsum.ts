import type { Node } from '../ir';

/** Letters that stand for the axes of an ellipsis. */
const ELLIPSIS = 'ZYXWVUTSRQPONMLKJIHGFEDCBA';

/**
 * Splits the equation of an Einsum, with letters in place of an ellipsis.
 * @param ranks of the operands; what an ellipsis stands for follows from them
 * @returns undefined for an equation without an arrow, and for an ellipsis of unknown length
 */
export function einsumTerms(
  node: Node,
  ranks: readonly (number | undefined)[],
): { inputs: string[]; output: string } | undefined {
  const equation = (node.string('equation') ?? '').replaceAll(' ', '');
  const [left, output] = equation.split('->');
  if (left === undefined || output === undefined) return undefined;
  const inputs = left.split(',');
  if (!equation.includes('...')) return { inputs, output };
  const lengths = inputs.map((term, index) =>
    term.includes('...') ? (ranks[index] ?? Number.NaN) - (term.length - 3) : 0,
  );
  const free = [...ELLIPSIS].filter((letter) => !equation.includes(letter));
  const longest = Math.max(...lengths);
  if (!(longest >= 0 && longest <= free.length)) return undefined;
  // Axes of an ellipsis are aligned at their ends, as in broadcasting.
  const letters = free.slice(0, longest).join('');
  const filled = (term: string, length: number) => term.replace('...', letters.slice(longest - length));
  return {
    inputs: inputs.map((term, index) => filled(term, lengths[index] ?? 0)),
    output: filled(output, longest),
  };
}
