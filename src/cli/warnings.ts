import type { RewriteOutput } from '../api/rewrite';

/** Names that a warning lists before it only counts. */
const MOST_NAMES = 3;

/** What a person should know of a rewrite that went well. */
export function warningsOf(
  { options, left, weights, monitored, notMonitored }: RewriteOutput,
  checkpoint?: string,
): string[] {
  const warnings: string[] = [];
  if (options.init === 'zero') {
    warnings.push(
      'zero init leaves lambda at a point with zero gradient: its vectors cannot learn from there; --init preserve keeps the function and learns',
    );
  }
  if (options.init === 'random' && !weights) {
    warnings.push(
      options.heads === 'split'
        ? 'with split heads the model computes something else: it must be trained before it is of use'
        : 'the new weights are random: the model must be trained before it is of use; --init preserve keeps what it computes',
    );
  }
  if (left.length > 0) {
    const nodes = left.map(({ candidate, reason }) => `'${candidate.anchor.label}' (${reason.code})`);
    warnings.push(`${left.length} not understood and left as they are: ${list(nodes)}`);
  }
  if (weights && weights.unused.length > 0) {
    const keys = weights.unused.map((key) => `'${key}'`);
    warnings.push(
      `${checkpoint}: ${weights.unused.length} keys belong nowhere and are unused: ${list(keys)}`,
    );
  }
  if (weights && weights.initialised.length > 0) {
    const names = weights.initialised.map((name) => `'${name}'`);
    warnings.push(
      `${checkpoint}: ${weights.initialised.length} new parameters are not in it and keep --init ${options.init}: ${list(names)}`,
    );
  }
  for (const { number, path, reason } of notMonitored)
    warnings.push(`layer_${number} (${path}) is not monitored: ${reason}`);
  const hidden = monitored.filter((layer) => layer.of === 'outputs').map(({ path }) => `'${path}'`);
  if (hidden.length > 0) {
    warnings.push(
      `the maps of ${list(hidden)} are inside fused operators: their metrics are of what the maps give (A1 V, A2 V)`,
    );
  }
  return warnings;
}

function list(names: readonly string[]): string {
  const more = names.length - MOST_NAMES;
  return more > 0 ? `${names.slice(0, MOST_NAMES).join(', ')} and ${more} more` : names.join(', ');
}
