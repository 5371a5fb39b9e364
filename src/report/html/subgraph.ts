import {
  ancestors,
  type Dataflow,
  dataInputs,
  descendants,
  inOrder,
  isLayout,
  type Shapes,
  smallConstant,
} from '../../analyse';
import { type Graph, type Node, pushAll, type Value } from '../../ir';
import { isProjection } from '../../match/projection';
import { digits } from '../text';

/** The part of a graph that makes up one attention, as it is drawn: without names of a drawing program. */
export interface Subgraph {
  readonly boxes: readonly Box[];
  readonly arrows: readonly Arrow[];
  /** Nodes of the model that the boxes stand for. */
  readonly nodes: number;
}

/** What a box is, for its colour and its shape. */
export type BoxKind =
  | 'projection'
  | 'softmax'
  | 'attention'
  | 'differential'
  | 'operator'
  | 'input'
  | 'output';

/** Operators, or a value that comes from elsewhere. */
export interface Box {
  readonly kind: BoxKind;
  /** Operators in the order of the data: layout operators that follow one another share a box. */
  readonly titles: readonly string[];
  /** Whether it makes up the second component and nothing else. */
  readonly negative: boolean;
  /** Sizes of what it gives, numbers or symbols; empty where the rank is not known. */
  readonly shape: readonly string[];
  /** Constants, names of weights, and what else there is to say. */
  readonly details: readonly string[];
  /** Names in the model: of the nodes, or of the value. */
  readonly names: readonly string[];
}

export interface Arrow {
  /** Index among the boxes. */
  readonly from: number;
  readonly to: number;
  /** What the value is to the attention, such as Q or A2; else ''. */
  readonly label: string;
}

/** What is drawn: everything between the linear layers and this value. */
export interface Drawn {
  /** What the attention gives. */
  readonly end: Value;
  /** The attention itself: softmax, fused operator or differential attention. */
  readonly heart: Node;
  readonly heartKind: 'softmax' | 'attention' | 'differential';
  /** Further lines for its box. */
  readonly heartDetails: readonly string[];
  /** What the parts are called: queries, keys and values, or what a differential attention starts from. */
  readonly operands: ReadonlyMap<Value, string>;
}

/** What is known of a model, worked out once for all of its attentions. */
export class GraphFacts {
  readonly #layers = new Map<Graph, readonly Node[]>();

  constructor(
    readonly dataflow: Dataflow,
    readonly shapes: Shapes,
  ) {}

  /** The linear layers of a graph. */
  layers(graph: Graph): readonly Node[] {
    const known = this.#layers.get(graph);
    if (known) return known;
    const layers = graph.nodes.filter((node) => isProjection(node, this.dataflow, this.shapes));
    this.#layers.set(graph, layers);
    return layers;
  }
}

/** Above this number of nodes the rest is left out: whatever it is, nobody can read it. */
const MOST_NODES = 300;

/**
 * Everything that lies between the nearest linear layers and the end of an attention. What does not come from them
 * (masks, position tables, caches) is an input of the picture; shape arithmetic is left out.
 */
export function attentionSubgraph(drawn: Drawn, facts: GraphFacts): Subgraph {
  const nodes = nodesOf(drawn, facts);
  const picture = new Picture(drawn, facts, negativeNodes(drawn, nodes));
  for (const node of nodes) picture.add(node, nodes);
  return picture.done(nodes.size);
}

/** The nodes to draw, in the order of the data. */
function nodesOf({ end, heart }: Drawn, facts: GraphFacts): ReadonlySet<Node> {
  const layers = facts.layers(end.scope);
  const stop = new Set(layers.flatMap((node) => dataInputs(node)));
  // A linear layer may read the attention itself.
  stop.delete(end);
  const behind = ancestors(end, stop);
  const reached = new Set(behind);
  const own = layers.filter((node) => reached.has(node));
  const outputs = [...own].flatMap((node) => node.outputs.filter((output) => output !== undefined));
  const between = descendants(outputs, behind);
  const all = new Set([...own, ...between, heart].filter((node) => node.graph === end.scope));
  return new Set(inOrder(end.scope, all).slice(-MOST_NODES));
}

/** Operands of the second component. */
const NEGATIVE = /2$/;

/** Nodes from which something flows into the second component, and into nothing else. */
function negativeNodes({ operands }: Drawn, nodes: ReadonlySet<Node>): ReadonlySet<Node> {
  const cone = (wanted: (label: string) => boolean) => {
    const found = new Set<Node>();
    const open = [...operands].flatMap(([value, label]) => (wanted(label) ? [value] : []));
    for (let value = open.pop(); value; value = open.pop()) {
      const node = value.producer;
      if (!node || found.has(node) || !nodes.has(node)) continue;
      found.add(node);
      pushAll(open, dataInputs(node));
    }
    return found;
  };
  const others = cone((label) => !NEGATIVE.test(label));
  return new Set([...cone((label) => NEGATIVE.test(label))].filter((node) => !others.has(node)));
}

type Writable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

class Picture {
  readonly #boxes: Writable<Box>[] = [];
  readonly #arrows: Arrow[] = [];
  /** The box of each value. */
  readonly #sources = new Map<Value, number>();
  readonly #layoutBoxes = new Set<number>();

  constructor(
    private readonly drawn: Drawn,
    private readonly facts: GraphFacts,
    private readonly negative: ReadonlySet<Node>,
  ) {}

  add(node: Node, nodes: ReadonlySet<Node>): void {
    const kind = this.#kindOf(node);
    const box: Writable<Box> = {
      kind,
      titles: [kind === 'differential' ? node.opType : node.operator],
      negative: this.negative.has(node),
      shape: [],
      details: [],
      names: [node.label],
    };
    const before = this.#boxBefore(node, box, nodes);
    const at = before ?? this.#boxes.push(box) - 1;
    const own = this.#boxes[at] ?? box;
    if (before !== undefined) {
      own.titles.push(node.operator);
      own.names.push(node.label);
    } else {
      this.#connect(node, at, own, nodes);
    }
    if (isLayout(node)) this.#layoutBoxes.add(at);
    own.shape = this.#shapeOf(node.outputs[0]);
    if (node === this.drawn.heart) own.details.push(...this.drawn.heartDetails);
    for (const output of node.outputs) if (output) this.#sources.set(output, at);
  }

  done(nodes: number): Subgraph {
    const { end } = this.drawn;
    const from = this.#sources.get(end);
    if (from !== undefined) {
      const output = { titles: ['output'], negative: false, shape: [], details: [], names: [end.name] };
      const to = this.#boxes.push({ kind: 'output', ...output }) - 1;
      this.#arrows.push({ from, to, label: '' });
    }
    return { boxes: this.#boxes, arrows: this.#arrows, nodes };
  }

  #kindOf(node: Node): BoxKind {
    if (node === this.drawn.heart) return this.drawn.heartKind;
    if (isProjection(node, this.facts.dataflow, this.facts.shapes)) return 'projection';
    return node.is('Softmax') ? 'softmax' : 'operator';
  }

  /** The box that a layout operator joins: that of the layout operator before it, where nobody else reads what that gives. */
  #boxBefore(node: Node, box: Box, nodes: ReadonlySet<Node>): number | undefined {
    const [input] = node.inputs;
    const at = input && this.#sources.get(input);
    if (!input || at === undefined || !isLayout(node) || !this.#layoutBoxes.has(at)) return undefined;
    const readers = input.readers.filter((reader) => nodes.has(reader));
    const alone = readers.length === 1 && input.producer?.outputs.length === 1;
    const same = this.#boxes[at]?.negative === box.negative && !this.drawn.operands.has(input);
    return alone && same ? at : undefined;
  }

  #connect(node: Node, at: number, box: Writable<Box>, nodes: ReadonlySet<Node>): void {
    const drawn = new Set<Value>();
    for (const [index, value] of node.inputs.entries()) {
      if (!value || drawn.has(value) || isParameterOfLayout(node, index)) continue;
      drawn.add(value);
      const label = this.drawn.operands.get(value) ?? '';
      const source = value.producer && nodes.has(value.producer) ? this.#sources.get(value) : undefined;
      if (source !== undefined) this.#arrows.push({ from: source, to: at, label });
      else this.#fromElsewhere(value, at, box, label);
    }
  }

  /** A constant of one element is written into the box; small ones are left out; everything else has a box of its own. */
  #fromElsewhere(value: Value, at: number, box: Writable<Box>, label: string): void {
    const { shapes, dataflow } = this.facts;
    const constant = smallConstant(shapes.model, value);
    const [only] = constant?.values ?? [];
    if (constant && only !== undefined && constant.values.length === 1) {
      if (box.kind !== 'differential') box.details.push(digits(only, 6));
      return;
    }
    if (box.kind === 'projection' && !dataflow.dependsOnData(value)) {
      box.details.push(storedBehind(value).name);
      return;
    }
    const rank = shapes.shape(value)?.length;
    if (!dataflow.dependsOnData(value) && (shapes.fact(value).elements || (rank !== undefined && rank < 2)))
      return;
    let source = this.#sources.get(value);
    if (source === undefined) {
      source =
        this.#boxes.push({
          kind: 'input',
          titles: [value.name],
          negative: false,
          shape: this.#shapeOf(value),
          details: [],
          names: [value.name],
        }) - 1;
      this.#sources.set(value, source);
    }
    this.#arrows.push({ from: source, to: at, label });
  }

  #shapeOf(value: Value | undefined): string[] {
    const shape = this.facts.shapes.shape(value) ?? [];
    return shape.map((dim) => (dim.isUnknown ? '?' : dim.toString()));
  }
}

/** The stored weight that a value comes from: behind a transposition, a cast, a quantization. */
function storedBehind(value: Value): Value {
  let at = value;
  for (let source = at.producer?.inputs[0]; source; source = at.producer?.inputs[0]) at = source;
  return at;
}

/** Shapes, axes and indices: what a layout operator or a reduction is told, not what it moves. */
function isParameterOfLayout(node: Node, index: number): boolean {
  return index > 0 && (isLayout(node) || (node.domain === '' && node.opType.startsWith('Reduce')));
}
