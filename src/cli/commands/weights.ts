import type { Command } from 'commander';
import { errors } from '../../errors';
import type { Submit } from '../program';
import { addCommonOptions, type CommonOptions } from './options';

interface WeightsOptions extends CommonOptions {
  readonly output: string;
  readonly stripPrefix?: string;
  readonly force?: boolean;
}

const EXAMPLES = `
Examples:
  $ diffx weights model.onnx model.diff.onnx -o trained.safetensors                    as the graph names them
  $ diffx weights model.onnx model.diff.onnx -o module.safetensors --strip-prefix m.   without the exporter's wrapper`;

/** `diffx weights`. */
export function addWeights(program: Command, submit: Submit): void {
  const command = program
    .command('weights')
    .summary('save the attention weights of a rewritten model')
    .description(
      'Writes the attention parameters of a rewritten model, as they are now, in the layout of the reference\n' +
        'implementation that its preset follows: a checkpoint for PyTorch, and for diffx rewrite --weights.',
    )
    .argument('<original>', 'the model that was rewritten')
    .argument('<rewritten>', 'what diffx made of it, trained since or not')
    .requiredOption('-o, --output <file>', 'the safetensors file to write')
    .option('--strip-prefix <prefix>', STRIP_PREFIX)
    .option('-f, --force', 'overwrite a file that exists');
  addCommonOptions(command, 'say nothing but errors')
    .addHelpText('after', EXAMPLES)
    .action((original: string, rewritten: string, options: WeightsOptions) => {
      const { output, stripPrefix, force = false } = options;
      if (output === '-') throw errors.fileWanted('--output');
      const settings = { original, rewritten, output, force };
      return submit('weights', stripPrefix === undefined ? settings : { ...settings, stripPrefix }, options);
    });
}

export const STRIP_PREFIX =
  "leading part of module paths to leave out of the keys: a wrapper's name, such as m.";
