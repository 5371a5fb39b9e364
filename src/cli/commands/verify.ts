import type { Command } from 'commander';
import { errors } from '../../errors';
import type { Submit } from '../program';
import {
  addCommonOptions,
  addProviderOptions,
  type CommonOptions,
  numberOption,
  type ProviderOptions,
  REPORT,
  settleProviders,
} from './options';
import { workingSettings } from './working-config';

interface VerifyOptions extends CommonOptions, ProviderOptions {
  readonly inputs?: string;
  readonly against?: string;
  readonly junit?: string;
  readonly report?: string;
  readonly force?: boolean;
  readonly atol?: number;
  readonly rtol?: number;
  readonly seed?: number;
}

const TOLERANCE = 'a number from 0 on';
const SEED = 'a whole number from 0 on';

const EXAMPLES = `
Examples:
  $ diffx verify model.onnx model.diff.onnx                               with inputs made from the graph
  $ diffx verify model.onnx model.diff.onnx --inputs io.safetensors       with inputs of your own

Exit codes: 0 verified, 1 not verified, 2 a model that cannot be read or does not run, 4 a provider that is not available
or that did not do the work`;

/** What the configuration file of the working directory says of a verification. */
async function fromWorkingConfig(): Promise<VerifyOptions> {
  const { atol, rtol, ep, require_ep: requireEp, inputs } = await workingSettings();
  return {
    ...(atol === undefined ? {} : { atol }),
    ...(rtol === undefined ? {} : { rtol }),
    ...(ep === undefined ? {} : { ep: [ep].flat() }),
    ...(requireEp === undefined ? {} : { requireEp }),
    ...(inputs === undefined ? {} : { inputs }),
  };
}

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
      '--against <file>',
      'safetensors file with inputs and outputs that were recorded, `input.<name>` and `output.<name>`: the rewritten\n' +
        'model must give those outputs too',
    )
    .option('--junit <file>', 'write the checks as JUnit XML, for the test report of a pipeline')
    .option('--report <file>', REPORT)
    .option('-f, --force', 'overwrite such files if they exist')
    .option(
      '--atol <number>',
      'largest absolute difference; default: by element type and provider',
      numberOption('--atol', TOLERANCE),
    )
    .option(
      '--rtol <number>',
      'the same in units of the value; what is not given of the two is 0 then',
      numberOption('--rtol', TOLERANCE),
    )
    .option('--seed <number>', 'seed of the inputs that are made (default: 0)', numberOption('--seed', SEED));
  addProviderOptions(command);
  addCommonOptions(command, 'say nothing; the exit code tells')
    .addHelpText('after', EXAMPLES)
    .action(async (original: string, rewritten: string, given: VerifyOptions) => {
      const options = { ...(await fromWorkingConfig()), ...given };
      const { json, quiet, debug, ...settings } = options;
      const { atol = 0, rtol = 0, seed = 0 } = settings;
      settleProviders(settings);
      if (settings.junit === '-') throw errors.fileWanted('--junit');
      if (settings.report === '-') throw errors.fileWanted('--report');
      if (atol < 0) throw errors.invalidNumber('--atol', String(atol), TOLERANCE);
      if (rtol < 0) throw errors.invalidNumber('--rtol', String(rtol), TOLERANCE);
      if (!Number.isSafeInteger(seed) || seed < 0) throw errors.invalidNumber('--seed', String(seed), SEED);
      return submit('verify', { original, rewritten, ...settings, force: settings.force === true }, options);
    });
}
