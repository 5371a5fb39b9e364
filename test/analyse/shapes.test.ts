/** Shapes and shape arithmetic of real exports, against the shapes and numbers of every value in a run. */
import { type Dim, Shapes } from '../../src/analyse';
import { declaredShape, load, type Model, type Value } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { DataType } from '../../src/onnx/data-types';
import { exportNames, openExport } from '../support/fixtures';
import { exposing } from '../support/models';
import { numbersOf, readTensors, runModel, type Tensor, type Tensors } from '../support/run';

/** What symbols stand for in one run. */
class Bindings {
  readonly #numbers = new Map<string, number>();

  /** What inputs declare, and what they are fed. */
  constructor(model: Model, feeds: Tensors) {
    for (const input of model.graph.inputs) {
      declaredShape(input)?.forEach((dim, axis) => {
        const size = feeds[input.name]?.shape[axis];
        if (typeof dim === 'string' && size !== undefined) this.#numbers.set(dim, size);
      });
    }
  }

  /** The number that a dimension is; a symbol that is seen for the first time is what it is found to be. */
  resolve(dim: Dim, found: number): number | string {
    if (dim.value !== undefined) return dim.value;
    const name = dim.toString();
    const known = evaluate(name, this.#numbers);
    if (known !== undefined) return known;
    if (!dim.isSymbol) return name;
    this.#numbers.set(name, found);
    return found;
  }
}

/** The value of a dimension as it is printed, rounded quotients included; undefined if it has an unknown symbol. */
function evaluate(text: string, numbers: ReadonlyMap<string, number>): number | undefined {
  const formula = text
    .replaceAll('·', '*')
    .replaceAll(/\?\d+|[A-Za-z_][\w.]*/g, (name) =>
      name === 'floor' ? 'Math.floor' : String(numbers.get(name) ?? '?'),
    );
  return formula.includes('?') ? undefined : Number(new Function(`return ${formula}`)());
}

interface Wrong {
  readonly value: string;
  readonly predicted: string;
  readonly actual: string;
}

/** Where what is known of a value is not what it is. */
function compareFact(value: Value, actual: Tensor, shapes: Shapes, symbols: Bindings): Wrong[] {
  const { shape, elements } = shapes.fact(value);
  const wrong: Wrong[] = [];
  const say = (predicted: unknown[], found: readonly unknown[]) =>
    wrong.push({ value: value.name, predicted: `${predicted}`, actual: `${found}` });
  if (shape) {
    const predicted = shape.map((dim, axis) => symbols.resolve(dim, actual.shape[axis] ?? -1));
    if (`${predicted}` !== `${actual.shape}`) say(predicted, actual.shape);
  }
  if (elements && (actual.dtype === DataType.INT64 || actual.dtype === DataType.INT32)) {
    const numbers = numbersOf(actual);
    const predicted = elements.map((dim, i) => symbols.resolve(dim, numbers[i] ?? -1));
    if (`${predicted}` !== `${numbers}`) say(predicted, numbers);
  }
  return wrong;
}

// Quantized variants fuse differently on every machine; com.microsoft operators have shapes of their own.
const names = exportNames().filter((name) => !/\+(int8|q4|external)|^ms-|merged/.test(name));

test.each(names)('%s', async (name) => {
  const { model: path, io } = openExport(name);
  const model = load(readModel(path));
  const shapes = new Shapes(model);
  const feeds = readTensors(io, 'input.');
  const values = model.graph.nodes.flatMap(({ outputs }) => outputs.flatMap((value) => value ?? []));
  const bytes = exposing(
    path,
    values.map((value) => value.name),
  );
  const actual = await runModel(bytes, feeds, { optimization: name.includes('fp16') ? 'all' : 'disabled' });
  const symbols = new Bindings(model, feeds);
  const wrong = values.flatMap((value) => {
    const tensor = actual[value.name];
    if (!tensor) throw new Error(`no ${value.name}`);
    return compareFact(value, tensor, shapes, symbols);
  });
  expect(wrong).toEqual([]);
  const unknown = values.filter((value) => !shapes.shape(value) && !mayBeUnknown(value));
  expect(unknown.map((value) => `${value.name}: ${value.producer?.operator}`)).toEqual([]);
});

/** What has no rule: Resize with what follows it, and the sum that SkipLayerNormalization gives beside its result. */
function mayBeUnknown(value: Value): boolean {
  const node = value.producer;
  if (!node || node.is('Resize')) return true;
  if (node.opType === 'SkipLayerNormalization') return value.outputIndex > 0;
  return node.is('Cast', 'Transpose') && node.inputs[0] !== undefined && mayBeUnknown(node.inputs[0]);
}
