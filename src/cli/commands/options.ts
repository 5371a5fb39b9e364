import type { Command } from 'commander';
import { errors } from '../../errors';
import { PROVIDERS, parseProviders } from '../../verify/providers/names';
import { settleTf32 } from '../../verify/providers/tf32';
import { REQUIREMENTS, type Requirement } from '../../verify/requirement';

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/**
 * Adds them; the quiet ones have nothing to say but by their exit code.
 * @param debug what `--debug` does for this command besides
 */
export function addCommonOptions(command: Command, quiet: string | undefined, debug = ''): Command {
  command.option('--json', 'print one JSON document on standard output instead of text');
  if (quiet !== undefined) command.option('-q, --quiet', quiet);
  return command.option('--debug', `${debug}print the stack of an error`);
}

/** What `--report` does, for every command that has it. */
export const REPORT = 'also write a report with pictures and charts, as one HTML file';

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

/** Options of what verifies. */
export interface ProviderOptions {
  readonly ep?: readonly string[];
  readonly requireEp?: Requirement;
}

/** Adds the options of what verifies. */
export function addProviderOptions(command: Command): Command {
  return command
    .option(
      '--ep <provider>',
      `execution provider to verify on: ${PROVIDERS.join(', ')}; with options such as cuda:1 or cuda:device_id=1,use_tf32=1; may be repeated (default: cpu)`,
      repeated,
    )
    .option(
      '--require-ep <what>',
      'what must run on it: compute (all but shape arithmetic) or all (default: compute)',
      requirement,
    );
}

function requirement(text: string): Requirement {
  const found = REQUIREMENTS.find((each) => each === text);
  if (!found) throw errors.unknownChoice('--require-ep', text, REQUIREMENTS);
  return found;
}

/** Checks them, and settles what must be settled in the main thread: the environment of a worker is a copy. */
export function settleProviders({ ep }: ProviderOptions): void {
  settleTf32(parseProviders(ep));
}
