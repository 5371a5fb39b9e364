/** One attention of two heads over [B, S, 8], in text form: what is tested stands between the scores and the softmax. */

export interface AttentionText {
  /** Further inputs: `, int64[B, T] a1`. */
  readonly inputs?: string;
  /** Further initializers: `, float low = {-10000}`. */
  readonly constants?: string;
  /** What makes `m` of the scores `s` [B, 2, S, S]. Default: nothing. */
  readonly mask?: string;
  /** What makes `p` of what the softmax gives, `p0`. Default: nothing. */
  readonly map?: string;
  /** What makes `x` [B, S, 8]. Default: the input `a0`. */
  readonly before?: string;
  /** The first input; none where `before` makes all of it. */
  readonly first?: string;
  /** What makes keys and values `kk` and `vv` [B, 2, T, 4] of `kt` and `vt` [B, 2, S, 4]. */
  readonly cache?: string;
  readonly outputs?: string;
}

export function attentionText(text: AttentionText): string {
  const {
    inputs = '',
    constants = '',
    mask = 'm = Identity (s)',
    map = 'p = Identity (p0)',
    outputs = '',
  } = text;
  const first = text.first ?? 'float[B, S, 8] a0';
  const before = text.before ?? 'x = Identity (a0)';
  const cache = text.cache ?? 'kk = Identity (kt) vv = Identity (vt)';
  return `<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>
    g (${first}${inputs}) => (float[B, S, 8] y${outputs}) <
      float[8, 8] wq = {...}, float[8, 8] wk = {...}, float[8, 8] wv = {...}, float[8, 8] wo = {...},
      int64[4] split = {0, 0, 2, 4}, int64[3] merge = {0, 0, 8}, float root = {0.5},
      int64[1] d0 = {0}, int64[1] d1 = {1}, int64[1] d2 = {2}, int64[1] d12 = {1}, int64[2] axes12 = {1, 2},
      float zero = {0}, float one = {1}, float low = {-10000}, int64 n0 = {0}, int64 n1 = {1}${constants}
    > {
      ${before}
      q = MatMul (x, wq)
      k = MatMul (x, wk)
      v = MatMul (x, wv)
      qs = Reshape (q, split)
      ks = Reshape (k, split)
      vs = Reshape (v, split)
      qt = Transpose <perm = [0, 2, 1, 3]> (qs)
      kt = Transpose <perm = [0, 2, 1, 3]> (ks)
      vt = Transpose <perm = [0, 2, 1, 3]> (vs)
      ${cache}
      kT = Transpose <perm = [0, 1, 3, 2]> (kk)
      s0 = MatMul (qt, kT)
      s = Mul (s0, root)
      ${mask}
      p0 = Softmax <axis = -1> (m)
      ${map}
      c = MatMul (p, vv)
      ct = Transpose <perm = [0, 2, 1, 3]> (c)
      cm = Reshape (ct, merge)
      y = MatMul (cm, wo)
    }`;
}
