import * as path from 'node:path';
import { isatty } from 'node:tty';
import { type Command, Option } from 'commander';
import { PRESETS } from '../../attention/presets';
import type { ConfigFile } from '../../config';
import { errors } from '../../errors';
import { resolveOptions } from '../../rewrite/options';
import type { RewriteJob } from '../job';
import type { Submit } from '../program';
import {
  addCommonOptions,
  addProviderOptions,
  type CommonOptions,
  numberOption,
  type ProviderOptions,
  REPORT,
  repeated,
  settleProviders,
} from './options';
import { layered, modelOf, naming } from './rewrite-files';
import { STRIP_PREFIX } from './weights';

export interface RewriteCommandOptions extends CommonOptions, ProviderOptions {
  readonly output?: string;
  readonly outputDir?: string;
  /** A file, or false where no file shall be read. */
  readonly config?: string | false;
  readonly preset?: string;
  readonly splitHeads?: boolean;
  readonly init?: string;
  readonly zeroInit?: boolean;
  readonly mirrorWeights?: boolean;
  readonly sublayerNorm?: boolean;
  readonly normEps?: number;
  readonly seed?: number;
  readonly layers?: string;
  readonly allowPartial?: boolean;
  readonly emit?: string;
  readonly mixInput?: boolean;
  readonly monitorLayers?: number;
  readonly weights?: string;
  readonly strictWeights?: boolean;
  readonly saveWeights?: string;
  readonly stripPrefix?: string;
  readonly verify?: boolean;
  readonly inputs?: string;
  readonly report?: string;
  readonly dumpAfter?: readonly string[];
  readonly dumpDir?: string;
  readonly force?: boolean;
}

const EXAMPLES = `
Examples:
  $ diffx rewrite model.onnx                                  to model.diff.onnx, new weights at random, to be trained
  $ diffx rewrite model.onnx --init preserve --verify         keeps what the model computes, and proves it
  $ diffx rewrite model.onnx --split-heads                    the model's own heads become both components
  $ diffx rewrite model.onnx --weights tuned.safetensors -o tuned.onnx
  $ diffx rewrite model.onnx --layers 0-3,7 -o -              some layers, to standard output
  $ diffx rewrite --config config.yml                         as an axolotl configuration says

Switches that a configuration file sets are taken back by --no-<switch>.

Exit codes: 0 done, 1 not verified, 2 usage or unreadable model, 3 attention left unrewritten`;

/** `diffx rewrite`. */
export function addRewrite(program: Command, submit: Submit): void {
  const command = program
    .command('rewrite')
    .summary('replace softmax attention with differential attention')
    .description('Finds every softmax attention of a model and replaces it with differential attention.')
    .argument('[model]', 'an ONNX model; default: base_model of a configuration file')
    .option(
      '-o, --output <file>',
      'where to write, - for standard output; default: <model>.diff.onnx beside it',
    )
    .option('--output-dir <folder>', 'folder to write to, under the name of the model; made if it is missing')
    .option(
      '--config <file>',
      'axolotl configuration with settings; an updated one is written beside the model',
    )
    .option('--no-config', 'read no diffx.config.json, .yml or .yaml in this folder');
  addRewriteOptions(command);
  addProviderOptions(command);
  for (const name of SWITCHES) command.addOption(new Option(`--no-${name}`).hideHelp());
  addCommonOptions(command, 'say nothing but errors', 'compare the models before and after; also ')
    .addHelpText('after', EXAMPLES)
    .action(async (input: string | undefined, given: RewriteCommandOptions) => {
      const { options, baseModel, config, files, warnings } = await layered(given);
      naming(files, () => refuseContradictions(options, given, command));
      if (options.output === '-' && isatty(1)) throw errors.terminal();
      const model = modelOf(input, baseModel, 'diffx rewrite', config?.path);
      const job = { ...toJob(model, options), warnings, debug: given.debug ?? false };
      // The job does so too; here it is said before the compiler is loaded.
      naming(files, () => resolveOptions(job));
      const updated = config && (await updatedBeside(config, job.output, options.outputDir));
      return submit('rewrite', updated ? { ...job, config: updated } : job, given);
    });
  for (const name of NORM_OPTIONS) {
    command.on(`option:${name}`, () => command.setOptionValue(given(name), true));
  }
}

/** The updated configuration, in the folder of the model; none beside standard output. */
async function updatedBeside(config: ConfigFile, output: string, outputDir: string | undefined) {
  if (output === '-') return undefined;
  const { UPDATED_NAME, updatedConfig } = await import('../../config/index.js');
  const file = path.join(path.dirname(output), UPDATED_NAME);
  return { path: file, text: updatedConfig(config, outputDir ?? output) };
}

function addRewriteOptions(command: Command): void {
  command
    .option('--preset <name>', `reference implementation to follow: ${list(PRESETS)} (default: axolotl)`)
    .option('--split-heads', "use the model's own heads for both components instead of adding projections")
    .option('--init <mode>', 'new weights: random, zero, mirror or preserve (default: random)')
    .option('--zero-init', 'the same as --init zero')
    .option('--mirror-weights', 'the same as --init mirror')
    .option(
      '--sublayer-norm',
      'RMSNorm behind each attention (default, except with --init preserve and --preset v2)',
    )
    .option('--no-sublayer-norm', 'no such norm')
    .option(
      '--norm-eps <number>',
      'epsilon of that norm; default: of the norm before the layer, else 1e-5',
      NORM_EPS,
    )
    .option(
      '--seed <number>',
      'seed of the new weights (default: 0)',
      numberOption('--seed', 'a whole number from 0 on'),
    )
    .option('--layers <list>', 'layers to rewrite, such as 0-3,7; default: all')
    .option('--allow-partial', 'leave attentions that are not understood as they are')
    .option('--emit <form>', 'function: one node per attention; inline: plain operators (default: function)')
    .option('--mix-input', 'add the graph input diff_attn_mix, for warm-up')
    .option(
      '--monitor-layers <number>',
      'add outputs with mean and deviation of both attention maps of so many layers',
      numberOption('--monitor-layers', 'a whole number from 1 on'),
    )
    .option(
      '--weights <file>',
      'fill the new model from a checkpoint: .safetensors, its .index.json, or a folder',
    )
    .option('--strict-weights', 'refuse a checkpoint that lacks new parameters or has keys of no use')
    .option('--save-weights <file>', 'also save the attention parameters as a checkpoint for PyTorch')
    .option('--strip-prefix <prefix>', `${STRIP_PREFIX}; for --save-weights`)
    .option('--verify', 'prove the result before it is written')
    .option(
      '--inputs <file>',
      'with --verify: safetensors file with the inputs to run; default: made from the graph',
    )
    .option('--report <file>', REPORT)
    .option('--dump-after <pass>', 'print the model as text after a pass; may be repeated', repeated)
    .option('--dump-dir <folder>', 'print to files in this folder instead of standard error')
    .option('-f, --force', 'overwrite files that exist');
}

/** `a, b or c` */
function list(names: readonly string[]): string {
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
/** Each also has a form with `--no-`, for what a configuration file sets. */
const SWITCHES = [
  ...['split-heads', 'zero-init', 'mirror-weights', 'allow-partial', 'mix-input', 'strict-weights'],
  ...['verify', 'force'],
];

const NORM_EPS = numberOption('--norm-eps', 'a number between 0 and 1');

/** Commander keeps the last of two opposite options; that both were given is noted beside. */
const NORM_OPTIONS = ['sublayer-norm', 'no-sublayer-norm'] as const;
const given = (name: (typeof NORM_OPTIONS)[number]) => `given:${name}`;

/** @param typed what was given on the command line itself */
function refuseContradictions(
  options: RewriteCommandOptions,
  typed: RewriteCommandOptions,
  command: Command,
): void {
  const { init, zeroInit, mirrorWeights } = options;
  const contradicts = (first: string, second: string, why: string) => {
    throw errors.contradiction(first, second, why);
  };
  const once = 'new weights have one initial value';
  if (zeroInit && mirrorWeights) contradicts('--zero-init', '--mirror-weights', once);
  if (zeroInit && init !== undefined && init !== 'zero') contradicts('--zero-init', `--init ${init}`, once);
  if (mirrorWeights && init !== undefined && init !== 'mirror')
    contradicts('--mirror-weights', `--init ${init}`, once);
  if (NORM_OPTIONS.every((name) => command.getOptionValue(given(name))))
    contradicts('--sublayer-norm', '--no-sublayer-norm', 'there is a norm or there is none');
  if (typed.strictWeights && options.weights === undefined)
    throw errors.needs('--strict-weights', '--weights');
  if (options.saveWeights === '-') throw errors.fileWanted('--save-weights');
  if (options.report === '-') throw errors.fileWanted('--report');
  if (typed.output !== undefined && typed.outputDir !== undefined)
    contradicts('--output', '--output-dir', 'there is one place to write to');
  if (typed.stripPrefix !== undefined && options.saveWeights === undefined)
    throw errors.needs('--strip-prefix', '--save-weights');
  if (!options.verify && typed.inputs !== undefined) throw errors.needs('--inputs', '--verify');
  if (!options.verify && typed.ep) throw errors.needs('--ep', '--verify');
  if (!options.verify && typed.requireEp) throw errors.needs('--require-ep', '--verify');
  settleProviders(options);
  if (options.output === '-' && options.json) contradicts('--json', '-o -', 'both want standard output');
}

function toJob(input: string, options: RewriteCommandOptions): RewriteJob {
  const {
    preset,
    splitHeads,
    init,
    sublayerNorm,
    normEps,
    seed,
    layers,
    allowPartial,
    emit,
    mixInput,
    monitorLayers,
  } = options;
  const mode = options.zeroInit ? 'zero' : options.mirrorWeights ? 'mirror' : init;
  return {
    input,
    output: options.output ?? outputIn(options.outputDir, input),
    makeFolder: options.output === undefined && options.outputDir !== undefined,
    verify: options.verify ?? false,
    ...defined({ ep: options.ep, requireEp: options.requireEp, inputs: options.inputs }),
    force: options.force ?? false,
    dumpAfter: options.dumpAfter ?? [],
    ...defined({
      preset,
      splitHeads,
      init: mode,
      sublayerNorm,
      normEps,
      seed,
      layers,
      allowPartial,
      emit,
      mixInput,
      monitorLayers,
    }),
    ...defined({
      weights: options.weights,
      strictWeights: options.strictWeights,
      saveWeights: options.saveWeights,
      stripPrefix: options.stripPrefix,
      report: options.report,
      dumpFolder: options.dumpDir,
    }),
  };
}

function outputIn(folder: string | undefined, input: string): string {
  return folder === undefined ? defaultOutput(input) : path.join(folder, path.basename(input));
}

/** `model.onnx` gives `model.diff.onnx` beside it. */
export function defaultOutput(input: string): string {
  const { dir, name, ext, base } = path.parse(input);
  return path.join(dir, `${ext === '.onnx' ? name : base}.diff.onnx`);
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out what is undefined: an option that was not given is not there. */
function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
