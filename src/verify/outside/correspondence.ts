import { smallConstant } from '../../analyse';
import type { LocatedSite } from '../../attention/find';
import { moduleOfNode, moduleOfParameter } from '../../attention/path';
import type { RewriteRecord } from '../../attention/record';
import type { Graph, Model, Node, Value } from '../../ir';
import { cachesOf, type DoubledKeys, doubledInputs, handedOn } from '../key-caches';
import { matchLayers } from '../layer-order';
import { isMapShown, showingNodes, shownBy } from './shown-maps';

/**
 * What a rewrite may change of the original, by the record, and which node of the rewritten model stands for which of
 * the original. All values and nodes are those of the original unless said otherwise.
 */
export class Correspondence {
  /** Outputs of the attentions that were rewritten: something else computes them now. */
  readonly replaced = new Set<Value>();
  /** Attention maps that others see than the product with values: they see the differential one now. */
  readonly maps = new Map<Value, LocatedSite>();
  /** The same, what shows them, and what the nodes around hand these on as. */
  readonly shownMaps = new Set<Value>();
  /** The nodes that read these: they stand behind the product with values, wherever they stood. */
  readonly showing = new Set<Node>();
  /** Values whose name something new bears: outputs of attentions, maps that others read, presents. */
  readonly taken = new Set<Value>();
  /** Values with twice the key heads. */
  readonly doubled = new Map<Value, DoubledKeys>();
  /** Names of outputs of the model, of nodes and of bodies that carry metrics of monitored layers. */
  readonly metrics: ReadonlySet<string>;
  /** True where the model's own heads make both components. */
  readonly splits: boolean;
  readonly #twins = new Map<Node, Node>();
  /** The value of the rewritten model that is computed as one of the original was, under whatever name. */
  computedAs(value: Value): Value | undefined {
    const twin = value.producer && this.twin(value.producer);
    return twin?.outputs[value.outputIndex];
  }

  /** What the original calls a value of the rewritten model, where that is not its own name. */
  readonly #names = new Map<Value, string>();

  constructor(
    readonly original: Model,
    readonly rewritten: Model,
    record: RewriteRecord,
    sites: readonly LocatedSite[],
  ) {
    this.metrics = new Set(
      record.monitored.flatMap(({ outputs, inside }) => [...Object.values(outputs), ...inside]),
    );
    this.splits = record.options.heads === 'split';
    for (const { site } of matchLayers(record, sites)) {
      const { core } = site;
      this.replaced.add(core.output);
      this.taken.add(core.output);
      if (core.kind === 'written-out' && isMapShown(core)) {
        this.taken.add(core.probabilities);
        this.maps.set(core.probabilities, site);
        for (const each of shownBy(core)) this.shownMaps.add(each);
        for (const each of showingNodes(core)) this.showing.add(each);
      }
    }
    for (const cache of cachesOf(record, 'present')) {
      for (const scope of original.graph.scopes()) {
        const value = scope.values.get(cache.name);
        if (!value) continue;
        this.taken.add(value);
        for (const each of handedOn(value)) this.doubled.set(each, cache);
      }
    }
    for (const [part, whole] of Object.entries(record.separated)) this.#addPart(part, whole, record);
    for (const past of doubledInputs(record)) this.#addPast(past);
    this.#pair(original.graph, rewritten.graph);
  }

  /** The node of the rewritten model that stands for one of the original. */
  twin(node: Node): Node | undefined {
    return this.#twins.get(node);
  }

  /** What the original calls a value of the rewritten model; for something new, a name that nobody has. */
  nameOf(value: Value): string {
    return this.#names.get(value) ?? value.name;
  }

  /** A weight that a checkpoint filled, and that the original stores as part of another. */
  #addPart(part: string, whole: string, { loaded }: RewriteRecord): void {
    const value = this.rewritten.graph.values.get(part);
    if (value?.initializer && loaded[part] !== undefined && value.readers.every((node) => isOf(node, part)))
      this.#names.set(value, whole);
  }

  /** Who read a past reads its positive half. */
  #addPast({ name, axis, heads }: DoubledKeys): void {
    const before = this.original.graph.values.get(name);
    const past = this.rewritten.graph.values.get(name);
    if (!before || !past) return;
    this.doubled.set(before, { name, axis, heads });
    this.#names.set(past, `${name}, both components`);
    for (const node of past.readers) {
      const sizes = smallConstant(this.rewritten, node.inputs[1])?.values;
      const positive = node.outputs[0];
      if (positive && node.is('Split') && node.int('axis') === axis && sizes?.join() === `${heads},${heads}`)
        this.#names.set(positive, name);
    }
  }

  #pair(original: Graph, rewritten: Graph): void {
    const byOutput = new Map<string, Node>();
    const byName = new Map<string, Node | undefined>();
    for (const node of rewritten.nodes) {
      for (const value of node.outputs) if (value) byOutput.set(value.name, node);
      if (node.name) byName.set(node.name, byName.has(node.name) ? undefined : node);
    }
    for (const node of original.nodes) {
      const kept = node.outputs.find((value) => value && !this.taken.has(value));
      const twin = kept
        ? byOutput.get(kept.name)
        : (byName.get(node.name) ?? this.#sameCall(node, rewritten));
      if (!twin || (!kept && twin.operator !== node.operator)) continue;
      this.#twins.set(node, twin);
      node.outputs.forEach((value, index) => {
        const other = twin.outputs[index];
        if (value && other && this.taken.has(value)) this.#rename(value, other, rewritten);
      });
      for (const [name, body] of node.bodies) {
        const other = twin.bodies.get(name);
        if (other) this.#pair(body, other);
      }
    }
  }

  /** A node without a name, found by what it does. */
  #sameCall(node: Node, rewritten: Graph): Node | undefined {
    const call = (each: Node, name: (value: Value) => string) =>
      [each.operator, ...each.inputs.map((input) => (input ? name(input) : ''))].join('\n');
    const wanted = call(node, (value) => value.name);
    return rewritten.nodes.find((each) => !each.name && call(each, (value) => this.nameOf(value)) === wanted);
  }

  /** `old` is computed as `value` was, and something new may bear the name. */
  #rename(value: Value, old: Value, scope: Graph): void {
    if (old.name === value.name) return;
    if (!this.doubled.has(value)) {
      this.#names.set(old, `${value.name}, before`);
      return;
    }
    this.#names.set(old, value.name);
    const both = scope.values.get(value.name);
    if (both) this.#names.set(both, `${value.name}, both components`);
  }
}

/** True where a node belongs to the module that a weight is named after, or hands it on under its name. */
function isOf(node: Node, weight: string): boolean {
  const module = moduleOfParameter(weight)?.module;
  const output = node.outputs[0];
  const handedOn = node.is('Identity') && output ? moduleOfParameter(output.name)?.module : undefined;
  return module !== undefined && module === (handedOn ?? moduleOfNode(node));
}
