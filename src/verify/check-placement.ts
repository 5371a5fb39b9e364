import { type FallenNode, type Placement, placementOf } from './placement';
import type { NodeRun } from './profile';
import type { ProviderSpec } from './providers';
import type { CheckBuilder } from './report';
import type { Requirement } from './requirement';

/** Nodes that are named one by one. */
const MOST_NAMED = 5;

/** Checks that the provider did the work, as the profile says. */
export function checkPlacement(
  spec: ProviderSpec,
  nodes: readonly NodeRun[],
  requirement: Requirement,
  where: string,
  check: CheckBuilder,
): Placement {
  const placement = placementOf(spec, nodes);
  const wrong = placement.fellBack.filter(({ computes }) => computes || requirement === 'all');
  check.count(placement.ran);
  if (placement.ran === 0) check.find(`no node ran on ${spec.text}${where}`);
  if (wrong.length > 0) check.find(`${wrong.length} nodes ran on the CPU instead${where}: ${named(wrong)}`);
  return placement;
}

function named(nodes: readonly FallenNode[]): string {
  const first = nodes.slice(0, MOST_NAMED).map(({ name, opType }) => `'${name}' (${opType})`);
  const more = nodes.length - first.length;
  return [...first, ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}
