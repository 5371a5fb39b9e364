import type { Shapes } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Pairing } from '../attention/presets';
import type { RewrittenLayer } from '../attention/record';
import { columnsOf, type OperatorCore } from '../attention/site';
import type { Graph, Model, Node, Value } from '../ir';
import { derive } from '../onnx';
import { DataType } from '../onnx/data-types';
import { addNode, firstReaderPlace, intAttribute, tensorAttribute } from './edit';
import { type ScopePath, scopeAt } from './places';

/**
 * Split mode behind a fused operator that shows no maps: verification calls the operator of the original once more,
 * with the value heads of each pair exchanged. Its own call gives every head's map times its own values, the other
 * one times those of its partner; what the layer must give follows from the two.
 */

/** Names of what the calls give. */
export interface OperatorCalls {
  readonly own: string;
  readonly exchanged: string;
}

/** True for operators whose maps the float64 reference can compute: ONNX's own, of rank 4 and without a cache. */
export function showsMaps({ node, merged, cache }: OperatorCore): boolean {
  return node.is('Attention') && !merged && !cache && !node.inputs[4];
}

/** The calls of a layer; undefined where the rewritten model has lost the operator. */
export function callsOf(
  rewritten: Model,
  { core }: LocatedSite,
  layer: RewrittenLayer,
  scope: ScopePath,
): OperatorCalls | undefined {
  const graph = scopeAt(rewritten, scope);
  const own = core.kind === 'operator' && graph ? ownCall(graph, core)?.outputs[0] : undefined;
  return own && { own: own.name, exchanged: `diffx/exchanged/${layer.output}` };
}

/** The operator of the original in the rewritten model or a copy of it. */
function ownCall(graph: Graph, { node }: OperatorCore): Node | undefined {
  const reads = (each: Node) => each.inputs.map((input) => input?.name ?? '').join('\n');
  return graph.nodes.find(
    (each) => each.operator === node.operator && each.name === node.name && reads(each) === reads(node),
  );
}

/** Adds the second call. */
export function addExchangedCall(
  model: Model,
  site: LocatedSite,
  scope: ScopePath,
  calls: OperatorCalls,
  shapes: Shapes,
  pairing: Pairing,
): void {
  const { core } = site;
  const merged = site.kvHeads * site.valueWidth;
  const graph = scopeAt(model, scope);
  const own = core.kind === 'operator' && graph ? ownCall(graph, core) : undefined;
  if (core.kind !== 'operator' || !own) return;
  const exchange = new Exchange(own.graph, own, site.kvHeads, pairing, model.opset);
  const inputs = [...own.inputs];
  const change = (index: number | undefined, how: (value: Value) => Value) => {
    const value = index === undefined ? undefined : inputs[index];
    if (index !== undefined && value) inputs[index] = how(value);
  };
  const keyed = columnsOf(site.query) + columnsOf(site.key);
  change(core.biasIndex, (value) => exchange.behind(value, 0, keyed, merged));
  change(core.weightIndex, (value) => exchange.behind(value, 1, keyed, merged));
  if (core.weightIndex === undefined) {
    const heads = shapes.shape(core.values)?.[1]?.value;
    if (core.merged) change(core.valueIndex, (value) => exchange.pairs(value, 2, merged));
    else if (heads !== undefined && heads > 1)
      change(core.valueIndex, (value) => exchange.pairs(value, 1, heads));
  }
  if (site.kvHeads > 1) change(core.cache?.pastValue, (value) => exchange.pairs(value, 1, site.kvHeads));
  const output = own.outputs.map((value, index) => {
    if (!value) return '';
    return index === 0 ? calls.exchanged : model.names.mint(`${value.name}/exchanged`);
  });
  const proto = derive(own.proto, { name: calls.exchanged, input: [], output });
  const before = own.outputs[0] && firstReaderPlace(own.outputs[0]);
  const [call] = own.graph.insertBefore(before, [{ proto, inputs }]);
  // Undeclared, what is cached would be taken to be as long as the past, and written over it.
  call?.outputs.forEach((value, index) => {
    if (value) own.graph.setType(value, own.outputs[index]?.type);
  });
}

class Exchange {
  constructor(
    readonly graph: Graph,
    readonly before: Node,
    /** Stored value heads. */
    readonly heads: number,
    readonly pairing: Pairing,
    readonly opset: number,
  ) {}

  /** Each stored head in the place of its partner, on an axis of `length` elements. */
  pairs(value: Value, axis: number, length: number): Value {
    if (this.pairing === 'halves') return this.#halves(value, axis);
    const run = length / this.heads;
    const from = (at: number) => (Math.floor(at / run) ^ 1) * run + (at % run);
    const order = BigInt64Array.from({ length }, (_, at) => BigInt(from(at)));
    const tensor = { dtype: DataType.INT64, shape: [length], data: order };
    const indices = addNode(this.graph, this.before, 'Constant', [], 'diffx/partners', [
      tensorAttribute('value', tensor),
    ]);
    return addNode(this.graph, this.before, 'Gather', [value, indices], 'diffx/exchanged_pairs', [
      intAttribute('axis', axis),
    ]);
  }

  /** The second half of an axis, then the first. */
  #halves(value: Value, axis: number): Value {
    const output = [0, 1].map((half) => this.graph.model.names.mint(`${value.name}/half_${half}`));
    // Up to opset 17 the number of outputs says into how many parts.
    const count = this.opset >= 18 ? [intAttribute('num_outputs', 2)] : [];
    const attribute = [intAttribute('axis', axis), ...count];
    const proto = { input: [], output, name: output[0] ?? '', opType: 'Split', attribute, metadataProps: [] };
    const [first, second] =
      this.graph.insertBefore(this.before, [{ proto, inputs: [value] }])[0]?.outputs ?? [];
    if (!first || !second) throw new Error('Split gave no halves');
    return this.#concat([second, first], axis);
  }

  /** What stands before `from` as it is, and behind it heads exchanged on `length` elements. */
  behind(value: Value, axis: number, from: number, length: number): Value {
    const slice = (start: number, end: number) =>
      this.#add('Slice', [value, this.#int(start), this.#int(end), this.#int(axis)]);
    return this.#concat([slice(0, from), this.pairs(slice(from, 2 ** 31 - 1), axis, length)], axis);
  }

  #concat(values: readonly Value[], axis: number): Value {
    return addNode(this.graph, this.before, 'Concat', values, 'diffx/joined', [intAttribute('axis', axis)]);
  }

  #int(value: number): Value {
    const tensor = { dtype: DataType.INT64, shape: [1], data: BigInt64Array.of(BigInt(value)) };
    return addNode(this.graph, this.before, 'Constant', [], 'diffx/int', [tensorAttribute('value', tensor)]);
  }

  #add(opType: string, inputs: readonly Value[]): Value {
    return addNode(this.graph, this.before, opType, inputs, `diffx/${opType}`);
  }
}
