import {
  declaredShape,
  filledAttribute,
  functionKey,
  type Graph,
  keyOfFunction,
  type LocalFunction,
  type Model,
  Node,
  type Value,
} from '../ir';
import { derive } from '../onnx';
import { constantTensor, smallConstant } from './constants';
import { Dim } from './dim';
import { type Fact, NOTHING, type RuleContext } from './facts';
import { DEEPEST_CALL, MOST_AXES, MOST_CALLED_NODES, MOST_ELEMENTS } from './limits';
import { operatorRule } from './operator-rules';

/** A call of a local function: with what it gives the body, and inside how many others it stands. */
interface Call {
  readonly node: Node;
  readonly fn: LocalFunction;
  readonly facts: readonly Fact[];
  readonly depth?: number;
  readonly around?: Around;
}

/** What all calls of a model share. */
interface Around {
  readonly functions: ReadonlyMap<string, LocalFunction>;
  /** Nodes in bodies of called functions that may still be visited. */
  left: number;
}

/**
 * Shapes and shape arithmetic of a whole model, worked out once, in order, without running it. Where a rule knows
 * nothing, what the model declares is believed. How far this goes, `limits.ts` says.
 */
export class Shapes {
  readonly #facts = new Map<Value, Fact>();

  readonly #around: Around;
  readonly #depth: number;

  /**
   * @param call a call of a local function: then only its body is worked out, with what the call gives it
   * @param given shapes of inputs of the main graph, in the place of those that are declared
   */
  constructor(
    readonly model: Model,
    call?: Call,
    given: ReadonlyMap<Value, readonly Dim[]> = new Map(),
  ) {
    for (const [input, shape] of given) this.#facts.set(input, { shape });
    this.#around = call?.around ?? {
      functions: new Map(model.functions.map((fn) => [keyOfFunction(fn.proto), fn])),
      left: MOST_CALLED_NODES,
    };
    this.#depth = call?.depth ?? 0;
    if (call) {
      call.fn.body.inputs.forEach((input, index) => {
        this.#facts.set(input, call.facts[index] ?? NOTHING);
      });
      this.#visit(call.fn.body, call.node);
      return;
    }
    this.#visit(model.graph);
    for (const { body } of model.functions) this.#visit(body);
  }

  fact(value: Value | undefined): Fact {
    if (!value) return NOTHING;
    let fact = this.#facts.get(value);
    if (!fact) {
      fact = settled(this.#source(value));
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

  /** What the rule of an operator says of its outputs where some values have other shapes than those worked out here. */
  derivedWith(node: Node, changed: ReadonlyMap<Value, readonly Dim[] | undefined>): readonly Fact[] {
    const context = this.context(node);
    const fact = (value: Value | undefined): Fact => {
      const own = this.fact(value);
      return value && changed.has(value) ? { ...own, shape: changed.get(value) } : own;
    };
    const shape = (index: number) => fact(node.inputs[index]).shape;
    return operatorRule(node.opType)?.({ ...context, fact, shape }) ?? [];
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

  /** @param call the call whose attributes the nodes refer to */
  #visit(graph: Graph, call?: Node): void {
    for (const node of graph.nodes) {
      for (const body of node.bodies.values()) this.#visit(body, call);
      const facts = this.#derive(call ? filledIn(node, call, this.#around.functions) : node);
      node.outputs.forEach((output, index) => {
        if (!output) return;
        const fact = settled(facts[index] ?? NOTHING);
        const known = fact.shape ? fact : settled({ ...fact, shape: declared(output) });
        this.#facts.set(output, known);
      });
    }
  }

  #derive(node: Node): readonly Fact[] {
    if (node.is('If')) return this.#branches(node);
    const { functions } = this.#around;
    const fn =
      functions.size > 0 ? functions.get(functionKey(node.domain, node.opType, node.overload)) : undefined;
    if (fn) return this.#call(node, fn);
    return operatorRule(node.opType)?.(this.context(node)) ?? [];
  }

  /** What the body of a function gives for what a call gives it. */
  #call(node: Node, fn: LocalFunction): readonly Fact[] {
    const around = this.#around;
    const depth = this.#depth + 1;
    if (depth > DEEPEST_CALL || around.left <= 0) return [];
    // At least one, so that functions without nodes come to an end as well.
    around.left -= 1 + [...fn.body.scopes()].reduce((all, { nodes }) => all + nodes.length, 0);
    const facts = node.inputs.map((input) => this.fact(input));
    const inside = new Shapes(this.model, { node, fn, facts, depth, around });
    return fn.body.outputs.map((output) => inside.fact(output));
  }

  /** What both branches of an If agree on; what one gives, where it is known which will be taken. */
  #branches(node: Node): readonly Fact[] {
    const condition = this.fact(node.inputs[0]).elements?.[0]?.value;
    const taken = node.bodies.get(condition ? 'then_branch' : 'else_branch');
    if (condition !== undefined && taken) return taken.outputs.map((output) => this.fact(output));
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

/** A node of a function with the attributes that it takes from a call. */
function filledIn(node: Node, call: Node, functions: ReadonlyMap<string, LocalFunction>): Node {
  if (!node.proto.attribute.some(({ refAttrName }) => refAttrName)) return node;
  const fn = functions.get(functionKey(call.domain, call.opType, call.overload));
  const attribute = node.proto.attribute.flatMap((each) => filledAttribute(each, call, fn?.proto));
  const filled = new Node(derive(node.proto, { attribute }), node.graph);
  filled.inputs.push(...node.inputs);
  filled.outputs.push(...node.outputs);
  return filled;
}

/** What is kept of what a rule says: no more than the limits allow, and no sizes that nothing has. */
function settled(fact: Fact): Fact {
  const { shape, elements } = fact;
  const possible = shape === undefined || (shape.length <= MOST_AXES && shape.every(isPossible));
  const few = elements === undefined || elements.length <= MOST_ELEMENTS;
  if (possible && few) return fact;
  const kept = shape && shape.length <= MOST_AXES ? shape : undefined;
  return {
    shape: kept?.map((dim) => (isPossible(dim) ? dim : Dim.unknown())),
    elements: few ? elements : undefined,
  };
}

function isPossible({ value }: Dim): boolean {
  return value === undefined || (Number.isSafeInteger(value) && value >= 0);
}

function declared(value: Value): Dim[] | undefined {
  return declaredShape(value)?.map((dim) =>
    dim === undefined ? Dim.unknown() : typeof dim === 'number' ? Dim.of(dim) : Dim.symbol(dim),
  );
}
