import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isNode, isScalar, isSeq, type Pair, stringify, type YAMLMap } from 'yaml';
import type { ConfigFile } from './read';
import { parseYaml } from './yaml';

/** What the original converter appends to the plugins of a configuration. */
export const PLUGIN = 'axolotl_diff_transformer.plugin.DifferentialTransformerPlugin';

/** Name of the updated configuration in the output folder: that of the original converter. */
export const UPDATED_NAME = 'axolotl_config.yml';

/**
 * The configuration of a rewritten model, as the original converter writes it: `base_model` is the output,
 * `diff_attention` is true, and the plugin is there once. Everything else stays as it stands in the file, to the byte.
 */
export function updatedConfig({ text, document }: ConfigFile, baseModel: string): string {
  const values: Record<string, unknown> = document.toJS() ?? {};
  const before = Array.isArray(values['plugins']) ? values['plugins'] : [];
  const wanted = {
    ...values,
    base_model: baseModel,
    diff_attention: true,
    plugins: before.includes(PLUGIN) ? before : [...before, PLUGIN],
  };
  const edited = editedText(text, document, baseModel);
  if (edited !== undefined && isDeepStrictEqual(valuesOf(edited), wanted)) return edited;
  return rewritten(text, wanted);
}

/** undefined for text that is no YAML. */
function valuesOf(text: string): unknown {
  const document = parseYaml(text);
  return document.errors.length > 0 ? undefined : document.toJS();
}

/** By the document: for files that are not written line by line, such as `{base_model: a}`. Comments and order stay. */
function rewritten(text: string, wanted: Readonly<Record<string, unknown>>): string {
  const document = parseYaml(text);
  for (const key of ['base_model', 'diff_attention', 'plugins']) document.set(key, wanted[key]);
  return document.toString({ lineWidth: 0 });
}

interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** The text with the values in their places; undefined where there are no lines of keys. */
function editedText(text: string, { contents }: Document, baseModel: string): string | undefined {
  const map = contents === null ? undefined : contents;
  if (map !== undefined && (!isMap(map) || map.flow)) return undefined;
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const whole = text === '' || text.endsWith('\n') ? text : text + newline;
  const edits: Edit[] = [];
  const missing: string[] = [];
  for (const [key, value] of [
    ['base_model', stringify(baseModel, { lineWidth: 0 }).trimEnd()],
    ['diff_attention', 'true'],
  ] as const) {
    const edit = valueEdit(pairOf(map, key), value);
    if (edit) edits.push(edit);
    else missing.push(`${key}: ${value}${newline}`);
  }
  const plugins = pairOf(map, 'plugins');
  const item = plugins && pluginEdit(whole, plugins, newline);
  if (item) edits.push(item);
  else if (!plugins) missing.push(`plugins:${newline}  - ${PLUGIN}${newline}`);
  return apply(whole, edits) + missing.join('');
}

function apply(text: string, edits: readonly Edit[]): string {
  return [...edits]
    .sort((a, b) => b.from - a.from)
    .reduce((all, { from, to, text: piece }) => all.slice(0, from) + piece + all.slice(to), text);
}

function pairOf(map: YAMLMap | undefined, key: string): Pair | undefined {
  return map?.items.find((item) => isScalar(item.key) && item.key.value === key);
}

function valueEdit(pair: Pair | undefined, value: string): Edit | undefined {
  if (!pair) return undefined;
  const edit = valueEditOf(pair.value, value);
  // `key:` without a value is an empty range behind the colon.
  return edit && edit.from === edit.to ? { ...edit, text: ` ${value}` } : edit;
}

function valueEditOf(value: unknown, text: string): Edit | undefined {
  const [from, to] = (isScalar(value) && value.range) || [];
  return from == null || to == null ? undefined : { from, to, text };
}

/** Behind the last plugin, written as that one is. */
function pluginEdit(text: string, { value }: Pair, newline: string): Edit | undefined {
  if (value === null || (isScalar(value) && value.value === null)) {
    return valueEditOf(value, `${newline}  - ${PLUGIN}`);
  }
  if (!isSeq(value) || value.items.some((item) => isScalar(item) && item.value === PLUGIN)) return undefined;
  const last = value.items.at(-1);
  if (value.flow) {
    const end = isNode(last) ? last.range?.[1] : (value.range?.[0] ?? 0) + 1;
    return end == null
      ? undefined
      : { from: end, to: end, text: last === undefined ? PLUGIN : `, ${PLUGIN}` };
  }
  const [start, end] = (isScalar(last) && last.range) || [];
  if (start == null || end == null) return undefined;
  const dash = text.lastIndexOf('-', start);
  const indent = text.slice(text.lastIndexOf('\n', dash) + 1, dash);
  const at = text.indexOf('\n', end) + 1;
  return { from: at, to: at, text: `${indent}- ${PLUGIN}${newline}` };
}
