#!/usr/bin/env node
import { CommanderError } from 'commander';
import { errors } from '../errors';
import type { CommonOptions } from './commands/options';
import type { JobName, Jobs } from './job';
import { isTerminal, lookOf, Output } from './output';
import { plainError } from './plain-error';
import { makeProgram } from './program';
import { Progress } from './progress';
import { runJob } from './run-job';

/** Runs the work of a command and prints what it comes to. */
async function submit<Name extends JobName>(
  name: Name,
  settings: Jobs[Name],
  options: CommonOptions,
): Promise<void> {
  const output = new Output(name, options);
  const progress = new Progress(process.stderr, isTerminal('stderr') && !options.quiet);
  const toStandardOutput = 'output' in settings && settings.output === '-';
  const outcome = await runJob(name, settings, lookOf(toStandardOutput ? 'stderr' : 'stdout'), {
    phase: (text) => progress.phase(text),
    folder: (path) => progress.watch(path),
    warning: (text) => {
      progress.clear();
      output.warning(text);
    },
    dump: (text) => {
      progress.clear();
      output.dump(text);
    },
  });
  progress.stop();
  if (outcome.kind === 'result') output.result(outcome.result);
  else output.failure(outcome.error);
  const error = outcome.kind === 'result' ? outcome.result.error : outcome.error;
  process.exitCode = error?.exitCode ?? 0;
}

async function main(argv: readonly string[]): Promise<void> {
  const program = makeProgram(submit);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    const name = program.commands.find((command) => command.name() === argv[0])?.name();
    const failure = error instanceof CommanderError ? commandLineError(error, name) : error;
    if (failure === undefined) return;
    const flag = (option: string) => argv.includes(option);
    const output = new Output(name ?? 'diffx', { json: flag('--json'), debug: flag('--debug') });
    const plain = plainError(failure);
    output.failure(plain);
    process.exitCode = plain.exitCode;
  }
}

/** What commander could not parse; undefined where it only printed help or the version. */
function commandLineError({ exitCode, code, message }: CommanderError, name: string | undefined) {
  if (exitCode === 0) return undefined;
  const command = name === undefined ? 'diffx' : `diffx ${name}`;
  const what = code === 'commander.help' ? 'a command is missing' : message.replace(/^error: /, '');
  return errors.commandLine(what, command);
}

void main(process.argv.slice(2));
