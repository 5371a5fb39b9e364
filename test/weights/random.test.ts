import { createHash } from 'node:crypto';
import { reproducibleLog, standardNormalQuantile } from '../../src/weights/normal-quantile';
import { normal, uniform } from '../../src/weights/random';

function collect(chunks: Iterable<Float32Array>): Float32Array {
  return Float32Array.from(Array.from(chunks, (chunk) => Array.from(chunk)).flat());
}
const sha256 = (array: Float32Array) =>
  createHash('sha256').update(new Uint8Array(array.buffer)).digest('hex');

/** xoshiro128** as its authors publish it, in big integers that are cut to 32 bits: slow and plain. */
function* xoshiroByDefinition(key: string): Generator<number> {
  const digest = createHash('sha256').update(key).digest();
  const s = [0, 4, 8, 12].map((at) => BigInt(digest.readUInt32LE(at))) as [bigint, bigint, bigint, bigint];
  const cut = (x: bigint) => BigInt.asUintN(32, x);
  const rotl = (x: bigint, k: bigint) => cut((x << k) | (x >> (32n - k)));
  for (;;) {
    yield Number(cut(rotl(cut(s[1] * 5n), 7n) * 9n));
    const t = cut(s[1] << 9n);
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11n);
  }
}

test('uniform numbers are those of xoshiro128** seeded by SHA-256 of seed and name', () => {
  const reference = xoshiroByDefinition('7\0model.layers.0.self_attn.q2_proj.weight');
  const drawn = collect(uniform(7, 'model.layers.0.self_attn.q2_proj.weight', 1000, 0.25));
  const wanted = drawn.map(() => {
    const bits = (reference.next().value as number) >>> 8;
    return (bits * 2 ** -23 - 1 + 2 ** -24) * 0.25;
  });
  expect(drawn).toEqual(wanted);
});

test('numbers are the ones that earlier versions drew: a release must not change them', () => {
  expect(Array.from(collect(uniform(0, 'a', 4, 1)))).toMatchInlineSnapshot(`
[
  0.8214619755744934,
  0.6558616757392883,
  -0.29070764780044556,
  -0.92697674036026,
]
`);
  expect(Array.from(collect(normal(0, 'a', 4, 1)))).toMatchInlineSnapshot(`
[
  1.345270037651062,
  -0.37280672788619995,
  -2.109182596206665,
  0.610407829284668,
]
`);
  expect(sha256(collect(uniform(0, 'b', 100_000, 0.1)))).toMatchInlineSnapshot(
    `"cccee5b9650569c80724c9579b1985784f6105c082675c4761fc801cc2c603ff"`,
  );
  expect(sha256(collect(normal(0, 'b', 100_000, 0.1)))).toMatchInlineSnapshot(
    `"db2b717a48b0f2879f7ac0884b5335eedb173cf3dd0c02193e80a717ab2288a4"`,
  );
});

test.each([
  ['uniform', uniform],
  ['normal', normal],
])('%s: streams do not depend on chunks, on order or on the way the seed is written', (_, draw) => {
  const whole = collect(draw(3, 'x', 1001, 0.5));
  for (const chunk of [1, 2, 7, 1000, 1001, 5000])
    expect(collect(draw(3, 'x', 1001, 0.5, chunk))).toEqual(whole);
  expect(collect(draw(3n, 'x', 1001, 0.5))).toEqual(whole);
  expect(collect(draw(3, 'x', 10, 0.5))).toEqual(whole.slice(0, 10));
  expect(collect(draw(3, 'y', 1001, 0.5))).not.toEqual(whole);
  expect(collect(draw(4, 'x', 1001, 0.5))).not.toEqual(whole);
  const again = draw(3, 'x', 1001, 0.5, 100);
  expect(collect(again)).toEqual(collect(again));
  expect(collect(draw(3, 'x', 0, 0.5))).toHaveLength(0);
});

/** Mean, variance, and the fourth moment over the squared variance. */
function moments(values: Float32Array): { mean: number; variance: number; kurtosis: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const power = (n: number) => values.reduce((sum, x) => sum + (x - mean) ** n, 0) / values.length;
  return { mean, variance: power(2), kurtosis: power(4) / power(2) ** 2 };
}

test('uniform numbers fill (-bound, bound) evenly', () => {
  const values = collect(uniform(1, 'moments', 400_000, 2));
  const { mean, variance, kurtosis } = moments(values);
  expect(Math.abs(mean)).toBeLessThan(0.008);
  expect(variance).toBeCloseTo(4 / 3, 2);
  expect(kurtosis).toBeCloseTo(1.8, 2);
  expect(values.every((x) => Math.abs(x) <= 2)).toBe(true);
  expect(values.some((x) => x < -1.999) && values.some((x) => x > 1.999)).toBe(true);
});

test('normal numbers have the moments and tails of N(0, std)', () => {
  const values = collect(normal(1, 'moments', 400_000, 0.1)).map((x) => x * 10);
  const { mean, variance, kurtosis } = moments(values);
  expect(Math.abs(mean)).toBeLessThan(0.006);
  expect(variance).toBeCloseTo(1, 1.7);
  expect(Math.abs(kurtosis - 3)).toBeLessThan(0.05);
  const beyond = (limit: number) => values.filter((x) => Math.abs(x) > limit).length / values.length;
  expect(beyond(1)).toBeCloseTo(0.3173, 2);
  expect(beyond(1.959964)).toBeCloseTo(0.05, 2);
  expect(beyond(3)).toBeCloseTo(0.0027, 3);
});

test('the quantile function gives the tabulated percentage points', () => {
  const points: [probability: number, quantile: number][] = [
    [0.5, 0],
    [0.75, 0.6744897501960817],
    [0.975, 1.959963984540054],
    [0.999, 3.090232306167813],
    [0.25, -0.6744897501960817],
    [0.001, -3.090232306167813],
    [1e-6, -4.753424308822899],
    [1e-10, -6.361340902404056],
    [1e-15, -7.941345326170997],
  ];
  for (const [probability, quantile] of points)
    expect(standardNormalQuantile(probability)).toBeCloseTo(quantile, 13);
});

test('the quantile function inverts the distribution function on all three of its pieces', () => {
  // Upper tail by the continued fraction of Laplace, centre by the series of Abramowitz and Stegun 26.2.11.
  const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const upper = (x: number) => {
    let fraction = x;
    for (let n = 400; n >= 1; n--) fraction = x + n / fraction;
    return density(x) / fraction;
  };
  const series = (x: number) => {
    let term = x;
    let sum = x;
    for (let n = 3; n < 200; n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return 0.5 - density(x) * sum;
  };
  for (let x = 0.05; x < 8; x += 0.05) {
    const tail = x < 2.5 ? series(x) : upper(x);
    expect(-standardNormalQuantile(tail) / x).toBeCloseTo(1, 12);
  }
});

test('the logarithm is right to the last places', () => {
  for (let i = 1; i <= 20_000; i++) {
    const x = i % 2 ? i / 20_000 : 1 / i ** 4;
    const wanted = Math.log(x);
    expect(Math.abs(reproducibleLog(x) - wanted)).toBeLessThanOrEqual(4 * 2 ** -53 * Math.abs(wanted));
  }
});

test('ten million uniform numbers take well under a second, also on a slow machine', () => {
  let sum = 0;
  const begin = performance.now();
  for (const chunk of uniform(0, 'speed', 10_000_000, 1)) sum += chunk[0] as number;
  expect(performance.now() - begin).toBeLessThan(1000);
  expect(Number.isFinite(sum)).toBe(true);
});
