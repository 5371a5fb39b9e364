import { type Dataflow, isDequantize, isQuantize, type Shapes } from '../../analyse';
import {
  functionKey,
  type Graph,
  keyOfFunction,
  type Model,
  type Node,
  type Use,
  type Value,
} from '../../ir';
import { DataType } from '../../onnx';
import type { AttentionValues } from './attention-values';
import { constantNumber } from './constant-number';
import {
  elementwise,
  indexRange,
  isElementwise,
  mapMaskForm,
  maskForm,
  type Numbers,
  OPEN,
  type Operand,
  offsetOf,
  ordersNumbers,
  PROBES,
} from './numbers';
import { operatorInput, tablesOf } from './operator-inputs';
import { type InputUses, narrower, noUses } from './uses';

/** What of an input arrives at a value. */
interface Trace {
  readonly numbers: Numbers;
  /** Nothing but layout and type have changed. */
  readonly raw: boolean;
  /** Elements were added up, so that what arrives is a count. */
  readonly counted: boolean;
  /** It was compared with something else, and which is larger decides. */
  readonly ordered: boolean;
  /** Nothing else that is fed has a part in it. */
  readonly alone: boolean;
}

const UNTOUCHED = { raw: true, counted: false, ordered: false, alone: true };

/** Operators that move elements, or pick some: what arrives at the first input leaves. */
const LAYOUT = [
  ...[
    'Cast',
    'CastLike',
    'Expand',
    'Flatten',
    'Gather',
    'Identity',
    'Reshape',
    'Slice',
    'Split',
    'Squeeze',
    'Tile',
    'Transpose',
    'Unsqueeze',
  ],
];
/** The same, but not all of the input, or not it alone. */
const PICKING = [
  ...['AveragePool', 'Concat', 'Dropout', 'GatherElements', 'GatherND', 'MaxPool', 'Pad', 'Resize'],
  ...['ScatterElements', 'ScatterND', 'Trilu', 'Upsample'],
];
const COUNTING = ['CumSum', 'ReduceSum'];
const JOINING = ['Concat', 'ScatterElements', 'ScatterND', 'TensorScatter'];
const PRODUCTS = ['Einsum', 'MatMul'];
/** Inputs that say what shape there shall be. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  ConstantOfShape: [0],
  Expand: [1],
  Loop: [0],
  OneHot: [1],
  Range: [0, 1, 2],
  Reshape: [1],
  Slice: [1, 2],
  Tile: [1],
  TopK: [1],
};

/** Nodes are looked at once; bodies of functions once for each call, as long as it is not more often than this in all. */
const CALLS = 200;
const DEPTH = 32;
/** Operands that are looked at in all: hostile graphs join thousands of inputs in thousands of nodes. */
const STEPS = 5_000_000;

/** Follows the inputs of a model to what is done with them: one walk over the graph, in order. */
export class Tracer {
  readonly uses = new Map<Value, InputUses>();
  readonly #traces = new Map<Value, Map<Value, Trace>>();
  readonly #functions: ReadonlyMap<string, Graph>;
  /** What a body is given, by its own input. */
  readonly #given = new Map<Value, Value>();
  #calls = 0;
  #steps = 0;

  constructor(
    readonly model: Model,
    readonly shapes: Shapes,
    readonly dataflow: Dataflow,
    readonly attentions: AttentionValues,
  ) {
    this.#functions = new Map(model.functions.map((fn) => [keyOfFunction(fn.proto), fn.body]));
    for (const input of model.graph.inputs) {
      if (input.initializer) continue;
      const numbers = probesFor(input);
      this.uses.set(input, noUses());
      this.#traces.set(input, new Map([[input, { numbers, ...UNTOUCHED }]]));
    }
    this.#visit(model.graph, 0);
  }

  #visit(graph: Graph, depth: number): void {
    for (const node of graph.nodes) {
      this.#enter(node, depth);
      const reached = new Set(
        node.inputs.flatMap((input) => [...(this.#traces.get(input as Value)?.keys() ?? [])]),
      );
      for (const source of reached) {
        this.#steps += node.inputs.length;
        if (this.#steps > STEPS) return;
        this.#step(node, source);
      }
    }
  }

  /** Bodies, with what they are given and what they give. */
  #enter(node: Node, depth: number): void {
    const bodies = [...node.bodies.values()];
    const body = this.#functions.get(functionKey(node.domain, node.opType, node.overload));
    if (body && depth < DEPTH && this.#calls++ < CALLS) bodies.push(body);
    for (const each of bodies) {
      if (!node.is('If')) {
        each.inputs.forEach((value, index) => {
          const given = node.inputs[index];
          if (given) this.#given.set(value, given);
          this.#hand(given, value);
        });
      }
      this.#visit(each, depth + 1);
      const skipped = node.is('Loop') ? 1 : 0;
      each.outputs.slice(skipped).forEach((value, index) => {
        this.#hand(value, node.outputs[index]);
      });
    }
  }

  #hand(from: Value | undefined, to: Value | undefined): void {
    const traces = from && this.#traces.get(from);
    if (!traces || !to || from === to) return;
    for (const [source, trace] of traces) this.#arrive(to, source, trace);
  }

  #arrive(value: Value, source: Value, trace: Trace): void {
    const traces = this.#traces.get(value) ?? new Map<Value, Trace>();
    const before = traces.get(source);
    this.#traces.set(value, traces.set(source, before?.raw && !trace.raw ? before : trace));
    const uses = this.#usesOf(source);
    if (this.attentions.scores.has(value)) {
      this.#setMask(uses, maskForm(trace.numbers));
      if (trace.ordered && !trace.counted) uses.positions = true;
    } else if (this.attentions.maps.has(value)) this.#setMask(uses, mapMaskForm(trace.numbers));
  }

  #usesOf(source: Value): InputUses {
    const uses = this.uses.get(source) ?? noUses();
    this.uses.set(source, uses);
    return uses;
  }

  #setMask(uses: InputUses, form: InputUses['mask']): void {
    if (form) uses.mask ??= form;
  }

  #step(node: Node, source: Value): void {
    const traces = node.inputs.map((input) => input && this.#traces.get(input)?.get(source));
    traces.forEach((trace, index) => {
      if (trace) this.#note(node, index, trace, source);
    });
    if (this.#joins(node, traces, source)) return;
    const left = this.#leaving(node, traces, source);
    if (left) for (const output of node.outputs) if (output) this.#arrive(output, source, left);
  }

  /** Notes what a node does with what arrives at one of its inputs. */
  #note(node: Node, index: number, trace: Trace, source: Value): void {
    const uses = this.#usesOf(source);
    for (const { indices, table } of tablesOf(node))
      if (indices === index) this.#noteIndex(node, table, trace, uses);
    if (node.is('If')) uses.condition = true;
    if (node.is(...COUNTING) && index === 0 && trace.raw) uses.counted = true;
    if (node.domain === '' && SHAPES[node.opType]?.includes(index)) uses.shape = true;
    if (node.is('Cos', 'Sin') && isInteger(source) && !trace.counted) uses.positions = true;
    if (trace.raw && this.attentions.products.has(node)) uses.whole = true;
    this.#noteOperator(node, index, trace, uses);
  }

  #noteIndex(node: Node, table: number, trace: Trace, uses: InputUses): void {
    const shape = this.shapes.shape(this.#outside(node.inputs[table]));
    if (!shape) return;
    const axis = node.int('axis') ?? 0;
    const at = shape[axis < 0 ? axis + shape.length : axis];
    // Of a size that is not known before the model runs, there is one row at least.
    const range = indexRange(trace.numbers, at?.value ?? 1);
    if (range) uses.index = narrower(uses.index, range);
    if (!range) return;
    if (this.#isMultiplied(node)) uses.multiplied = true;
    else uses.features = true;
  }

  #noteOperator(node: Node, index: number, trace: Trace, uses: InputUses): void {
    const input = operatorInput(node, index);
    if (!input) return;
    const rank = this.shapes.shape(node.inputs[index])?.length;
    if (input === 'past') {
      if (trace.raw) uses.past ??= { axis: undefined };
    } else if (input === 'positions') uses.positions ||= !trace.counted;
    else if (input === 'bias') this.#setMask(uses, maskForm(trace.numbers));
    else if (input === 'mask') this.#setMask(uses, maskForm(trace.numbers) ?? truthMask(trace.numbers));
    else if (input === 'mask-index' && rank !== 1) this.#setMask(uses, truthMask(trace.numbers));
    else if (trace.counted) uses.mask ??= 'keep';
    else {
      const keys = this.shapes.shape(node.inputs[1])?.at(-2);
      const lengths = input === 'mask-index' ? 'lengths' : input;
      uses.operators.push({ input: lengths, offset: offsetOf(trace.numbers) ?? 0, keys });
    }
  }

  /** Whether new keys or values are put behind an input. */
  #joins(node: Node, traces: readonly (Trace | undefined)[], source: Value): boolean {
    const [output] = node.outputs;
    if (!node.is(...JOINING) || !output || !traces.some((trace) => trace?.raw)) return false;
    const { sides, behindLayers } = this.attentions;
    if (!sides.has(output) && !behindLayers.has(output)) return false;
    const joined = node.inputs.some((input, index) => !traces[index] && this.dataflow.dependsOnData(input));
    const at = traces.findIndex((trace) => trace?.raw);
    if (!joined || (source.type?.tensorType?.shape?.dim.length ?? 0) < 3) return false;
    const shape = this.shapes.shape(node.inputs[at]);
    const axis = node.int('axis') ?? 0;
    const length = node.is('Concat') ? shape?.[axis < 0 ? axis + shape.length : axis] : undefined;
    const own = this.shapes.shape(source) ?? [];
    const same = own.flatMap((dim, index) => (length?.equals(dim) ? [index] : []));
    // What is put behind features is no past.
    if (!sides.has(output) && shape && axis === shape.length - 1) return false;
    this.#usesOf(source).past ??= { axis: same.length === 1 ? same[0] : undefined };
    return true;
  }

  /** What leaves a node; undefined where it can no longer be told what has become of the input. */
  #leaving(node: Node, traces: readonly (Trace | undefined)[], source: Value): Trace | undefined {
    const present = traces.flatMap((trace) => trace ?? []);
    const [any] = present;
    if (isQuantize(node) || isDequantize(node)) return traces[0];
    if (!any || node.domain !== '') return undefined;
    const others = node.inputs.filter((_, index) => !traces[index]);
    const flags = {
      raw: false,
      counted: present.some(({ counted }) => counted),
      ordered: present.some(({ ordered }) => ordered),
      alone: present.every(({ alone }) => alone) && !others.some((other) => this.#isFed(other)),
    };
    if (node.is(...LAYOUT)) {
      const [first] = traces;
      return first && { ...first, numbers: this.#cast(node, first.numbers) };
    }
    if (node.is(...PICKING)) return { ...flags, raw: any.raw && node.is('Concat'), numbers: any.numbers };
    if (node.is(...COUNTING)) return traces[0] && { ...flags, counted: true, numbers: OPEN };
    if (node.is(...PRODUCTS)) return this.#product(node, traces, flags, source);
    if (!isElementwise(node.opType)) return undefined;
    const operands = node.inputs.map(
      (input, index): Operand =>
        traces[index]?.numbers ?? constantNumber(this.model, this.#outside(input), LAYOUT),
    );
    const ordered = flags.ordered || (ordersNumbers(node.opType) && operands.includes(undefined));
    // Keys are scaled on their way.
    const raw = any.raw && node.is('Mul', 'Div') && !operands.includes(undefined) && present.length === 1;
    return { ...flags, ordered, raw, numbers: elementwise(node.opType, operands) };
  }

  /** Masks multiplied with themselves, and positions with frequencies; anything else is features. */
  #product(
    node: Node,
    traces: readonly (Trace | undefined)[],
    flags: Omit<Trace, 'numbers'>,
    source: Value,
  ): Trace | undefined {
    const [left, right] = traces;
    if (left && right) return { ...flags, numbers: elementwise('Mul', [left.numbers, right.numbers]) };
    const other = node.inputs[left ? 1 : 0];
    return isInteger(source) && flags.alone && !this.#isFed(other) ? { ...flags, numbers: OPEN } : undefined;
  }

  #isFed(value: Value | undefined): boolean {
    return this.dataflow.dependsOnData(this.#outside(value));
  }

  #cast(node: Node, numbers: Numbers): Numbers {
    if (!node.is('Cast')) return numbers;
    const to = node.int('to') ?? 0;
    if (to === DataType.BOOL)
      return numbers.map((value) => (Number.isNaN(value) ? value : value === 0 ? 0 : 1));
    return to === DataType.INT32 || to === DataType.INT64 ? numbers.map(Math.trunc) : numbers;
  }

  /** Whether what is read from a table is multiplied with features, as cosines are, and not added, as embeddings are. */
  #isMultiplied(node: Node): boolean {
    let value = node.outputs[0];
    for (let steps = 0; value && steps < DEPTH; steps++) {
      const [use, ...others] = [...value.uses].filter(({ node: reader }) => !reader.is('Shape'));
      if (!use) return false;
      if (use.node.is('Mul')) return [use, ...others].every((each) => this.#isByFeatures(each));
      if (others.length > 0 || !use.node.is(...LAYOUT)) return false;
      value = use.node.outputs[0];
    }
    return false;
  }

  /** A mask multiplies as well, but all columns alike. */
  #isByFeatures({ node, index }: Use): boolean {
    const other = node.inputs[1 - index];
    const width = this.shapes.shape(other)?.at(-1);
    return node.is('Mul') && this.#isFed(other) && width !== undefined && width.value !== 1;
  }

  /** What a value is, where it is an input of a body, outside of it. */
  #outside(value: Value | undefined): Value | undefined {
    let at = value;
    for (let depth = 0; at && depth < DEPTH; depth++) at = this.#given.get(at) ?? at;
    return at;
  }
}

/** A mask that says which keys are seen. */
function truthMask(numbers: Numbers): InputUses['mask'] {
  return maskForm(numbers.map((value) => (value === 0 ? PROBES[0] : Number.NaN)));
}

/** What an input may hold: true and false, integers from 0 on, or floats. */
function probesFor(input: Value): Numbers {
  if (input.type?.tensorType?.elemType === DataType.BOOL) return PROBES.map((value) => (value === 0 ? 0 : 1));
  return isInteger(input) ? PROBES.map((value) => (value < 0 ? 1 : value)) : PROBES;
}

function isInteger(value: Value): boolean {
  const type = value.type?.tensorType?.elemType;
  return type === DataType.INT64 || type === DataType.INT32;
}
