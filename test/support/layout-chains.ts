/** Random chains of layout operators in text form, for tests that compare what is said of them with what they do. */
import fc from 'fast-check';

/** One operator to be; the numbers choose its parameters, whatever the shape is that it meets. */
export interface Step {
  readonly operator: keyof typeof makers;
  readonly numbers: readonly number[];
}

interface Made {
  /** The call without its result: `Transpose <perm = [1, 0]> (v0)`. */
  readonly lines: readonly string[];
  /** Constants by name. */
  readonly constants: Readonly<Record<string, readonly number[]>>;
  /** The scalars among them. */
  readonly scalars?: readonly string[];
  readonly shape: readonly number[];
}

interface Context {
  readonly shape: readonly number[];
  readonly input: string;
  readonly output: string;
  /** The nth number modulo a bound. */
  pick(n: number, bound: number): number;
}

type Maker = (context: Context) => Made | undefined;

const product = (sizes: readonly number[]) => sizes.reduce((all, size) => all * size, 1);
const divisors = (size: number) =>
  Array.from({ length: size }, (_, i) => i + 1).filter((d) => size % d === 0);
const MAX = 9223372036854775807n;

function reshape({ input, output }: Context, shape: readonly number[], written = shape): Made {
  const name = `${output}_shape`;
  return { lines: [`${output} = Reshape (${input}, ${name})`], constants: { [name]: written }, shape };
}

/** A start or an end as exporters write it: from the front, or from the back. */
function bound(at: number, size: number, fromBack: boolean): number {
  return fromBack && at < size ? at - size : at;
}

const makers = {
  divide: (context) => {
    const { shape, pick } = context;
    const axis = pick(0, shape.length);
    const options = divisors(shape[axis] ?? 1);
    const outer = options[pick(1, options.length)] ?? 1;
    if (shape.length > 5) return undefined;
    const parts = [outer, (shape[axis] ?? 1) / outer];
    const next = [...shape.slice(0, axis), ...parts, ...shape.slice(axis + 1)];
    const written = next.map((size, i) =>
      i === axis && pick(2, 2) === 1 ? -1 : i < axis && pick(3, 2) === 1 ? 0 : size,
    );
    return reshape(context, next, written);
  },
  merge: (context) => {
    const { shape, pick } = context;
    if (shape.length < 2) return undefined;
    const axis = pick(0, shape.length - 1);
    const merged = (shape[axis] ?? 1) * (shape[axis + 1] ?? 1);
    return reshape(context, [...shape.slice(0, axis), merged, ...shape.slice(axis + 2)]);
  },
  regroup: (context) => {
    const { shape, pick } = context;
    const next: number[] = [];
    let left = product(shape);
    for (let n = 0; n < 3; n++) {
      const options = divisors(left);
      const size = options[pick(n, options.length)] ?? 1;
      next.push(size);
      left /= size;
    }
    return reshape(context, [...next, left]);
  },
  flatten: ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length + 1);
    return {
      lines: [`${output} = Flatten <axis = ${axis}> (${input})`],
      constants: {},
      shape: [product(shape.slice(0, axis)), product(shape.slice(axis))],
    };
  },
  transpose: ({ shape, input, output, pick }) => {
    const rest = shape.map((_, axis) => axis);
    const perm = shape.flatMap((_, n) => rest.splice(pick(n, rest.length), 1));
    const attribute = pick(7, 4) === 0 ? '' : `<perm = [${perm}]> `;
    const used = attribute === '' ? shape.map((_, axis) => shape.length - 1 - axis) : perm;
    return {
      lines: [`${output} = Transpose ${attribute}(${input})`],
      constants: {},
      shape: used.map((axis) => shape[axis] ?? 1),
    };
  },
  slice: ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    const start = pick(1, size);
    const length = 1 + pick(2, size - start);
    const step = 1 + pick(3, 3);
    const end = start + length;
    const constants: Record<string, number[]> = {
      [`${output}_starts`]: [bound(start, size, pick(4, 2) === 1)],
      [`${output}_ends`]: [
        end === size && pick(5, 2) === 1 ? Number(MAX) : bound(end, size, pick(6, 2) === 1),
      ],
      [`${output}_axes`]: [pick(7, 2) === 1 ? axis - shape.length : axis],
      [`${output}_steps`]: [step],
    };
    return {
      lines: [`${output} = Slice (${[input, ...Object.keys(constants)].join(', ')})`],
      constants,
      shape: shape.map((old, at) => (at === axis ? Math.ceil(length / step) : old)),
    };
  },
  reverse: ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length);
    const constants = {
      [`${output}_starts`]: [pick(1, 2) === 0 ? -1 : Number(MAX)],
      [`${output}_ends`]: [-Number(MAX)],
      [`${output}_axes`]: [axis],
      [`${output}_steps`]: [-1],
    };
    return {
      lines: [`${output} = Slice (${[input, ...Object.keys(constants)].join(', ')})`],
      constants,
      shape,
    };
  },
  split: ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    const uneven = pick(1, 2) === 1 && size > 1;
    const options = divisors(size).filter((count) => count <= 4);
    const count = options[pick(2, options.length)] ?? 1;
    const first = 1 + pick(3, size - 1);
    const sizes = uneven ? [first, size - first] : Array.from({ length: count }, () => size / count);
    const taken = pick(4, sizes.length);
    const results = sizes.map((_, part) => (part === taken ? output : `${output}_other${part}`));
    const constants: Record<string, number[]> = uneven ? { [`${output}_sizes`]: sizes } : {};
    const inputs = [input, ...Object.keys(constants)].join(', ');
    return {
      lines: [`${results.join(', ')} = Split <axis = ${axis}> (${inputs})`],
      constants,
      shape: shape.map((old, at) => (at === axis ? (sizes[taken] ?? 1) : old)),
    };
  },
  'gather one': ({ shape, input, output, pick }) => {
    if (shape.length < 2) return undefined;
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    const name = `${output}_index`;
    return {
      lines: [`${output} = Gather <axis = ${axis}> (${input}, ${name})`],
      constants: { [name]: [pick(1, 2) === 1 ? pick(2, size) - size : pick(2, size)] },
      scalars: [name],
      shape: shape.filter((_, at) => at !== axis),
    };
  },
  'gather several': ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    const start = pick(1, size);
    const step = 1 + pick(2, 2);
    const run = Array.from({ length: Math.ceil((size - start) / step) }, (_, i) => start + i * step);
    const indices = [run, [...run].reverse(), [start, ...run]][pick(3, 3)] ?? run;
    const name = `${output}_indices`;
    return {
      lines: [`${output} = Gather <axis = ${axis}> (${input}, ${name})`],
      constants: { [name]: indices.map((index) => (pick(4, 2) === 1 ? index - size : index)) },
      shape: shape.map((old, at) => (at === axis ? indices.length : old)),
    };
  },
  'gather repeated': ({ shape, input, output, pick }) => {
    if (product(shape) > 400) return undefined;
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    const times = 2 + pick(1, 2);
    const indices = Array.from({ length: size * times }, (_, i) =>
      pick(2, 2) === 0 ? Math.floor(i / times) : i % size,
    );
    const name = `${output}_indices`;
    return {
      lines: [`${output} = Gather <axis = ${axis}> (${input}, ${name})`],
      constants: { [name]: indices },
      shape: shape.map((old, at) => (at === axis ? old * times : old)),
    };
  },
  unsqueeze: ({ shape, input, output, pick }) => {
    if (shape.length > 5) return undefined;
    const axis = pick(0, shape.length + 1);
    const name = `${output}_axes`;
    return {
      lines: [`${output} = Unsqueeze (${input}, ${name})`],
      constants: { [name]: [pick(1, 2) === 1 ? axis - shape.length - 1 : axis] },
      shape: [...shape.slice(0, axis), 1, ...shape.slice(axis)],
    };
  },
  squeeze: ({ shape, input, output, pick }) => {
    const axis = shape.indexOf(1);
    if (axis < 0 || shape.length < 2) return undefined;
    const name = `${output}_axes`;
    const all = pick(0, 3) === 0;
    return {
      lines: [`${output} = Squeeze (${input}${all ? '' : `, ${name}`})`],
      constants: all ? {} : { [name]: [axis] },
      shape: shape.filter((size, at) => (all ? size !== 1 : at !== axis)),
    };
  },
  expand: ({ shape, input, output, pick }) => {
    if (product(shape) > 400 || shape.length > 5) return undefined;
    const axis = shape.indexOf(1);
    const times = 2 + pick(0, 2);
    const front = axis < 0 || pick(1, 2) === 1;
    const next = front ? [times, ...shape] : shape.map((size, at) => (at === axis ? times : size));
    const name = `${output}_shape`;
    // ones stand for what is there already
    const written = next.map((size, at) => (at > 0 && pick(2, 2) === 1 && (front || at !== axis) ? 1 : size));
    return { lines: [`${output} = Expand (${input}, ${name})`], constants: { [name]: written }, shape: next };
  },
  tile: ({ shape, input, output, pick }) => {
    if (product(shape) > 400) return undefined;
    const axis = pick(0, shape.length);
    const times = 2 + pick(1, 2);
    const name = `${output}_repeats`;
    return {
      lines: [`${output} = Tile (${input}, ${name})`],
      constants: { [name]: shape.map((_, at) => (at === axis ? times : 1)) },
      shape: shape.map((size, at) => (at === axis ? size * times : size)),
    };
  },
  'split and concat': ({ shape, input, output, pick }) => {
    const axis = pick(0, shape.length);
    const size = shape[axis] ?? 1;
    if (size % 2 !== 0) return undefined;
    const parts = [`${output}_a`, `${output}_b`];
    const order = [parts, [...parts].reverse(), [parts[0], parts[0]]][pick(1, 3)] ?? parts;
    const onto = pick(2, 2) === 1 ? axis : pick(3, shape.length);
    const half = shape.map((old, at) => (at === axis ? size / 2 : old));
    return {
      lines: [
        `${parts.join(', ')} = Split <axis = ${axis}> (${input})`,
        `${output} = Concat <axis = ${onto}> (${order.join(', ')})`,
      ],
      constants: {},
      shape: half.map((old, at) => (at === onto ? old * 2 : old)),
    };
  },
  identity: ({ shape, input, output }) => ({
    lines: [`${output} = Identity (${input})`],
    constants: {},
    shape,
  }),
} satisfies Record<string, Maker>;

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    operator: fc.constantFrom(...(Object.keys(makers) as (keyof typeof makers)[])),
    numbers: fc.array(fc.nat({ max: 1000 }), { minLength: 8, maxLength: 8 }),
  }),
  { minLength: 1, maxLength: 8 },
);

export interface Chain {
  /** A model with input `v0`; every result in between is a value `v1`, `v2`, … */
  readonly text: string;
  /** Shapes of `v0`, `v1`, … */
  readonly shapes: readonly (readonly number[])[];
}

/** Puts the steps that fit behind one another. */
export function chainOf(start: readonly number[], chosen: readonly Step[]): Chain {
  const shapes: (readonly number[])[] = [start];
  const lines: string[] = [];
  const constants: string[] = [];
  for (const { operator, numbers } of chosen) {
    const shape = shapes.at(-1) ?? [];
    const make: Maker = makers[operator];
    const made = make({
      shape,
      input: `v${shapes.length - 1}`,
      output: `v${shapes.length}`,
      pick: (n, limit) => (limit > 1 ? (numbers[n] ?? 0) % limit : 0),
    });
    if (!made || made.shape.length === 0) continue;
    lines.push(...made.lines);
    for (const [name, values] of Object.entries(made.constants)) {
      const type = made.scalars?.includes(name) ? 'int64' : `int64[${values.length}]`;
      constants.push(
        `${type} ${name} = {${values.map((value) => (Math.abs(value) > 2 ** 53 ? BigInt(Math.sign(value)) * MAX : value)).join(', ')}}`,
      );
    }
    shapes.push(made.shape);
  }
  const last = `v${shapes.length - 1}`;
  const text = `g (float[${start}] v0) => (float[${shapes.at(-1)}] y) <
    ${constants.join(',\n    ')}
  > {
    ${lines.join('\n    ')}
    y = Identity (${last})
  }`;
  return { text: constants.length > 0 ? text : text.replace(/<\s*>/, ''), shapes };
}
