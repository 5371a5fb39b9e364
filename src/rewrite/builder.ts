import type { Graph, Node, Use, Value } from '../ir';
import { type AttributeProto, derive, type NodeProto, type TensorProto } from '../onnx';
import { attribute } from './attributes';
import { int64Vector } from './tensors';

/** A node to make: what is not given gets a name from the builder's prefix. */
export interface Call {
  readonly domain?: string;
  readonly attributes?: readonly AttributeProto[];
  /** Last part of the node's name. Default the operator. */
  readonly name?: string;
  readonly outputs?: number;
}

/** Makes nodes in front of one node of a graph, in order, with names under one prefix. */
export class Builder {
  constructor(
    readonly graph: Graph,
    /** New nodes stand before this one; at the end where it is undefined. */
    readonly anchor: Node | undefined,
    /** Module path that new nodes belong to. */
    readonly prefix: string,
  ) {}

  /** Adds a node and gives its first output. */
  op(opType: string, inputs: readonly (Value | undefined)[], call: Call = {}): Value {
    const [output] = this.ops(opType, inputs, call);
    if (!output) throw new Error(`${opType} has no output`);
    return output;
  }

  /** Adds a node and gives all its outputs. */
  ops(opType: string, inputs: readonly (Value | undefined)[], call: Call = {}): Value[] {
    const { names } = this.graph.model;
    const name = names.mint(`${this.prefix}/${call.name ?? opType}`);
    const count = call.outputs ?? 1;
    const output = Array.from({ length: count }, (_, index) => names.mint(`${name}_output_${index}`));
    return this.insert(
      {
        input: [],
        output,
        name,
        opType,
        attribute: call.attributes ?? [],
        metadataProps: [],
        ...(call.domain ? { domain: call.domain } : {}),
      },
      inputs,
    );
  }

  /**
   * Adds a copy of a node under a new name that reads other values, with some attributes set. Gives its outputs;
   * `undefined` where it had none.
   */
  copy(
    node: Node,
    inputs: readonly (Value | undefined)[],
    suffix: string,
    set: readonly AttributeProto[] = [],
  ): (Value | undefined)[] {
    const { names } = this.graph.model;
    const output = node.outputs.map((value) => (value ? names.mint(`${value.name}${suffix}`) : ''));
    const own = node.proto.attribute;
    const added = set.filter((each) => !own.some(({ name }) => name === each.name));
    const attributes = [...own.map((each) => set.find(({ name }) => name === each.name) ?? each), ...added];
    const changes = { name: names.mint(`${node.label}${suffix}`), output, input: [], attribute: attributes };
    const [made] = this.graph.insertBefore(this.anchor, [{ proto: derive(node.proto, changes), inputs }]);
    return made?.outputs ?? [];
  }

  insert(proto: NodeProto, inputs: readonly (Value | undefined)[]): Value[] {
    const [node] = this.graph.insertBefore(this.anchor, [{ proto, inputs }]);
    return node?.outputs.flatMap((value) => value ?? []) ?? [];
  }

  /** A constant of the main graph. */
  constant(wish: string, tensor: TensorProto): Value {
    return this.graph.model.graph.addInitializer(wish, tensor);
  }

  /** An int64 vector as a constant; equal vectors of a model share one. */
  ints(values: readonly number[]): Value {
    const key = `ai.diffx/int64/${values.join('_').replaceAll('-', 'm') || 'none'}`;
    return this.graph.model.sharedConstant(key, () => int64Vector(values));
  }

  transpose(value: Value, perm: readonly number[]): Value {
    return this.op('Transpose', [value], { attributes: [attribute.ints('perm', perm)] });
  }

  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 && values[0]
      ? values[0]
      : this.op('Concat', values, { attributes: [attribute.int('axis', axis)] });
  }

  /** Elements `from` up to `to` of the shape of a value, as a vector. */
  shapePart(value: Value, from: number, to: number): Value {
    const shape = this.op('Shape', [value]);
    return this.op('Slice', [shape, this.ints([from]), this.ints([to]), this.ints([0])]);
  }

  /** Cuts an axis into two halves. */
  halves(value: Value, axis: number, half: number, name = 'Split'): [Value, Value] {
    const [first, second] = this.ops('Split', [value, this.ints([half, half])], {
      attributes: [attribute.int('axis', axis)],
      outputs: 2,
      name,
    });
    if (!first || !second) throw new Error('Split gave no halves');
    return [first, second];
  }
}

/**
 * Makes `next` carry the name of `old`, so that outputs and tools find it, and the given readers of `old` read it.
 * Where `old` is an output of its scope, `next` is from now on.
 */
export function takeOver(old: Value, next: Value, uses: Iterable<Use>): void {
  const { name, scope, type } = old;
  scope.rename(old, scope.model.names.mint(`${name}/original`));
  scope.rename(next, name);
  scope.setType(next, type);
  scope.setType(old, undefined);
  for (const { node, index } of uses) node.graph.setInput(node, index, next);
  scope.outputs.forEach((output, index) => {
    if (output === old) scope.setOutput(index, next);
  });
}
