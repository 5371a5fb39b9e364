import * as path from 'node:path';
import type { Command } from 'commander';
import type { Settings } from '../../config';
import type { Submit } from '../program';
import { addCommonOptions, type CommonOptions, numberOption } from './options';
import { modelOf } from './rewrite-files';
import { fileSettings } from './working-config';

interface MonitorOptions extends CommonOptions {
  readonly inputs: readonly string[];
  readonly config?: string;
  readonly logEvery?: number;
  readonly numMonitorLayers?: number;
  readonly warmupSteps?: number;
  readonly logDir?: string;
  readonly force?: boolean;
}

const EXAMPLES = `
Examples:
  $ diffx monitor model.diff.onnx --inputs io.safetensors                  one batch, its metrics as a table
  $ diffx monitor model.diff.onnx --inputs batches/*.safetensors --log-every 100 --warmup-steps 1000 --force

Exit codes: 0 done, 2 a model or a batch that cannot be read or does not run`;

/** What configuration files say of it, under the names of the original's plugin. */
function optionsOf(settings: Settings): Partial<MonitorOptions> {
  const values = {
    logEvery: settings.diff_attn_log_every,
    numMonitorLayers: settings.diff_attn_num_monitor_layers,
    warmupSteps: settings.diff_attn_warmup_steps,
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** `diffx monitor`. */
export function addMonitor(program: Command, submit: Submit): void {
  const command = program
    .command('monitor')
    .summary('log lambda and the attention maps of a rewritten model over batches of inputs')
    .description(
      'Runs a rewritten model over batches, each a step, and logs the metrics that axolotl-ai-cloud/diff-transformer\n' +
        'logs in training, under the same names: as JSON lines and as an event file of TensorBoard.',
    )
    .argument('[model]', 'a model that diffx has rewritten; default: base_model of a configuration file')
    .requiredOption('--inputs <files...>', "safetensors files or patterns such as 'batches/*.safetensors'")
    .option(
      '--log-every <number>',
      'steps from one logged step to the next; the last one is always logged (default: 100)',
      numberOption('--log-every', 'a whole number from 1 on'),
    )
    .option(
      '--num-monitor-layers <number>',
      'layers with metrics of their own; default: those of --monitor-layers, else 3',
      numberOption('--num-monitor-layers', 'a whole number from 1 on'),
    )
    .option(
      '--warmup-steps <number>',
      'steps until diff_attn_mix is 1 (default: 0)',
      numberOption('--warmup-steps', 'a whole number from 0 on'),
    )
    .option('--config <file>', 'axolotl configuration with diff_attn_log_every and its like')
    .option('--log-dir <folder>', 'where to write the logs; default: runs/<model>')
    .option('-f, --force', 'overwrite logs that exist');
  addCommonOptions(command, 'write the logs, print nothing')
    .addHelpText('after', EXAMPLES)
    .action(async (named: string | undefined, { json, quiet, debug, config, ...given }: MonitorOptions) => {
      const files = await fileSettings(config);
      const model = modelOf(named, files.base_model, 'diffx monitor', config);
      const options = { ...optionsOf(files), ...given };
      const { logDir = path.join('runs', path.parse(model).name), force = false, ...settings } = options;
      return submit('monitor', { model, logDir, force, ...settings }, {
        json,
        quiet,
        debug,
      } as CommonOptions);
    });
}
