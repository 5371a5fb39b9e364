import { errors } from '../errors';
import type { Dim } from './dim';
import type { RuleContext } from './facts';

/**
 * Refuses a node of the main graph that is asked for a size below zero: no input makes such a model run. In a body it
 * may stand where nobody comes.
 * @throws invalidGraph
 */
export function refuseNegative({ model, node }: RuleContext, sizes: readonly Dim[] | undefined): void {
  const negative = sizes?.find(({ value }) => value !== undefined && value < 0);
  if (negative === undefined || node.graph !== model.graph) return;
  const used = node.outputs.some((output) => output && (output.uses.size > 0 || output.isOutput));
  if (used)
    throw errors.invalidGraph(model.file.path, `node '${node.label}' is asked for a size of ${negative}`);
}
