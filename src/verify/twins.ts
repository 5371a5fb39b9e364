import type { Node, Value } from '../ir';
import { derive } from '../onnx';

/** Values computed once more, with something else in the place of some of what they are computed from. */
export class Twins {
  readonly #twins: Map<Value, Value>;

  /**
   * @param instead what stands in the place of what
   * @param within the nodes that may depend on that; what others give is taken as it is
   */
  constructor(
    instead: ReadonlyMap<Value, Value>,
    readonly within: ReadonlySet<Node>,
  ) {
    this.#twins = new Map(instead);
  }

  /** The twin of a value; the value itself where it does not depend on what is replaced. */
  of(value: Value): Value {
    const known = this.#twins.get(value);
    if (known) return known;
    const node = value.producer;
    if (!node || !this.within.has(node)) return value;
    const inputs = node.inputs.map((input) => input && this.of(input));
    if (inputs.every((input, index) => input === node.inputs[index])) {
      this.#twins.set(value, value);
      return value;
    }
    this.#copy(node, inputs);
    return this.#twins.get(value) ?? value;
  }

  #copy(node: Node, inputs: readonly (Value | undefined)[]): void {
    const { graph } = node;
    const { names } = graph.model;
    const output = node.outputs.map((each) => (each ? names.mint(`${each.name}/twin`) : ''));
    const proto = derive(node.proto, { name: output[0] ?? '', output });
    const [copy] = graph.insertBefore(graph.nodes[graph.indexOf(node) + 1], [{ proto, inputs }]);
    node.outputs.forEach((each, index) => {
      const twin = copy?.outputs[index];
      if (!each || !twin) return;
      // What an operator caches must be declared: ONNX Runtime would take the past's shape for it, and reuse its memory.
      if (each.type) graph.setType(twin, each.type);
      this.#twins.set(each, twin);
    });
  }
}
