import type { FuzzResult } from './fuzz';

/** The counts by kind of mutations and outcome, and the findings. */
export function summary({ seed, iterations, counts, findings }: FuzzResult): string[] {
  const lines = [`${iterations} mutants of seed ${seed}`];
  for (const [kind, outcomes] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const all = [...outcomes.values()].reduce((sum, count) => sum + count, 0);
    lines.push(`${kind}: ${all}`);
    for (const [outcome, count] of [...outcomes].sort(([, a], [, b]) => b - a))
      lines.push(`${String(count).padStart(8)}  ${outcome}`);
  }
  for (const { what, detail, iteration, base, mutations, file, times } of findings) {
    lines.push(
      '',
      `${what}, ${times} times: ${detail.split('\n').slice(0, 3).join('\n  ')}`,
      `  ${base}: ${mutations.join(', ')}`,
      `  ${file}; again: npm run fuzz -- --seed ${seed} --iteration ${iteration}`,
    );
  }
  lines.push('', findings.length === 0 ? 'Nothing found' : `${findings.length} found`);
  return lines;
}
