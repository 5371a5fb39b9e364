import type { FunctionForm, RecordedOptions } from '../attention/record';

/** What `diffx inspect` says of a model. Plain data: the JSON of the command is this, field for field. */
export interface Inspection {
  readonly file: FileFacts;
  /** Softmax attentions that diffx understands, in the order of their depth. */
  readonly attentions: readonly InspectedAttention[];
  /** What looks like attention and was not understood. */
  readonly notUnderstood: readonly NotUnderstood[];
  /** Softmax operators that are no attention: classifiers, routers, gates. A rewrite leaves them alone. */
  readonly otherSoftmaxes: readonly string[];
  /** Set where the model is a differential transformer, in part or as a whole. */
  readonly differential: DifferentialByDiffx | DifferentialByItself | null;
}

export interface FileFacts {
  readonly path: string;
  /** Bytes of the model file alone. */
  readonly size: number;
  readonly sideFiles: readonly { readonly location: string; readonly size: number }[];
  readonly irVersion: number;
  /** Version of the standard operator set. */
  readonly opset: number;
  /** All operator sets by domain. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly producerVersion: string;
  /** Nodes of the main graph and of the bodies in it. */
  readonly nodes: number;
  readonly functions: number;
  /** Elements of all initializers that hold weights. */
  readonly parameters: number;
}

export interface InspectedAttention {
  readonly index: number;
  readonly path: string;
  /** Depth l of SPEC section 1. */
  readonly depth: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
  readonly valueWidth: number;
  readonly scale: string;
  readonly mask: string;
  readonly positions: string;
  readonly cache: string;
  readonly recogniser: string;
  /** Name of the softmax or of the fused operator. */
  readonly node: string;
  /** The graph it stands in: the main graph, a body or a function. */
  readonly graph: string;
  /** Whether other attentions run the same weights. */
  readonly shared: boolean;
  readonly binding: Binding;
}

/** Which nodes and values play which part. */
export interface Binding {
  readonly query: BoundSide;
  readonly key: BoundSide;
  /** The product of queries and keys; null inside a fused operator. */
  readonly scores: string | null;
  /** Whether the scores are scale * Q * K^T + bias and nothing else. */
  readonly plainScores: boolean;
  readonly softmax: string | null;
  /** The product with the values, or the fused operator. */
  readonly product: string;
  readonly values: string;
  readonly output: string;
  /** Layout of the probabilities over the columns of the query projection; null inside a fused operator. */
  readonly probabilitiesLayout: string | null;
}

export interface BoundSide {
  /** The node of the linear layer; null, as all that is said of it, where keys are an input of the model. */
  readonly projection: string | null;
  readonly operator: string | null;
  /** What it projects, or the input. */
  readonly input: string;
  readonly weight: string | null;
  readonly bias: string | null;
  readonly inFeatures: number | null;
  readonly outFeatures: number | null;
  /** Further linear layers that the side is made of, such as the branch of a low-rank adapter. */
  readonly beside: readonly BoundLayer[];
  /** The value that holds the columns of this side and no others. */
  readonly separated: string;
  readonly heads: number;
  readonly width: number;
  /** The operand of the product of scores. */
  readonly operand: string;
  /** Axes of the operand: a leading axis by its size, columns as size:stride, repeats as xN. */
  readonly layout: string;
}

/** A linear layer: what it is, reads, and is stored in. */
export interface BoundLayer {
  readonly projection: string;
  readonly operator: string;
  readonly input: string;
  readonly weight: string;
}

export interface NotUnderstood {
  /** The softmax or the operator that makes it a candidate. */
  readonly anchor: string;
  readonly operator: string;
  readonly graph: string;
  /** The recogniser that tried; null where none is meant for it. */
  readonly recogniser: string | null;
  /** Stable, kebab-case, see `ReasonCode`. */
  readonly code: string;
  /** Where it showed. */
  readonly node: string;
  readonly wanted: string;
  readonly found: string;
}

export interface DifferentialByDiffx {
  readonly by: 'diffx';
  readonly version: string;
  readonly preset: string;
  readonly options: RecordedOptions;
  /** SHA-256 of the model that was rewritten. */
  readonly sourceSha256: string;
  readonly layers: readonly DifferentialLayer[];
}

export interface DifferentialLayer {
  readonly path: string;
  readonly depth: number;
  readonly form: FunctionForm;
  readonly node: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
  readonly valueWidth: number;
  /** exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2) + lambda_init; null where a parameter is missing. */
  readonly lambda: number | null;
  /** True where lambda is a projection of the layer's input, one for each token and head: `lambda` is null then. */
  readonly lambdaPerToken: boolean;
  readonly lambdaInit: number | null;
  /** Of the sublayer norm; null without one. */
  readonly epsilon: number | null;
}

export interface DifferentialByItself {
  readonly by: 'model';
  readonly how: string;
}
