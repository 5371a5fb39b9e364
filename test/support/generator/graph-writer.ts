/**
 * Writes a random graph in text form. Values know what their axes mean: each axis is a product of *labels* (`B` batch, `S`
 * rows, `g` key heads, …), as `[['B'], ['S'], ['g', 'r', 'd']]`. What an exporter would write to bring a value into another
 * layout is left to chance.
 */
import type { Fill } from '../../../src/ir/text';

export type Label = string;
export type Axes = readonly (readonly Label[])[];
export type ElementType = 'float' | 'float16' | 'int64' | 'int32' | 'bool';

export interface Labelled {
  readonly name: string;
  readonly axes: Axes;
  readonly type: ElementType;
}

export interface GraphSettings {
  readonly sizes: Readonly<Record<Label, number>>;
  /** Labels whose sizes the graph does not know. */
  readonly dynamic: ReadonlySet<Label>;
  readonly opset: number;
  /** Type of weights and activations. */
  readonly float: 'float' | 'float16';
  /** Where choices come from. */
  readonly numbers: readonly number[];
}

interface NodeSettings {
  readonly attributes?: string;
  readonly domain?: string;
  readonly outputs?: number;
  /** Name of the result, for outputs of the graph. */
  readonly as?: string;
}

export class GraphWriter {
  /** Inputs of the graph: sizes can be read from them. */
  readonly sources: Labelled[] = [];
  readonly #inputs: string[] = [];
  readonly #outputs: string[] = [];
  readonly #constants: string[] = [];
  readonly #lines: string[] = [];
  readonly #filled = new Map<string, ArrayLike<number>>();
  readonly #domains = new Set<string>();
  #values = 0;
  #chosen = 0;

  constructor(readonly settings: GraphSettings) {}

  /** A choice that the case leaves open: a number below the bound. */
  pick(bound: number): number {
    const { numbers } = this.settings;
    return (numbers[this.#chosen++ % numbers.length] ?? 0) % bound;
  }

  /** One of several ways; the first is the plainest. */
  either<T>(...ways: readonly (() => T)[]): T {
    const way = ways[this.pick(ways.length)];
    if (!way) throw new Error('no way');
    return way();
  }

  size(labels: readonly Label[]): number {
    return labels.reduce((all, label) => {
      const size = this.settings.sizes[label];
      if (size === undefined) throw new Error(`no size of ${label}`);
      return all * size;
    }, 1);
  }

  shapeOf(value: Labelled): number[] {
    return value.axes.map((axis) => this.size(axis));
  }

  isStatic(labels: readonly Label[]): boolean {
    return labels.every((label) => !this.settings.dynamic.has(label));
  }

  #declared(axis: readonly Label[]): string {
    return this.isStatic(axis) ? String(this.size(axis)) : axis.join('_');
  }

  input(name: string, axes: Axes, type: ElementType = this.settings.float): Labelled {
    this.#inputs.push(`${type}[${axes.map((axis) => this.#declared(axis)).join(', ')}] ${name}`);
    const value = { name, axes, type };
    this.sources.push(value);
    return value;
  }

  /** An input of 32-bit numbers that all layers share. */
  shared32(name: string, axes: Axes): string {
    if (!this.sources.some((known) => known.name === name)) this.input(name, axes, 'int32');
    return name;
  }

  output({ name, axes, type }: Labelled): void {
    this.#outputs.push(`${type}[${axes.map((axis) => this.#declared(axis)).join(', ')}] ${name}`);
  }

  op(operator: string, inputs: readonly (string | undefined)[], settings: NodeSettings = {}): string {
    return this.ops(operator, inputs, settings)[0] ?? '';
  }

  ops(
    operator: string,
    inputs: readonly (string | undefined)[],
    { attributes, domain, outputs = 1, as }: NodeSettings = {},
  ): string[] {
    const names = Array.from({ length: outputs }, (_, i) => (i === 0 && as ? as : `v${this.#values++}`));
    const given = inputs.map((each) => each ?? '""').join(', ');
    if (domain) this.#domains.add(domain);
    const called = domain ? `${domain}.${operator}` : operator;
    this.#lines.push(`${names.join(', ')} = ${called}${attributes ? ` <${attributes}>` : ''} (${given})`);
    return names;
  }

  /** A value with the labels of another after an operator that keeps its shape. */
  like(
    value: Labelled,
    operator: string,
    others: readonly string[] = [],
    settings: NodeSettings = {},
  ): Labelled {
    return { ...value, name: this.op(operator, [value.name, ...others], settings) };
  }

  /** A stored tensor with these numbers. */
  weight(name: string, shape: readonly number[], numbers: ArrayLike<number>, type?: ElementType): string {
    const count = shape.reduce((all, size) => all * size, 1);
    if (numbers.length !== count) throw new Error(`${numbers.length} numbers for ${name} [${shape}]`);
    this.#filled.set(name, numbers);
    this.#constants.push(
      `${type ?? this.settings.float}${shape.length > 0 ? `[${shape}]` : ''} "${name}" = {...}`,
    );
    return `"${name}"`;
  }

  /** A nameless constant. */
  floats(shape: readonly number[], numbers: ArrayLike<number>, type?: ElementType): string {
    return this.weight(`c${this.#values++}`, shape, numbers, type);
  }

  scalar(number: number, type?: ElementType): string {
    return this.floats(this.pick(3) === 1 ? [1] : [], [number], type);
  }

  /** Whole numbers, as a list or a scalar, stored or made by a node. */
  ints(numbers: readonly number[]): string {
    return this.#int(`[${numbers.length}]`, numbers);
  }

  int(number: number): string {
    return this.#int('', [number]);
  }

  #int(shape: string, numbers: readonly number[]): string {
    if (this.pick(2) === 0) {
      const name = `c${this.#values++}`;
      this.#constants.push(`int64${shape} ${name} = {${numbers.join(', ')}}`);
      return name;
    }
    return this.op('Constant', [], { attributes: `value = int64${shape} {${numbers.join(', ')}}` });
  }

  /** Now and then a node that changes nothing. */
  noise(value: Labelled): Labelled {
    switch (this.pick(24)) {
      case 21:
        return this.like(value, 'Identity');
      case 22:
        return this.like(value, 'Cast', [], { attributes: `to = ${typeNumber(value.type)}` });
      case 23: {
        const axis = this.pick(value.axes.length + 1);
        const axes = this.ints([axis]);
        return this.like(this.like(value, 'Unsqueeze', [axes]), 'Squeeze', [axes]);
      }
      default:
        return value;
    }
  }

  /** Text, and the numbers of its tensors. */
  finish(): { readonly text: string; readonly fill: Fill } {
    const domains = [...this.#domains].map((domain) => `, "${domain}" : 1`).join('');
    const constants = this.#constants.length > 0 ? ` <\n  ${this.#constants.join(',\n  ')}\n>` : '';
    const text = `<ir_version: ${this.settings.opset >= 23 ? 11 : 8}, opset_import: ["" : ${this.settings.opset}${domains}]>
g (${this.#inputs.join(', ')}) => (${this.#outputs.join(', ')})${constants} {
  ${this.#lines.join('\n  ')}
}`;
    const fill: Fill = (name) => {
      const numbers = this.#filled.get(name);
      if (!numbers) throw new Error(`no numbers for ${name}`);
      return numbers;
    };
    return { text, fill };
  }
}

export function typeNumber(type: ElementType): number {
  return { float: 1, float16: 10, int64: 7, int32: 6, bool: 9 }[type];
}
