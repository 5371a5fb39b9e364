/** One attention whose parts are computed in element types of their own, with Casts between them. */

/** An element type as the text format spells it. */
export type TypeName = 'float16' | 'float' | 'double' | 'bfloat16';

/** What is computed in which type. */
export interface Places {
  /** The input and the output of the model. */
  readonly ends: TypeName;
  /** The weights, as they are stored. */
  readonly weights: TypeName;
  /** The linear layers. */
  readonly layers: TypeName;
  /** The product of queries and keys. */
  readonly scores: TypeName;
  /** Scale, mask and softmax. */
  readonly softmax: TypeName;
  /** The product of the map and the values. */
  readonly values: TypeName;
  /** Cast once more, to this type and back, what stands between the softmax and the product with values. */
  readonly detour?: TypeName;
}

const CODES: Readonly<Record<TypeName, number>> = { float: 1, float16: 10, double: 11, bfloat16: 16 };

/** How the attention is written, between the projections and the last linear layer. */
export type Core = 'plain' | 'masked' | 'operator' | 'two-products';

export interface TypedForm {
  readonly places: Places;
  readonly core: Core;
  /** Show the map, in the type of the ends. */
  readonly map?: boolean;
}

/** Four heads of width 4 over x of [B, S, 16]; nodes and values are called by what they hold. */
export function typedAttention({ places, core, map = false }: TypedForm): string {
  const { ends, weights, layers, scores, softmax, values, detour } = places;
  const lines: string[] = [];
  let count = 0;
  const cast = (name: string, from: TypeName, to: TypeName) => {
    if (from === to) return name;
    const output = `${name}_as_${to}_${count++}`;
    lines.push(`${output} = Cast <to = ${CODES[to]}> (${name})`);
    return output;
  };
  const add = (output: string, call: string) => {
    lines.push(`["layers.0.attn/${output}"] ${output} = ${call}`);
    return output;
  };
  const quoted = (side: string) => {
    const stored = `"layers.0.attn.${side}_proj.weight"`;
    if (weights === layers) return stored;
    lines.push(`w_${side} = Cast <to = ${CODES[layers]}> (${stored})`);
    return `w_${side}`;
  };
  const x = cast('x', ends, layers);
  const project = (side: string) => add(side, `MatMul (${x}, ${quoted(side)})`);
  const [q, k, v] = [project('q'), project('k'), project('v')];
  let attended: string;
  let shown: string | undefined;
  if (core === 'operator') {
    const inputs = [q, k, v].map((each) => cast(each, layers, values));
    attended = cast(
      add('C', `com.microsoft.MultiHeadAttention <num_heads = 4> (${inputs.join(', ')})`),
      values,
      layers,
    );
  } else {
    const heads = (side: string, value: string, perm: string) =>
      add(
        `${side}_heads`,
        `Transpose <perm = [${perm}]> (${add(`${side}_split`, `Reshape (${value}, split)`)})`,
      );
    const Q = cast(heads('q', q, '0, 2, 1, 3'), layers, scores);
    const K = cast(heads('k', k, '0, 2, 3, 1'), layers, scores);
    const V = cast(heads('v', v, '0, 2, 1, 3'), layers, values);
    let S = cast(add('raw', `MatMul (${Q}, ${K})`), scores, softmax);
    S = add('scaled', `Mul (${S}, scale)`);
    if (core === 'masked') S = add('biased', `Add (${add('capped', `Tanh (${S})`)}, bias)`);
    let A = add('A', `Softmax <axis = -1> (${S})`);
    if (detour) A = cast(cast(A, softmax, detour), detour, softmax);
    A = cast(A, softmax, values);
    let C = add('C', `MatMul (${A}, ${V})`);
    if (core === 'two-products') {
      const other = add(
        'D',
        `MatMul (${A}, ${cast(heads('u', project('u'), '0, 2, 1, 3'), layers, values)})`,
      );
      C = add('CD', `Add (${C}, ${other})`);
    }
    if (map) shown = add('map', `Cast <to = ${CODES[ends]}> (${A})`);
    const behind = cast(C, values, layers);
    attended = add(
      'merge',
      `Reshape (${add('join', `Transpose <perm = [0, 2, 1, 3]> (${behind})`)}, merged)`,
    );
  }
  const y = add('o', `MatMul (${attended}, ${quoted('o')})`);
  lines.push(`y = Cast <to = ${CODES[ends]}> (${y})`);
  const outputs = shown ? `${ends}[B, S, 16] y, ${ends}[B, 4, S, S] ${shown}` : `${ends}[B, S, 16] y`;
  const sides = ['q', 'k', 'v', 'o', ...(core === 'two-products' ? ['u'] : [])];
  const stored = sides.map((side) => `  ${weights}[16, 16] "layers.0.attn.${side}_proj.weight" = {...}`);
  const constants = [
    '  int64[4] split = {0, 0, 4, 4}',
    '  int64[3] merged = {0, 0, 16}',
    `  ${softmax} scale = {0.5}`,
    `  ${softmax}[4, 1, 1] bias = {0.5, 0.25, 0, -0.25}`,
  ];
  return `<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (${ends}[B, S, 16] x) => (${outputs}) <
${[...stored, ...constants].join(',\n')}
> {
${lines.map((line) => `  ${line}`).join('\n')}
}`;
}
