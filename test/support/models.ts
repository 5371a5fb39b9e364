/** Models in text form, as files and as graphs. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { DiffxError } from '../../src/errors';
import { load, type Model, type Node, save, type Value } from '../../src/ir';
import { type Fill, parseText, printText } from '../../src/ir/text';
import {
  derive,
  encode,
  type GraphProto,
  type ModelFile,
  type ModelProto,
  parseModel,
  readModel,
} from '../../src/onnx';
import { randomFill, temporaryFolder } from './fixtures';

/**
 * The bytes of a model in text form.
 * @param fill elements of tensors written as `{...}`, or the seed of numbers from -1 to 1
 */
export function textBytes(text: string, fill: Fill | number = 0): Uint8Array {
  const elements = typeof fill === 'number' ? randomFill(fill) : fill;
  return encode('ModelProto', parseText(text, { fill: elements })).read();
}

/** A model in text form, read as from a file. */
export function textFile(text: string, seed = 0): ModelFile {
  return parseModel(textBytes(text, seed), { name: 'text.onnx' });
}

/** A model in text form as a graph. */
export function textModel(text: string, seed = 0): Model {
  return load(textFile(text, seed));
}

let written = 0;

/** Writes bytes into the temporary folder of this test file; gives the path. */
export function modelPath(bytes: Uint8Array): string {
  const file = path.join(temporaryFolder(), `model-${written++}.onnx`);
  fs.writeFileSync(file, bytes);
  return file;
}

/** Rewrites a model in text form. */
export function rewriteText(text: string, settings: RewriteFileSettings = {}, seed = 0) {
  return rewriteModel(modelPath(textBytes(text, seed)), settings);
}

/** The bytes of what a rewrite gives, side files included. */
export function rewriteToBytes(model: string, settings: RewriteFileSettings): Uint8Array {
  return rewrittenBytes(rewriteModel(model, settings)).read();
}

/** A model as text, every small tensor included: two models with one text are the same to a reader. */
export function modelText(model: Model): string {
  return printText(save(model), { maxElements: 64, metadata: true });
}

export function graphOf(model: ModelProto): GraphProto {
  if (!model.graph) throw new Error('no graph');
  return model.graph;
}

/** The node of this name. */
export function nodeNamed(model: Model, name: string): Node {
  for (const graph of model.scopes()) {
    const node = graph.nodes.find((each) => each.name === name);
    if (node) return node;
  }
  throw new Error(`no node ${name}`);
}

/** The value of this name in the main graph. */
export function valueNamed(model: Model, name: string): Value {
  const value = model.graph.values.get(name);
  if (!value) throw new Error(`no value ${name}`);
  return value;
}

/** A model that also gives values from inside. Their types are left to the runtime, which infers them. */
export function exposing(model: Uint8Array | string, names: readonly string[]): Uint8Array {
  const { proto } = typeof model === 'string' ? readModel(model) : parseModel(model);
  const graph = graphOf(proto);
  const known = new Set(graph.output.map(({ name }) => name));
  const added = names.flatMap((name) => (known.has(name) ? [] : [{ name, metadataProps: [] }]));
  const exposed = derive(graph, { output: [...graph.output, ...added] });
  return encode('ModelProto', derive(proto, { graph: exposed })).read();
}

/** The user's error that a function throws; anything else that it throws is thrown on. */
export function thrownBy(run: () => unknown): DiffxError {
  try {
    run();
  } catch (error) {
    if (error instanceof DiffxError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
