/**
 * A decoder-only transformer of any size, as PyTorch's TorchScript exporter writes Llama (opset 17, eager attention):
 * plain operators, node names with module paths, transposed weights that are called `onnx::MatMul_123`. Its weights are
 * pseudo-random numbers that exist only while they are written.
 */
import { parseText } from '../../src/ir/text';
import { DataType, type ModelProto, type TensorProto } from '../../src/onnx';
import { randomBytes } from './random';

/** Sizes, as Hugging Face's configuration of Llama calls them. */
export interface LlamaSize {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly intermediate: number;
  readonly vocab: number;
}

/** 710 MB of float32. */
export const DEFAULT_SIZE: LlamaSize = {
  layers: 10,
  hidden: 1024,
  heads: 16,
  kvHeads: 4,
  intermediate: 2816,
  vocab: 32000,
};

/**
 * A causal language model: `input_ids` and `attention_mask` (int64 [batch, sequence]) to `logits`
 * (float [batch, sequence, vocab]).
 * @throws RangeError where the heads do not divide the width, or the key/value heads not the heads
 */
export function llama(size: LlamaSize): ModelProto {
  const width = size.hidden / size.heads;
  if (!Number.isInteger(width) || width % 2 !== 0 || size.heads % size.kvHeads !== 0) {
    throw new RangeError('hidden must be heads times an even width, and heads a multiple of kv-heads');
  }
  return new LlamaExport(size, width).model();
}

/** Values that every layer uses. */
interface Shared {
  readonly mask: string;
  readonly cos: string;
  readonly sin: string;
}

/** Writes the graph as text, node by node, the way the exporter walks through the modules. */
class LlamaExport {
  private readonly lines: string[] = [];
  private readonly weights: TensorProto[] = [];
  /** How many nodes of an operator a module has. */
  private readonly counts = new Map<string, number>();

  constructor(
    private readonly size: LlamaSize,
    private readonly width: number,
  ) {}

  model(): ModelProto {
    const { layers, hidden, vocab } = this.size;
    const embedding = this.weight('model.embed_tokens.weight', [vocab, hidden]);
    let x = this.node('/model/embed_tokens', 'Gather', [embedding, 'input_ids']);
    const shared = this.shared(x);
    for (let layer = 0; layer < layers; layer++) {
      x = this.layer(`/model/layers.${layer}`, x, shared);
    }
    const normed = this.norm('/model/norm', x);
    const head = this.weight(`onnx::MatMul_${this.weights.length}`, [hidden, vocab]);
    this.lines.push(`["/lm_head/MatMul"] logits = MatMul ("${normed}", "${head}")`);
    const { graph, ...model } = parseText(`
      <ir_version: 8, opset_import: ["" : 17], producer_name: "pytorch", producer_version: "diffx bench">
      main_graph (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
          => (float[batch, sequence, ${vocab}] logits) {
        ${this.lines.join('\n')}
      }`);
    if (graph === undefined) {
      throw new Error('the text has no graph');
    }
    return { ...model, graph: { ...graph, initializer: this.weights } };
  }

  /** The mask and the rotary tables. */
  private shared(embedded: string): Shared {
    const scope = '/model';
    const length = this.dimension(scope, embedded, 1);
    const zero = this.constant(scope, 'int64 {0}');
    const one = this.constant(scope, 'int64 {1}');
    const positions = this.node(scope, 'Range', [zero, length, one]);
    const positions_1S = this.unsqueeze(scope, positions, 0);
    const positions_S1 = this.unsqueeze(scope, positions, 1);
    const causal = this.node(scope, 'LessOrEqual', [positions_1S, positions_S1]);
    const present = this.node(scope, 'Cast', ['attention_mask'], 'to = 9');
    const present_B11S = this.unsqueeze(scope, this.unsqueeze(scope, present, 1), 2);
    const allowed = this.node(scope, 'And', [causal, present_B11S]);
    const nothing = this.constant(scope, 'float {0}');
    const lowest = this.constant(scope, 'float {-3.4028235e+38}');
    const mask = this.node(scope, 'Where', [allowed, nothing, lowest]);
    return { mask, ...this.rotary('/model/rotary_emb', positions_1S) };
  }

  private rotary(scope: string, positions_1S: string): { cos: string; sin: string } {
    const half = this.width / 2;
    const frequencies = Array.from({ length: half }, (_, i) => Math.fround(10000 ** (-i / half)));
    const inverse = this.constant(scope, `float[1, ${half}, 1] {${frequencies.join(', ')}}`);
    const positions_11S = this.unsqueeze(scope, positions_1S, 1);
    const floats = this.node(scope, 'Cast', [positions_11S], 'to = 1');
    const angles = this.node(scope, 'MatMul', [inverse, floats]);
    const turned = this.node(scope, 'Transpose', [angles], 'perm = [0, 2, 1]');
    const both = this.node(scope, 'Concat', [turned, turned], 'axis = -1');
    const cos = this.node(scope, 'Cos', [both]);
    const sin = this.node(scope, 'Sin', [both]);
    return { cos: this.unsqueeze(scope, cos, 1), sin: this.unsqueeze(scope, sin, 1) };
  }

  private layer(scope: string, x: string, shared: Shared): string {
    const attended = this.attention(`${scope}/self_attn`, this.norm(`${scope}/input_layernorm`, x), shared);
    const middle = this.node(scope, 'Add', [x, attended]);
    const changed = this.mlp(`${scope}/mlp`, this.norm(`${scope}/post_attention_layernorm`, middle));
    return this.node(scope, 'Add', [middle, changed]);
  }

  private norm(scope: string, x: string): string {
    const square = this.node(scope, 'Pow', [x, this.constant(scope, 'float {2}')]);
    const mean = this.node(scope, 'ReduceMean', [square], 'axes = [-1], keepdims = 1');
    const sum = this.node(scope, 'Add', [mean, this.constant(scope, 'float {1e-5}')]);
    const root = this.node(scope, 'Sqrt', [sum]);
    const inverse = this.node(scope, 'Div', [this.constant(scope, 'float {1}'), root]);
    const normed = this.node(scope, 'Mul', [x, inverse]);
    const name = `${scope.slice(1).replaceAll('/', '.')}.weight`;
    return this.node(scope, 'Mul', [this.weight(name, [this.size.hidden]), normed]);
  }

  private attention(scope: string, x: string, { mask, cos, sin }: Shared): string {
    const { hidden, heads, kvHeads } = this.size;
    const batch = this.dimension(scope, x, 0);
    const length = this.dimension(scope, x, 1);
    const q = this.heads(scope, this.linear(`${scope}/q_proj`, x, hidden, hidden), batch, length);
    const k = this.heads(
      scope,
      this.linear(`${scope}/k_proj`, x, hidden, kvHeads * this.width),
      batch,
      length,
    );
    const v = this.heads(
      scope,
      this.linear(`${scope}/v_proj`, x, hidden, kvHeads * this.width),
      batch,
      length,
    );
    const q_BHSD = this.rotate(scope, q, cos, sin);
    const k_BHSD = this.repeat(scope, this.rotate(scope, k, cos, sin), batch, length);
    const v_BHSD = this.repeat(scope, v, batch, length);
    const k_BHDS = this.node(scope, 'Transpose', [k_BHSD], 'perm = [0, 1, 3, 2]');
    const products = this.node(scope, 'MatMul', [q_BHSD, k_BHDS]);
    const scale = this.constant(scope, `float {${Math.fround(1 / Math.sqrt(this.width))}}`);
    const scores = this.node(scope, 'Add', [this.node(scope, 'Mul', [products, scale]), mask]);
    const probabilities = this.node(scope, 'Softmax', [scores], 'axis = -1');
    const context = this.node(scope, 'MatMul', [probabilities, v_BHSD]);
    const context_BSHD = this.node(scope, 'Transpose', [context], 'perm = [0, 2, 1, 3]');
    const merged = this.reshape(scope, context_BSHD, [batch, length, heads * this.width]);
    return this.linear(`${scope}/o_proj`, merged, hidden, hidden);
  }

  /** [batch, sequence, heads * width] to [batch, heads, sequence, width]. */
  private heads(scope: string, x: string, batch: string, length: string): string {
    const split = this.reshape(scope, x, [batch, length, -1, this.width]);
    return this.node(scope, 'Transpose', [split], 'perm = [0, 2, 1, 3]');
  }

  private rotate(scope: string, x: string, cos: string, sin: string): string {
    const half = this.width / 2;
    const slice = (from: number, to: string): string =>
      this.node(scope, 'Slice', [
        x,
        ...[`int64[1] {${from}}`, `int64[1] {${to}}`, 'int64[1] {3}', 'int64[1] {1}'].map((text) =>
          this.constant(scope, text),
        ),
      ]);
    const first = slice(0, String(half));
    const second = this.node(scope, 'Neg', [slice(half, '9223372036854775807')]);
    const turned = this.node(scope, 'Concat', [second, first], 'axis = -1');
    const parts = [this.node(scope, 'Mul', [x, cos]), this.node(scope, 'Mul', [turned, sin])];
    return this.node(scope, 'Add', parts);
  }

  /** Each key or value head as often as query heads share it. */
  private repeat(scope: string, x: string, batch: string, length: string): string {
    const { heads, kvHeads } = this.size;
    if (heads === kvHeads) {
      return x;
    }
    const shape = this.shape(scope, [batch, kvHeads, heads / kvHeads, length, this.width]);
    const expanded = this.node(scope, 'Expand', [this.unsqueeze(scope, x, 2), shape]);
    return this.reshape(scope, expanded, [batch, heads, length, this.width]);
  }

  private mlp(scope: string, x: string): string {
    const { hidden, intermediate } = this.size;
    const gate = this.linear(`${scope}/gate_proj`, x, hidden, intermediate);
    const sigmoid = this.node(`${scope}/act_fn`, 'Sigmoid', [gate]);
    const activated = this.node(`${scope}/act_fn`, 'Mul', [gate, sigmoid]);
    const up = this.linear(`${scope}/up_proj`, x, hidden, intermediate);
    return this.linear(`${scope}/down_proj`, this.node(scope, 'Mul', [activated, up]), intermediate, hidden);
  }

  private linear(scope: string, x: string, from: number, to: number): string {
    return this.node(scope, 'MatMul', [x, this.weight(`onnx::MatMul_${this.weights.length}`, [from, to])]);
  }

  private dimension(scope: string, x: string, axis: number): string {
    return this.node(
      scope,
      'Gather',
      [this.node(scope, 'Shape', [x]), this.constant(scope, `int64 {${axis}}`)],
      'axis = 0',
    );
  }

  private unsqueeze(scope: string, x: string, axis: number): string {
    return this.node(scope, 'Unsqueeze', [x, this.constant(scope, `int64[1] {${axis}}`)]);
  }

  /** A shape of numbers and of scalars computed in the graph. */
  private shape(scope: string, dimensions: readonly (number | string)[]): string {
    const parts = dimensions.map((dimension) =>
      typeof dimension === 'number'
        ? this.constant(scope, `int64[1] {${dimension}}`)
        : this.unsqueeze(scope, dimension, 0),
    );
    return this.node(scope, 'Concat', parts, 'axis = 0');
  }

  private reshape(scope: string, x: string, dimensions: readonly (number | string)[]): string {
    return this.node(scope, 'Reshape', [x, this.shape(scope, dimensions)], 'allowzero = 0');
  }

  private constant(scope: string, tensor: string): string {
    return this.node(scope, 'Constant', [], `value = ${tensor}`);
  }

  /** Adds a node and gives the name of its output. */
  private node(scope: string, operator: string, inputs: readonly string[], attributes = ''): string {
    const count = this.counts.get(`${scope}/${operator}`) ?? 0;
    this.counts.set(`${scope}/${operator}`, count + 1);
    const name = `${scope}/${operator}${count === 0 ? '' : `_${count}`}`;
    const list = attributes === '' ? '' : `<${attributes}>`;
    const operands = inputs.map((input) => `"${input}"`).join(', ');
    this.lines.push(`["${name}"] "${name}_output_0" = ${operator} ${list} (${operands})`);
    return `${name}_output_0`;
  }

  private weight(name: string, shape: readonly number[]): string {
    const count = shape.reduce((product, dimension) => product * dimension, 1);
    // like a fresh linear layer; the weights of norms, which are vectors, lie around 1
    const values =
      shape.length === 1 ? { mean: 1, spread: 0.1 } : { mean: 0, spread: 1 / Math.sqrt(shape[0] ?? 1) };
    this.weights.push({
      dims: shape.map(BigInt),
      dataType: DataType.FLOAT,
      name,
      floatData: [],
      int32Data: [],
      stringData: [],
      int64Data: [],
      rawData: randomBytes(name, count, values),
      externalData: [],
      doubleData: [],
      uint64Data: [],
      metadataProps: [],
    });
    return name;
  }
}
