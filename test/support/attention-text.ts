/** The smallest attention in text form, and a way to write variants of it. */

/**
 * One attention of two heads of width 4 over x of [B, S, 8]: separate projections without biases, scale 0.5, no mask.
 * Nodes are called by what they compute.
 */
export const ATTENTION = `<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[B, S, 8] x) => (float[B, S, 8] y) <
  float[8, 8] "layers.0.attn.q_proj.weight" = {...},
  float[8, 8] "layers.0.attn.k_proj.weight" = {...},
  float[8, 8] "layers.0.attn.v_proj.weight" = {...},
  float[8, 8] "layers.0.attn.o_proj.weight" = {...},
  int64[4] split = {0, 0, 2, 4},
  int64[3] merged = {0, 0, 8},
  float scale = {0.5}
> {
  ["q_proj"] q = MatMul (x, "layers.0.attn.q_proj.weight")
  ["k_proj"] k = MatMul (x, "layers.0.attn.k_proj.weight")
  ["v_proj"] v = MatMul (x, "layers.0.attn.v_proj.weight")
  ["q_split"] q_BSHD = Reshape (q, split)
  ["k_split"] k_BSHD = Reshape (k, split)
  ["v_split"] v_BSHD = Reshape (v, split)
  ["q_heads"] Q = Transpose <perm = [0, 2, 1, 3]> (q_BSHD)
  ["k_heads"] K = Transpose <perm = [0, 2, 3, 1]> (k_BSHD)
  ["v_heads"] V = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)
  ["scores"] raw = MatMul (Q, K)
  ["scaled"] S = Mul (raw, scale)
  ["softmax"] A = Softmax <axis = -1> (S)
  ["attended"] C = MatMul (A, V)
  ["join"] C_BSHD = Transpose <perm = [0, 2, 1, 3]> (C)
  ["merge"] C_BSE = Reshape (C_BSHD, merged)
  ["o_proj"] y = MatMul (C_BSE, "layers.0.attn.o_proj.weight")
}`;

/** Replaces parts of a text, each of which must be there exactly once. */
export function variant(
  text: string,
  replacements: readonly (readonly [from: string, to: string])[],
): string {
  return replacements.reduce((now, [from, to]) => {
    if (now.split(from).length !== 2) throw new Error(`'${from}' is not in the text exactly once`);
    return now.replace(from, () => to);
  }, text);
}

/** A line of ATTENTION by the name of its node, for replacements. */
export function line(name: string, text = ATTENTION): string {
  const found = text.split('\n').find((each) => each.includes(`["${name}"]`));
  if (!found) throw new Error(`no node ${name}`);
  return found;
}
