import type { Command } from 'commander';
import { parseProvider } from '../../verify/providers/names';
import type { Submit } from '../program';
import { addCommonOptions, type CommonOptions, repeated } from './options';

interface DoctorOptions extends CommonOptions {
  readonly ep?: readonly string[];
}

const EXAMPLES = `
Examples:
  $ diffx doctor                    what works on this machine, and what to install
  $ diffx doctor --ep cpu           exit code 4 unless a node really runs there

Exit codes: 0 done, 2 usage, 4 a provider that was asked for does not start`;

/** `diffx doctor`. */
export function addDoctor(program: Command, submit: Submit): void {
  const command = program
    .command('doctor')
    .summary('show which execution providers work here, and what is missing')
    .description(
      'Tries every execution provider of ONNX Runtime on a model of one node, each in a process of its own, and shows\n' +
        'versions of the runtime, of drivers and libraries, and what to install where something is missing.',
    )
    .option('--ep <provider>', 'only this one, with options as for verify; may be repeated', repeated);
  addCommonOptions(command, 'say nothing; the exit code tells')
    .addHelpText('after', EXAMPLES)
    .action(({ ep = [], ...common }: DoctorOptions) => {
      for (const text of ep) parseProvider(text);
      return submit('doctor', { ep }, common);
    });
}
