import type { Command } from 'commander';
import { errors } from '../../errors';
import type { Submit } from '../program';
import { addCommonOptions, type CommonOptions, REPORT } from './options';

interface InspectOptions extends CommonOptions {
  readonly explain?: boolean;
  readonly report?: string;
  readonly force?: boolean;
}

const EXAMPLES = `
Examples:
  $ diffx inspect model.onnx                  the attentions of a model, or lambda of a rewritten one
  $ diffx inspect model.onnx --explain        also which nodes play which part
  $ diffx inspect model.onnx --json           the same for programs`;

/** `diffx inspect`. */
export function addInspect(program: Command, submit: Submit): void {
  const command = program
    .command('inspect')
    .summary('show the attentions of a model, and how diffx sees them')
    .description(
      'Shows each attention of a model: path, heads, scale, mask, positions, cache, and which recogniser found it;\n' +
        'what looks like attention and was not understood, with the reason; and, for a model that diffx rewrote,\n' +
        'how it was rewritten and lambda of each layer. The model is not changed.',
    )
    .argument('<model>', 'an ONNX model')
    .option('--explain', 'also show how the parts of each attention were bound')
    .option('--report <file>', REPORT)
    .option('-f, --force', 'overwrite that file if it exists');
  addCommonOptions(command, undefined)
    .addHelpText('after', EXAMPLES)
    .action((input: string, { explain = false, force = false, report, ...common }: InspectOptions) => {
      if (report === '-') throw errors.fileWanted('--report');
      const job = { input, explain, force, ...(report === undefined ? {} : { report }) };
      return submit('inspect', job, common);
    });
}
