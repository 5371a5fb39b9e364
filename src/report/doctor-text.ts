import type { Diagnosis, ProviderState } from '../verify/doctor';
import { printable } from './printable';
import type { TableOptions } from './table';
import { PLAIN } from './text';

/** What `diffx doctor` prints for a person. */
export function doctorText(diagnosis: Diagnosis, { style = PLAIN }: TableOptions = {}): string[] {
  const { onnxRuntime, node, platform, cores, memory, providers } = diagnosis;
  const width = Math.max(...providers.map(({ name }) => name.length));
  return [
    `${style.bold(`ONNX Runtime ${onnxRuntime}`)}, Node ${node}, ${platform}, ${cores} cores, ${Math.round(memory / 1e9)} GB`,
    ...providers.flatMap((state) => stateLines(state, width, style)),
  ];
}

function stateLines(state: ProviderState, width: number, style: typeof PLAIN): string[] {
  const { name, starts, problem, found } = state;
  const gap = ' '.repeat(width + 4);
  const verdict = starts
    ? style.green('starts')
    : `${style.red('missing:')} ${printable(problem?.missing ?? '')}`;
  // Of what is not there, the first thing is named above.
  const there = found.flatMap(({ what, version }) => (version === undefined ? [] : [`${what} ${version}`]));
  const lacking = found.flatMap(({ what, version }) => (version === undefined ? [what] : []));
  return [
    `  ${name.padEnd(width)}  ${verdict}`,
    ...(problem ? [`${gap}to do: ${printable(problem.remedy)}`] : []),
    ...(there.length > 0 ? [`${gap}found: ${printable(there.join(', '))}`] : []),
    ...(lacking.length > 0 && !starts ? [`${gap}not found: ${printable(lacking.join(', '))}`] : []),
  ];
}
