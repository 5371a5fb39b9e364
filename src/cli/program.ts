import { Command } from 'commander';
import { version } from '../api/version';
import { addDoctor } from './commands/doctor';
import { addInspect } from './commands/inspect';
import { addMonitor } from './commands/monitor';
import type { CommonOptions } from './commands/options';
import { addRewrite } from './commands/rewrite';
import { addVerify } from './commands/verify';
import { addWeights } from './commands/weights';
import type { JobName, Jobs } from './job';

/** Takes the work of a command. */
export type Submit = <Name extends JobName>(
  name: Name,
  settings: Jobs[Name],
  options: CommonOptions,
) => Promise<void>;

const EXAMPLES = `
Examples:
  $ diffx inspect model.onnx
  $ diffx rewrite model.onnx --init preserve --verify
  $ diffx verify model.onnx model.diff.onnx
  $ diffx doctor

Exit codes: 0 done, 1 verification failed, 2 usage or unreadable model, 3 attention left unrewritten,
4 execution provider not available, 70 internal error`;

/** All commands of diffx. A command is one file in `commands/` and one line here. */
export function makeProgram(submit: Submit): Command {
  const program = new Command('diffx')
    .description(
      'Rewrites the attention of ONNX transformers into differential attention (arXiv 2410.05258), and proves the result.',
    )
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', EXAMPLES)
    // Errors are ours to print.
    .configureOutput({ outputError: () => undefined })
    .exitOverride();
  addRewrite(program, submit);
  addInspect(program, submit);
  addVerify(program, submit);
  addDoctor(program, submit);
  addWeights(program, submit);
  addMonitor(program, submit);
  return program;
}
