/**
 * Every error that a user can meet, in one file: a stable code, the exit code of SPEC section 8, what happened and
 * where, and how to fix it. Code that fails throws `errors.<name>(...)` and writes no text of its own.
 */

/** Exit codes of the command line, see SPEC section 8. */
export const ExitCode = {
  done: 0,
  verificationFailed: 1,
  usage: 2,
  unrewritten: 3,
  provider: 4,
  internal: 70,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error that is the user's to solve: one line of what and where, one line of how to fix it. */
export class DiffxError extends Error {
  override readonly name = 'DiffxError';
  constructor(
    /** Stable, kebab-case; for scripts. */
    readonly code: string,
    readonly exitCode: ExitCode,
    /** What happened, and where. One line. */
    message: string,
    /** What the user can do about it. One line, may be empty. */
    readonly remedy: string,
    options?: { cause?: unknown; reasons?: readonly string[] },
  ) {
    super(oneLine(message), options);
    this.reasons = options?.reasons ?? [];
  }

  /** Codes of src/match/outcome.ts, one for each attention that is left over; empty for other errors. */
  readonly reasons: readonly string[];
}

/** True where ONNX Runtime refused a model, or did not survive it. */
export function isRefused(error: unknown): error is DiffxError {
  return error instanceof DiffxError && ['runtime-refused', 'runtime-ended'].includes(error.code);
}

/** Without a regular expression: a long name of spaces would take it minutes. */
function oneLine(text: string): string {
  const [first = '', ...others] = text.split('\n');
  const more = others.map((line) => line.trim()).filter((line) => line !== '');
  return others.length === 0 ? text : [first.trimEnd(), ...more].join(' ');
}

function usage(code: string, message: string, remedy = '', cause?: unknown): DiffxError {
  return new DiffxError(code, ExitCode.usage, message, remedy, cause === undefined ? {} : { cause });
}

/** Names in quotes, five at most. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => `'${name}'`);
  return `${shown.join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
}

export const errors = {
  /** What the command line itself cannot make sense of. */
  commandLine: (message: string, command: string) =>
    usage('command-line', message, `Try '${command} --help'.`),
  terminal: () =>
    usage(
      'terminal',
      'standard output is a terminal, and a model is no text',
      'Redirect it to a file or a program, or name a file with -o.',
    ),
  verificationFailed: (path: string, what: string, remedy: string) =>
    new DiffxError(
      'verification-failed',
      ExitCode.verificationFailed,
      `${path}: verification failed: ${what}`,
      remedy,
    ),
  /** Nothing wrong was seen, but too little was looked at. */
  verificationIncomplete: (path: string, what: string, remedy: string) =>
    new DiffxError(
      'verification-incomplete',
      ExitCode.verificationFailed,
      `${path}: verification is incomplete: ${what}`,
      remedy,
    ),
  internal: (reason: string) =>
    new DiffxError(
      'internal',
      ExitCode.internal,
      `internal error: ${reason}`,
      'This is a bug of diffx: run again with --debug and report what it prints.',
    ),
  fileNotFound: (path: string) => usage('file-not-found', `${path}: no such file`, 'Check the path.'),
  notAFile: (path: string) =>
    usage('not-a-file', `${path}: is a directory, not a file`, 'Name the file inside it.'),
  unreadable: (path: string, reason: string) =>
    usage('unreadable', `${path}: cannot be read (${reason})`, 'Check the permissions of the file.'),
  notAModel: (path: string, reason: string) =>
    usage(
      'not-a-model',
      `${path}: not an ONNX model (${reason})`,
      'Export the model again, or name another file; a download may have been cut off.',
    ),
  noMemory: (where: string) =>
    usage(
      'no-memory',
      `${where}: there is not enough memory`,
      'Free some, or give Node more: NODE_OPTIONS=--max-old-space-size=<megabytes>.',
    ),
  noFileHandles: (where: string) =>
    usage(
      'no-file-handles',
      `${where}: too many files are open`,
      'Close some, or allow more: ulimit -n shows and sets how many.',
    ),
  fileChanged: (path: string) =>
    usage('file-changed', `${path}: was changed while it was being read`, 'Run again when it is complete.'),
  tensorInvalid: (tensor: string, reason: string) =>
    usage('tensor-invalid', `tensor '${tensor}': ${reason}`, 'Export the model again.'),
  modelTooLarge: (path: string, bytes: number) =>
    usage(
      'model-too-large',
      `${path}: the model takes ${bytes} bytes in one file, and protobuf allows 2147483647`,
      'Write it to a file with external data.',
    ),
  truncated: (path: string, wanted: number, found: number) =>
    usage(
      'truncated',
      `${path}: ends early: ${wanted} bytes are announced, ${found} are there`,
      'The file was cut off; copy, download or export it again.',
    ),
  invalidGraph: (path: string, reason: string) =>
    usage(
      'invalid-graph',
      `${path}: the graph is not valid: ${reason}`,
      'Export the model again, or check it with onnx.checker.',
    ),
  externalDataMissing: (tensor: string, path: string) =>
    usage(
      'external-data-missing',
      `tensor '${tensor}': its side file ${path} does not exist`,
      'Put the side file beside the model; the two belong together.',
    ),
  externalDataRange: (tensor: string, path: string, end: number, size: number) =>
    usage(
      'external-data-range',
      `tensor '${tensor}': reaches to byte ${end} of ${path}, which has ${size}`,
      'The side file is cut off or belongs to another model; copy or export both again.',
    ),
  externalDataEscapes: (tensor: string, location: string) =>
    usage(
      'external-data-escapes',
      `tensor '${tensor}': its side file '${location}' lies outside the model's folder`,
      'Move the side file into the folder of the model and correct its location.',
    ),
  externalDataInvalid: (tensor: string, reason: string) =>
    usage('external-data-invalid', `tensor '${tensor}': ${reason}`, 'Export the model again.'),
  unwritable: (path: string, reason: string) =>
    usage(
      'unwritable',
      `${path}: cannot be written (${reason})`,
      'Make it possible, or choose another target.',
    ),
  unfinished: (path: string, reason: string) =>
    usage(
      'unfinished',
      `${path}: a run that was killed was replacing files beside it, and that cannot be finished (${reason})`,
      'Make its folder writable and run again: the files may not fit together as they are.',
    ),
  noTemporaryFolder: (folder: string, reason: string) =>
    usage(
      'no-temporary-folder',
      `${folder}: no folder for temporary files can be made there (${reason})`,
      'Set TMPDIR to a folder that can be written to.',
    ),
  notSafetensors: (path: string, reason: string) =>
    usage(
      'not-safetensors',
      `${path}: not a safetensors file (${reason})`,
      'Save the tensors again as safetensors; PyTorch .bin and .pt files must be converted first.',
    ),
  safetensorsTensor: (path: string, tensor: string, reason: string) =>
    usage(
      'safetensors-tensor',
      `${path}: tensor '${tensor}': ${reason}`,
      'The file is damaged or was written wrongly; save, copy or download it again.',
    ),
  checkpointIndex: (path: string, reason: string) =>
    usage(
      'checkpoint-index',
      `${path}: not the index of a sharded checkpoint (${reason})`,
      'Name the model.safetensors.index.json that lies beside the shards, or one .safetensors file.',
    ),
  noCheckpoint: (path: string) =>
    usage(
      'no-checkpoint',
      `${path}: holds no .safetensors file`,
      'Name the folder or the file of a checkpoint.',
    ),
  unknownProvider: (name: string, known: readonly string[]) =>
    usage(
      'unknown-provider',
      `'${name}' is no execution provider that diffx knows`,
      `Use one of: ${known.join(', ')}.`,
    ),
  providerOption: (given: string, what: string, remedy: string) =>
    usage('provider-option', `--ep ${given}: ${what}`, remedy),
  providerUnavailable: (name: string, missing: string, remedy: string) =>
    new DiffxError(
      'provider-unavailable',
      ExitCode.provider,
      `the execution provider '${name}' is not available: ${missing}`,
      remedy,
    ),
  providerGaveUp: (name: string, model: string, missing: string, remedy: string) =>
    new DiffxError(
      'provider-gave-up',
      ExitCode.provider,
      `${model}: the execution provider '${name}' gave up: ${missing}`,
      remedy,
    ),
  notPlaced: (path: string, what: string) =>
    new DiffxError(
      'not-placed',
      ExitCode.provider,
      `${path}: not everything ran where it was asked to: ${what}`,
      'What ran on the CPU is listed above; verify on cpu, or change the model or the provider.',
    ),
  /** @param exitCode 1 for a model that diffx wrote, 2 for one of the user's */
  runtimeRefused: (model: string, reason: string, exitCode: ExitCode) =>
    new DiffxError(
      'runtime-refused',
      exitCode,
      `${model}: ONNX Runtime refuses it: ${reason}`,
      exitCode === ExitCode.usage
        ? 'Check that the model runs before it is rewritten; export it again.'
        : 'The rewritten model is not usable: please report this with the original model.',
    ),
  /**
   * ONNX Runtime did not survive a model.
   * @param how its process ended; @param said the last that it wrote
   */
  runtimeEnded: (model: string, how: string, said: string, exitCode: ExitCode) =>
    new DiffxError(
      'runtime-ended',
      exitCode,
      `${model}: ONNX Runtime does not survive it: its process ${how}${said === '' ? '' : `, after '${said}'`}`,
      exitCode === ExitCode.usage
        ? 'Check that the model runs before it is rewritten: this is a fault of ONNX Runtime, or its memory was used up.'
        : 'If the original model runs, please report this with it; the memory may have been used up as well.',
    ),
  feedMismatch: (model: string, reason: string) =>
    usage('feed-mismatch', `${model}: ${reason}`, 'Give every input of the model one tensor of its type.'),
  /** @param option that chooses another place */
  exists: (path: string, option?: string) =>
    usage(
      'exists',
      `${path}: exists already`,
      `Use --force to overwrite it, or ${option === undefined ? '' : `${option} to `}write elsewhere.`,
    ),
  fileWanted: (option: string) => usage('file-wanted', `${option} -: not to standard output`, 'Name a file.'),
  sameTarget: (path: string) =>
    usage('same-target', `${path}: two files would be written there`, 'Give each of them a name of its own.'),
  unknownChoice: (option: string, given: string, known: readonly string[]) =>
    usage('unknown-choice', `${option} ${given}: not known`, `Choose one of ${known.join(', ')}.`),
  invalidNumber: (option: string, given: string, wanted: string) =>
    usage('invalid-number', `${option} ${given}: not ${wanted}`, `Give ${wanted}.`),
  invalidLayers: (text: string) =>
    usage('invalid-layers', `--layers ${text}: not a list of layers`, 'Write it like 0-3,7.'),
  noSuchLayer: (text: string, depth: number, layers: number) =>
    usage(
      'no-such-layer',
      `--layers ${text}: there is no layer ${depth}; the model has ${layers}, counted from 0`,
      'diffx inspect lists them.',
    ),
  contradiction: (first: string, second: string, why: string, remedy = 'Leave one of them out.') =>
    usage('contradiction', `${first} and ${second} exclude each other: ${why}`, remedy),
  configNotFound: (path: string) =>
    usage('config-not-found', `${path}: no such file`, 'Check the path behind --config.'),
  noBaseModel: (config: string) =>
    usage(
      'no-base-model',
      `${config}: base_model is missing, and the command line names no model`,
      'Set base_model to the ONNX model or the folder that holds it.',
    ),
  baseModelNotFound: (baseModel: string) =>
    usage(
      'file-not-found',
      `base_model ${baseModel}: no such file or folder`,
      'Name the exported ONNX model, or the folder that holds it: diffx downloads and exports nothing.',
    ),
  noModel: (folder: string, models: readonly string[]) =>
    usage(
      'no-model',
      models.length === 0
        ? `${folder}: holds no .onnx file`
        : `${folder}: holds ${models.length} models and none is model.onnx: ${models.join(', ')}`,
      'Name the .onnx file itself.',
    ),
  /** The same error, with the configuration files that may have caused it. */
  withFiles: ({ code, exitCode, message, remedy }: DiffxError, files: readonly string[]) =>
    new DiffxError(code, exitCode, `${message} (settings come from ${files.join(' and ')} as well)`, remedy),
  configTooLarge: (path: string, bytes: number, most: number) =>
    usage(
      'config-too-large',
      `${path}: has ${bytes} bytes, and a configuration file may have ${most}`,
      'Check the path; take out what is no setting.',
    ),
  configTwice: (first: string, second: string) =>
    usage('config-twice', `${first} and ${second} stand in one folder`, 'Keep one of them.'),
  /** @param place file and line */
  configSyntax: (place: string, reason: string) =>
    usage(
      'config-syntax',
      `${place}: ${reason}`,
      'Correct the file; it is read as YAML, or as JSON if its name says so.',
    ),
  /** @param meant the key that it is a misspelling of */
  configKey: (place: string, key: string, meant: string | undefined, known: readonly string[]) =>
    usage(
      'config-key',
      `${place}: ${key}: no such key`,
      meant === undefined ? `Use one of ${known.join(', ')}.` : `Did you mean ${meant}?`,
    ),
  configValue: (place: string, key: string, reason: string) =>
    usage('config-value', `${place}: ${key}: ${reason}`, 'Correct the value in the file.'),
  nameTaken: (path: string, option: string, name: string) =>
    usage(
      'name-taken',
      `${path}: ${option} adds the input '${name}', and something of the model is called so already`,
      `Rename it, or leave ${option} out.`,
    ),
  needs: (option: string, other: string) =>
    usage('needs', `${option} needs ${other}`, `Give ${other} as well, or leave ${option} out.`),
  oddHeads: (path: string, heads: number, kvHeads: number) =>
    usage(
      'odd-heads',
      `${path}: cannot split ${heads} heads with ${kvHeads} key/value heads into halves`,
      'Both must be even; the presets axolotl (without --split-heads) and v2 add heads instead.',
    ),
  alreadyDifferential: (path: string, how: string) =>
    usage(
      'already-differential',
      `${path}: is a differential transformer already (${how})`,
      'Rewrite the original model instead.',
    ),
  opsetTooOld: (path: string, opset: number) =>
    usage(
      'opset-too-old',
      `${path}: uses operator set ${opset}, diffx needs 13 or newer`,
      'Convert it with onnx.version_converter, or export it again.',
    ),
  noAttention: (path: string) =>
    new DiffxError(
      'no-attention',
      ExitCode.unrewritten,
      `${path}: no attention found: no softmax of a product of two activations, and no attention operator`,
      'Check that this is the transformer and not a pre- or post-processing model.',
    ),
  /** @param reasons code of each attention that is left */
  unrewritten: (path: string, reasons: readonly string[], all: number, details: readonly string[]) =>
    new DiffxError(
      'unrewritten',
      ExitCode.unrewritten,
      `${path}: ${reasons.length} of ${all} attentions not understood, nothing written: ${details.join('; ')}`,
      'diffx inspect --explain shows more; --allow-partial leaves them as they are.',
      { reasons },
    ),
  halfACache: (path: string, where: string, layer: string) =>
    new DiffxError(
      'half-a-cache',
      ExitCode.unrewritten,
      `${path}: ${where} holds keys that are not those of a rewritten attention, where another branch gives those of ${layer}`,
      'Use --split-heads, which leaves caches as they are.',
    ),
  brokenGraph: (pass: string, violations: readonly string[]) =>
    new DiffxError(
      'broken-graph',
      ExitCode.internal,
      `pass ${pass} left an invalid graph: ${violations.join('; ')}`,
      'This is a bug of diffx: please report it with the model.',
    ),
  ambiguousKeys: (path: string, name: string, keys: readonly string[]) =>
    usage(
      'ambiguous-keys',
      `${path}: ${keys.join(' and ')} fit '${name}' equally well`,
      'Give a checkpoint of this model alone.',
    ),
  /** @param attentions paths of the model; @param modules of the checkpoint; one of either kind fits several of the other */
  guessedTwice: (path: string, attentions: readonly string[], modules: readonly string[]) =>
    usage(
      'guessed-twice',
      `${path}: ${listed(modules)} could each be ${listed(attentions)}, whose own name the model has lost`,
      'Rename the keys of the checkpoint to the paths that diffx inspect prints, or rewrite the model before it is optimized.',
    ),
  /** @param attentions paths of the model; @param keys of the checkpoint */
  nothingFits: (path: string, attentions: readonly string[], keys: readonly string[]) =>
    usage(
      'nothing-fits',
      keys.length === 0
        ? `${path}: holds no tensors`
        : `${path}: nothing in it fits the model: its keys are ${listed(keys)}, the attentions of the model ${listed(attentions)}`,
      'Give the checkpoint of this model; its keys begin with the module paths that diffx inspect prints.',
    ),
  /** @param missing new parameters that it lacks; @param unused keys that belong nowhere */
  looseWeights: (path: string, missing: readonly string[], unused: readonly string[]) => {
    const parts = [
      ...(missing.length > 0 ? [`${missing.length} new parameters are not in it: ${listed(missing)}`] : []),
      ...(unused.length > 0 ? [`${unused.length} of its keys belong nowhere: ${listed(unused)}`] : []),
    ];
    return usage(
      'loose-weights',
      `${path}: does not fit the model exactly, nothing written: ${parts.join('; ')}`,
      'Without --strict-weights, what is missing keeps --init and what is unused is listed.',
    );
  },
  wrongShape: (
    path: string,
    key: string,
    shape: readonly number[],
    parameter: string,
    wanted: readonly number[],
  ) =>
    usage(
      'wrong-shape',
      `${path}: '${key}' has shape [${shape.join(', ')}], '${parameter}' needs [${wanted.join(', ')}]`,
      'The checkpoint belongs to another model, or to other --split-heads, --sublayer-norm or --preset.',
    ),
  wrongType: (where: string, type: string) =>
    usage(
      'wrong-type',
      `${where}: has element type ${type}`,
      'Give a checkpoint in float32, float64, float16 or bfloat16.',
    ),
  noPlace: (path: string, key: string, why: string) =>
    usage(
      'no-place',
      `${path}: '${key}' has no place in the model: ${why}`,
      'The checkpoint belongs to another model.',
    ),
  notRewritten: (path: string) =>
    usage(
      'not-rewritten',
      `${path}: was not written by diffx, so there is nothing to verify it by`,
      'Name the original first, the rewritten model second.',
    ),
  otherOriginal: (rewritten: string, original: string) =>
    usage(
      'other-original',
      `${rewritten}: was not made from ${original}`,
      'Name the model that was rewritten first, the rewritten model second.',
    ),
  quantizedWeights: (path: string) =>
    usage(
      'quantized-weights',
      `${path}: queries or keys are stored quantized, and the reference layout has no such weights`,
      'Save the weights of the model as it was before it was quantized.',
    ),
  noPrefix: (prefix: string, path: string) =>
    usage(
      'no-prefix',
      `--strip-prefix ${prefix}: '${path}' does not begin so`,
      'diffx inspect lists the module paths.',
    ),
  nothingToMonitor: (path: string) =>
    usage(
      'not-rewritten',
      `${path}: was not written by diffx, so it has no metrics to monitor`,
      'Rewrite it first, with diffx rewrite.',
    ),
  noInputs: (pattern: string) =>
    usage(
      'no-inputs',
      `--inputs ${pattern}: no such file`,
      'Name safetensors files, or a pattern that they match.',
    ),
  batchRefused: (path: string, reason: string) =>
    usage('batch-refused', `${path}: does not run: ${reason}`, 'Check shapes and ids of this batch.'),
  noCaseRuns: (path: string, reason: string) =>
    usage(
      'no-case-runs',
      `${path}: runs with none of the generated inputs: ${reason}`,
      'Give inputs with --inputs file.safetensors.',
    ),
  /** @param inputs what was tried */
  nothingComparable: (path: string, inputs: readonly string[]) =>
    usage(
      'nothing-comparable',
      `${path}: gives NaN alone with all generated inputs that it runs with: ${inputs.join('; ')}`,
      'Give inputs with --inputs file.safetensors with which it gives numbers.',
    ),
  /** @param node one that draws random numbers */
  randomResults: (path: string, node: string) =>
    usage(
      'random-results',
      `${path}: gives other numbers each time it runs, since '${node}' draws them at random: nothing can be compared`,
      'Export it with the random numbers as an input, or rewrite it without --verify.',
    ),
  invalidRecord: (path: string, key: string, cause?: unknown) =>
    usage(
      'invalid-record',
      `${path}: its metadata '${key}' is damaged`,
      'Rewrite the original model again.',
      cause,
    ),
} as const;
