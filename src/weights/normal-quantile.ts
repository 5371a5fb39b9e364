/**
 * The quantile function of the standard normal distribution: algorithm AS 241, PPND16 (Wichura, "The percentage points
 * of the normal distribution", Applied Statistics 37, 1988), about 1 part in 10^16. Its logarithm is computed here,
 * because Math.log may differ in the last bit between engines.
 */

/** Coefficients of AS 241, from the constant up: near the middle, in the tails, far in the tails. */
const A = [
  3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
  67265.7709270087, 33430.57558358813, 2509.0809287301227,
] as const;
const B = [
  1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
  28729.085735721943, 5226.495278852546,
] as const;
const C = [
  1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
  0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
] as const;
const D = [
  1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
  0.0005475938084995345, 1.0507500716444169e-9,
] as const;
const E = [
  6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
  0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7,
] as const;
const F = [
  1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133,
  1.8463183175100548e-5, 1.421511758316446e-7, 2.0442631033899397e-15,
] as const;

type Coefficients = readonly [number, number, number, number, number, number, number, number];

/** x such that a standard normal variable is below x with the given probability, which is in (0, 1). */
export function standardNormalQuantile(probability: number): number {
  const q = probability - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(A, r)) / polynomial(B, r);
  }
  const r = Math.sqrt(-reproducibleLog(q < 0 ? probability : 1 - probability));
  const magnitude =
    r <= 5 ? polynomial(C, r - 1.6) / polynomial(D, r - 1.6) : polynomial(E, r - 5) / polynomial(F, r - 5);
  return q < 0 ? -magnitude : magnitude;
}

function polynomial(c: Coefficients, x: number): number {
  return ((((((c[7] * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0];
}

/** Written out: ECMAScript calls the values of Math.LN2 and its like approximate. */
// biome-ignore lint/suspicious/noApproximativeNumericConstant: the same bits on every engine
const LN2 = 0.6931471805599453;
// biome-ignore lint/suspicious/noApproximativeNumericConstant: the same bits on every engine
const SQRT1_2 = 0.7071067811865476;

/**
 * The natural logarithm of a number in (0, 1], relative error below 2^-51, the same on every machine.
 * With x = m * 2^-k and m in [1/sqrt 2, sqrt 2): log x = 2 atanh((m - 1) / (m + 1)) - k log 2, by the series of atanh.
 */
export function reproducibleLog(x: number): number {
  let m = x;
  let k = 0;
  for (; m < SQRT1_2; m *= 2) k++;
  const s = (m - 1) / (m + 1);
  const s2 = s * s;
  // |s| < 0.1716, so that the first term left out, s^23/23, is below 2^-62.
  let sum = 0;
  for (let n = 21; n >= 3; n -= 2) sum = (sum + 1 / n) * s2;
  return 2 * s + 2 * s * sum - k * LN2;
}
