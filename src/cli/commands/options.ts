import type { Command } from 'commander';
import { errors } from '../../errors';

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** Adds them; the quiet ones have nothing to say but by their exit code. */
export function addCommonOptions(command: Command, quiet: string | undefined): Command {
  command.option('--json', 'print one JSON document on standard output instead of text');
  if (quiet !== undefined) command.option('-q, --quiet', quiet);
  return command.option('--debug', 'print the stack of an error');
}

/** Parses the number of an option; its range is checked by who uses it. */
export function numberOption(option: string, wanted: string): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isFinite(value)) throw errors.invalidNumber(option, text, wanted);
    return value;
  };
}

/** Collects the values of an option that may be given more than once. */
export function repeated(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
