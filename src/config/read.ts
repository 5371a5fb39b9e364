import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Document, isMap, isScalar, LineCounter, type YAMLParseError } from 'yaml';
import { DiffxError, errors } from '../errors';
import { isTooDeep, reasonOf } from '../onnx/file-errors';
import { issueText } from './issues';
import { CONVERTER_KEY_NAMES, CONVERTER_SWITCHES, KEYS, type Kind, SCHEMAS, type Settings } from './schema';
import { misspelt } from './suggest';
import { parseYaml } from './yaml';

/** A configuration file that was read and found valid. */
export interface ConfigFile {
  readonly path: string;
  readonly kind: Kind;
  readonly text: string;
  readonly document: Document;
  readonly settings: Settings;
}

/** Names of the file that is looked for in the working directory, in JSON or YAML. */
export const WORKING_NAMES = ['diffx.config.json', 'diffx.config.yml', 'diffx.config.yaml'] as const;

/**
 * The configuration file of a folder; undefined where there is none.
 * @throws DiffxError config-twice, and those of `readConfig`
 */
export function readWorkingConfig(folder: string): ConfigFile | undefined {
  const [first, second] = WORKING_NAMES.filter((name) => fs.existsSync(path.join(folder, name)));
  if (first !== undefined && second !== undefined) throw errors.configTwice(first, second);
  return first === undefined ? undefined : readConfig(path.join(folder, first), 'working');
}

/**
 * Reads and checks a configuration file.
 * @throws DiffxError config-not-found, config-syntax, config-key, config-value: each with file, line and key
 */
export function readConfig(file: string, kind: Kind): ConfigFile {
  const text = readText(file);
  if (file.endsWith('.json')) checkJson(file, text);
  const lines = new LineCounter();
  const document = parsed(file, text, lines);
  const [error] = document.errors;
  if (error) throw errors.configSyntax(`${file}:${error.linePos?.[0].line ?? 1}`, problemOf(error));
  const { contents } = document;
  if (contents !== null && !isMap(contents) && !(isScalar(contents) && contents.value === null)) {
    throw errors.configSyntax(`${file}:1`, 'a list of keys and values is expected');
  }
  const place = (keys: readonly PropertyKey[]) => `${file}:${lineOf(document, lines, keys)}`;
  const values = withSwitches(withoutNulls(valuesOf(document, file)));
  refuseMisspelt(values, kind, place);
  return { path: file, kind, text, document, settings: checked(values, kind, place) };
}

/** The YAML reader calls itself for what lies in one another. */
function parsed(file: string, text: string, lines: LineCounter): Document.Parsed {
  try {
    return parseYaml(text, lines);
  } catch (error) {
    if (isTooDeep(error)) throw errors.configSyntax(file, 'its values lie too deep in one another');
    throw error;
  }
}

/** What the reader says of a mistake, without the place and the lines around it. */
function problemOf({ code, message }: YAMLParseError): string {
  if (code === 'MULTIPLE_DOCS') return 'it holds several documents, and one is expected';
  return (message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:$/, '');
}

/** Aliases are followed only now: to nothing, or to more than a file of settings has. */
function valuesOf(document: Document, file: string): Values {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    throw errors.configSyntax(file, (error as Error).message);
  }
}

/** Far more than settings and their comments take; a checkpoint that was named by mistake is larger. */
const LARGEST_FILE = 1 << 20;

function readText(file: string): string {
  try {
    const { size } = fs.statSync(file);
    if (size > LARGEST_FILE) throw errors.configTooLarge(file, size, LARGEST_FILE);
    return fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    if (error instanceof DiffxError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw errors.configNotFound(file);
    throw errors.unreadable(file, reasonOf(error));
  }
}

/** The YAML reader takes JSON as well, but more than JSON: what other programs refuse is refused here. */
function checkJson(file: string, text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const line = /line (\d+)/.exec(message)?.[1] ?? lineAt(text, /position (\d+)/.exec(message)?.[1]);
    throw errors.configSyntax(`${file}:${line}`, `not valid JSON: ${message}`);
  }
}

function lineAt(text: string, position: string | undefined): number {
  return text.slice(0, Number(position ?? text.length)).split('\n').length;
}

/** The line of a key, or of the nearest thing around it that the file has. */
function lineOf(document: Document, lines: LineCounter, keys: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const key of keys) {
    if (!isMap(node)) break;
    const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
    if (isScalar(pair?.key)) offset = pair.key.range?.[0] ?? offset;
    node = pair?.value;
  }
  return lines.linePos(offset).line;
}

type Values = Readonly<Record<string, unknown>>;

function isValues(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withoutNulls(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === null ? [] : [[key, value]])),
  );
}

/** PyYAML, which axolotl reads its files with, follows YAML 1.1: these are true and false there. */
const SWITCHES: Readonly<Record<string, boolean>> = { yes: true, on: true, no: false, off: false };

function withSwitches(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => {
      const known = CONVERTER_SWITCHES.includes(key) && typeof value === 'string';
      return [key, known ? (SWITCHES[value.toLowerCase()] ?? value) : value];
    }),
  );
}

/** Keys that nobody knows are axolotl's in its own file, unless they are nearly ours. */
function refuseMisspelt(values: Values, kind: Kind, place: (keys: readonly string[]) => string): void {
  const refuse = (keys: readonly string[], known: readonly string[], strict: boolean) => {
    const key = keys.at(-1) ?? '';
    if (known.includes(key)) return;
    const meant = misspelt(key, known);
    if (meant !== undefined || strict) throw errors.configKey(place(keys), keys.join('.'), meant, known);
  };
  if (kind === 'working') {
    for (const key of Object.keys(values)) if (key !== '$schema') refuse([key], KEYS, true);
    return;
  }
  for (const key of Object.keys(values))
    refuse([key], [...CONVERTER_KEY_NAMES, 'diffx'], /^diff_att/.test(key));
  const own = values['diffx'];
  if (!isValues(own)) return;
  const known = KEYS.filter((key) => !CONVERTER_KEY_NAMES.includes(key));
  for (const key of Object.keys(own)) refuse(['diffx', key], known, true);
}

function checked(values: Values, kind: Kind, place: (keys: readonly PropertyKey[]) => string): Settings {
  const own = values['diffx'];
  const sections = isValues(own) ? { ...values, diffx: withoutNulls(own) } : values;
  const result = SCHEMAS[kind].safeParse(sections);
  if (!result.success) {
    const [issue] = result.error.issues;
    if (!issue) throw errors.internal('a configuration is invalid without a reason');
    const key = issue.path.filter((part) => typeof part === 'string');
    throw errors.configValue(place(key), key.join('.'), issueText(issue, sections));
  }
  const data: Settings & { diffx?: Settings | undefined } = result.data;
  const { diffx, ...settings } = data;
  return { ...settings, ...diffx };
}
