import type { TensorProto, TypeProto } from '../onnx';
import type { Graph } from './graph';
import type { Node } from './node';

/** One place where a value is read. */
export interface Use {
  readonly node: Node;
  /** Index among the node's inputs. */
  readonly index: number;
}

/** A value of a graph: a graph input, an initializer, or an output of a node. */
export class Value {
  /** The node that computes it, unless it is a graph input or an initializer. */
  producer: Node | undefined;
  /** Index among the producer's outputs. */
  outputIndex = 0;
  /** The constant behind it, if it is an initializer. */
  initializer: TensorProto | undefined;
  /** True for values that a SparseTensorProto initializes; diffx treats them as opaque constants. */
  sparse = false;
  /** True for inputs of the graph, body or function that holds the value. */
  isInput = false;
  /** The declared type, if the model states one. */
  type: TypeProto | undefined;
  /** Every reader, in this scope and in bodies inside it. */
  readonly uses = new Set<Use>();

  constructor(
    public name: string,
    /** The graph, body or function that defines it. */
    readonly scope: Graph,
  ) {}

  /** True if the value is known before the model runs: an initializer that no graph input overrides. */
  get isInitializer(): boolean {
    return (this.initializer !== undefined || this.sparse) && !this.isInput;
  }

  /** True if it is one of the outputs of its scope. */
  get isOutput(): boolean {
    return this.scope.gives(this);
  }

  /** The nodes that read it, each once. */
  get readers(): Node[] {
    return [...new Set([...this.uses].map((use) => use.node))];
  }
}

/** The declared dimensions: a number, a symbol, or undefined where nothing is declared; undefined for unknown rank. */
export function declaredShape(value: Value): (number | string | undefined)[] | undefined {
  return value.type?.tensorType?.shape?.dim.map((dim) =>
    dim.dimValue !== undefined ? Number(dim.dimValue) : dim.dimParam || undefined,
  );
}
