import type { Command } from 'commander';
import { errors } from '../../errors';
import { parseProviders } from '../../verify/providers/names';
import { settleTf32 } from '../../verify/providers/tf32';
import type { Submit } from '../program';
import { addCommonOptions, type CommonOptions, numberOption, repeated } from './options';

interface VerifyOptions extends CommonOptions {
  readonly inputs?: string;
  readonly atol?: number;
  readonly ep?: readonly string[];
  readonly seed?: number;
}

const TOLERANCE = 'a number from 0 on';
const SEED = 'a whole number from 0 on';

const EXAMPLES = `
Examples:
  $ diffx verify model.onnx model.diff.onnx                               with inputs made from the graph
  $ diffx verify model.onnx model.diff.onnx --inputs io.safetensors       with inputs of your own

Exit codes: 0 verified, 1 not verified, 2 a model that cannot be read or does not run, 4 provider not available`;

/** `diffx verify`. */
export function addVerify(program: Command, submit: Submit): void {
  const command = program
    .command('verify')
    .summary('prove that a rewritten model is what it was meant to be')
    .description(
      'Proves a rewrite: everything outside the attentions is as it was, every rewritten layer equals differential\n' +
        'attention computed in float64 by other code, and where the rewrite keeps the function, the outputs of both\n' +
        'models agree.',
    )
    .argument('<original>', 'the model that was rewritten')
    .argument('<rewritten>', 'what diffx made of it')
    .option('--inputs <file>', 'safetensors file with the inputs to run; default: made from the graph')
    .option(
      '--atol <number>',
      'largest absolute difference; default: by element type',
      numberOption('--atol', TOLERANCE),
    )
    .option(
      '--ep <provider>',
      'execution provider, with options such as cuda:1 or cuda:device_id=1,use_tf32=1; may be repeated (default: cpu)',
      repeated,
    )
    .option('--seed <number>', 'seed of the inputs that are made (default: 0)', numberOption('--seed', SEED));
  addCommonOptions(command, 'say nothing; the exit code tells')
    .addHelpText('after', EXAMPLES)
    .action((original: string, rewritten: string, options: VerifyOptions) => {
      const { json, quiet, debug, ...settings } = options;
      const { atol = 0, seed = 0, ep } = settings;
      // Here, since the environment of the thread that does the work is a copy.
      settleTf32(parseProviders(ep));
      if (atol < 0) throw errors.invalidNumber('--atol', String(atol), TOLERANCE);
      if (!Number.isSafeInteger(seed) || seed < 0) throw errors.invalidNumber('--seed', String(seed), SEED);
      return submit('verify', { original, rewritten, ...settings }, options);
    });
}
