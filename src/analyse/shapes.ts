import { declaredShape, type Graph, type Model, type Node, type Value } from '../ir';
import { constantTensor, smallConstant } from './constants';
import { Dim } from './dim';
import { type Fact, NOTHING, type RuleContext } from './facts';
import { operatorRule } from './operator-rules';

/**
 * Shapes and shape arithmetic of a whole model, worked out once, in order, without running it. Where a rule knows
 * nothing, what the model declares is believed.
 */
export class Shapes {
  readonly #facts = new Map<Value, Fact>();

  constructor(readonly model: Model) {
    this.#visit(model.graph);
    for (const { body } of model.functions) this.#visit(body);
  }

  fact(value: Value | undefined): Fact {
    if (!value) return NOTHING;
    let fact = this.#facts.get(value);
    if (!fact) {
      fact = this.#source(value);
      this.#facts.set(value, fact);
    }
    return fact;
  }

  /** Dimensions of a value; undefined where not even the rank is known. */
  shape(value: Value | undefined): readonly Dim[] | undefined {
    return this.fact(value).shape;
  }

  /** What a rule sees of a node. */
  context(node: Node): RuleContext {
    const elements = (index: number) => this.fact(node.inputs[index]).elements;
    return {
      model: this.model,
      node,
      fact: (value) => this.fact(value),
      shape: (index) => this.fact(node.inputs[index]).shape,
      elements,
      numbers: (index, attribute) => {
        const known = elements(index)?.map((dim) => dim.value);
        if (known?.every((value) => value !== undefined)) return known.flatMap((value) => value ?? []);
        return attribute && node.attribute(attribute) ? node.ints(attribute) : undefined;
      },
    };
  }

  #source(value: Value): Fact {
    if (value.isInput || value.producer) return { shape: declared(value) };
    const tensor = constantTensor(value);
    if (!tensor) return NOTHING;
    const small = smallConstant(this.model, value);
    return {
      shape: tensor.dims.map((dim) => Dim.of(Number(dim))),
      elements: small && small.shape.length <= 1 ? small.values.map((element) => Dim.of(element)) : undefined,
    };
  }

  #visit(graph: Graph): void {
    for (const node of graph.nodes) {
      for (const body of node.bodies.values()) this.#visit(body);
      const facts = this.#derive(node);
      node.outputs.forEach((output, index) => {
        if (!output) return;
        const fact = facts[index] ?? NOTHING;
        const known = fact.shape ? fact : { ...fact, shape: declared(output) };
        this.#facts.set(output, known);
      });
    }
  }

  #derive(node: Node): readonly Fact[] {
    if (node.is('If')) return this.#branches(node);
    return operatorRule(node.opType)?.(this.context(node)) ?? [];
  }

  /** What both branches of an If agree on. */
  #branches(node: Node): readonly Fact[] {
    const [first, second] = [...node.bodies.values()];
    if (!first || !second) return [];
    return first.outputs.map((output, index) => {
      const a = this.shape(output);
      const b = this.shape(second.outputs[index]);
      if (!a || !b || a.length !== b.length) return NOTHING;
      return { shape: a.map((dim, axis) => (b[axis] && dim.equals(b[axis]) ? dim : Dim.unknown())) };
    });
  }
}

function declared(value: Value): Dim[] | undefined {
  return declaredShape(value)?.map((dim) =>
    dim === undefined ? Dim.unknown() : typeof dim === 'number' ? Dim.of(dim) : Dim.symbol(dim),
  );
}
