/**
 * Issue 2, item 7: random second weights. Zero, mirrored and function-keeping ones do not notice a second query where a
 * key should be, a head in the place of another, or a value that was cloned.
 */

import * as path from 'node:path';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { projectedSides } from '../../src/attention/site';
import { derive, encode, memoryBytes, readModel, type TensorProto } from '../../src/onnx';
import { decodeFloats } from '../../src/onnx/floats';
import { architectures, exportsOf, packedArchitectures, toleranceOf } from '../support/exports';
import { openExport, temporaryFolder } from '../support/fixtures';
import { exposing, graphOf, rewriteToBytes } from '../support/models';
import {
  expectClose,
  floatTensor,
  largestDifference,
  numbersOf,
  readTensors,
  runModel,
  type Tensor,
  writeTensors,
} from '../support/run';
import { lambdaOf, secondWeights } from '../support/second-weights';

interface Kind {
  readonly kind: string;
  readonly settings: RewriteFileSettings;
  readonly normWidth?: number;
}

const kinds: readonly Kind[] = [
  { kind: 'duplicate heads with norm', settings: {}, normWidth: 8 },
  { kind: 'duplicate heads without norm', settings: { sublayerNorm: false } },
  { kind: 'split heads with norm', settings: { splitHeads: true }, normWidth: 16 },
  { kind: 'split heads without norm', settings: { splitHeads: true, sublayerNorm: false } },
];

describe.each(architectures)('$name', (architecture) => {
  const names = exportsOf(architecture.name);
  const [first = '', ...others] = names;
  const feeds = readTensors(openExport(first).io, 'input.');
  const base = readTensors(openExport(first).io, 'output.');

  describe.each(kinds)('$kind', ({ settings, normWidth }) => {
    const weights = secondWeights(architecture, normWidth).file;
    const run = async (name: string) =>
      runModel(rewriteToBytes(openExport(name).model, { ...settings, weights }), feeds);
    const expected = run(first);

    test('moves the outputs', async () => {
      for (const [name, tensor] of Object.entries(await expected)) {
        expect(largestDifference(base[name], tensor)).toBeGreaterThan(0.1);
      }
    });

    test.each(others)(`%s gives what ${first} gives`, async (name) => {
      expectClose(await run(name), await expected, toleranceOf(name, 2e-4));
    });
  });

  test('heads of q2 in another order would be seen', async () => {
    const { layers } = secondWeights(architecture);
    const wrong = path.join(temporaryFolder(), `${architecture.name}-permuted.safetensors`);
    const permuted = architecture.attention.flatMap(({ path: module }, layer) =>
      Object.entries(layers[layer] ?? {}).map(([key, tensor]): [string, Tensor] => [
        `${module}.${key}`,
        key === 'q2_proj.weight' ? rowsReversed(tensor) : tensor,
      ]),
    );
    writeTensors(wrong, Object.fromEntries(permuted));
    const [right, other] = await Promise.all(
      [secondWeights(architecture).file, wrong].map((weights) =>
        runModel(rewriteToBytes(openExport(first).model, { sublayerNorm: false, weights }), feeds),
      ),
    );
    const difference = Object.keys(base).map((name) => largestDifference(right?.[name], other?.[name]));
    expect(Math.max(...difference)).toBeGreaterThan(100 * 2e-4);
  });

  test('the checkpoint is used up and fills everything', () => {
    const weights = secondWeights(architecture, 8).file;
    for (const name of names) {
      const report = rewriteModel(openExport(name).model, { weights }).weights;
      expect({ name, ...report }).toMatchObject({ name, initialised: [], unused: [] });
    }
  });
});

function rowsReversed({ shape, data }: Tensor): Tensor {
  const width = shape[1] ?? 1;
  const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) => [
    ...data.slice(row * width, (row + 1) * width),
  ]);
  return floatTensor(shape, rows.reverse().flat().map(Number));
}

type ColumnOf = (side: 'q' | 'k', row: number) => number;

/** [q | k | v]: keys begin behind 32 columns of queries. */
const behindOneAnother: ColumnOf = (side, row) => (side === 'k' ? 32 : 0) + row;

/** For each head of width 8 its queries, keys and values. */
const byHead: ColumnOf = (side, row) => Math.floor(row / 8) * 24 + (side === 'k' ? 8 : 0) + (row % 8);

/** Where rows of queries and keys stand among the columns of packed weights. */
const PACKED: Readonly<Record<string, ColumnOf>> = {
  'gpt2-dec': behindOneAnother,
  'nanogpt-custom': behindOneAnother,
  'timm_vit-custom': behindOneAnother,
  'bloom-dec': byHead,
  'falcon-dec': behindOneAnother,
  'mpt-dec': behindOneAnother,
  'torch_encoder-custom': behindOneAnother,
  'ms-attention': behindOneAnother,
};

/** For values inside a model, of size 1. */
const TOLERANCE = 2e-5;

/**
 * The second map, made without the rewriter: the original model with q2 and k2 in the place of its own query and key
 * weights. What that gives, times lambda, is what a rewritten layer subtracts.
 */
describe.each([...architectures, ...packedArchitectures])(
  '$name: a rewritten layer gives A1 V - lambda A2 V',
  (architecture) => {
    const { file: weights, layers } = secondWeights(architecture);
    const exported = exportsOf(architecture.name).filter((name) => !name.includes('+'));

    describe.each(exported)('%s', (name) => {
      const { model, io } = openExport(name);
      const feeds = readTensors(io, 'input.');

      test.each([0, 1])('layer %i', async (layer) => {
        const output = rewriteModel(model, { sublayerNorm: false, layers: String(layer), weights });
        const site = output.found.sites[layer];
        const parameters = layers[layer];
        const at = output.layers[0]?.output;
        if (!site || !parameters || at === undefined) throw new Error(`no layer ${layer}`);
        const columnOf = PACKED[architecture.name] ?? ((_side, row) => row);
        const replaced = withColumns(model, [
          ...(['q', 'k'] as const).flatMap((side) => {
            const sides = projectedSides(site);
            const { tensor, bias } = (sides[side === 'q' ? 0 : 1] ?? site.query).projection;
            const [weight, vector] = [parameters[`${side}2_proj.weight`], parameters[`${side}2_proj.bias`]];
            if (!weight) throw new Error('no weight');
            return [
              { name: tensor.name ?? '', rows: weight, columnOf: (row: number) => columnOf(side, row) },
              ...(bias && vector
                ? [
                    {
                      name: bias.tensor.name ?? '',
                      rows: vector,
                      columnOf: (row: number) => columnOf(side, row),
                    },
                  ]
                : []),
            ];
          }),
        ]);
        const [positive, negative, difference] = await Promise.all(
          [
            exposing(model, [at]),
            exposing(replaced, [at]),
            exposing(rewrittenBytes(output).read(), [at]),
          ].map(async (bytes) => (await runModel(bytes, feeds, { outputs: [at] }))[at]),
        );
        const lambda = lambdaOf(parameters);
        const subtracted = numbersOf(negative);
        const expected = numbersOf(positive).map(
          (value, i) => value - lambda * (subtracted[i] ?? Number.NaN),
        );
        expect(largestDifference(positive, negative)).toBeGreaterThan(100 * TOLERANCE);
        expectClose(
          { C: difference as Tensor },
          { C: floatTensor(positive?.shape ?? [], expected) },
          TOLERANCE,
        );
      });
    });
  },
);

interface Replacement {
  readonly name: string;
  /** [out, in], or [out] for a bias. */
  readonly rows: Tensor;
  /** Column of the stored tensor [in, columns] (or [columns]) that a row goes to. */
  columnOf(row: number): number;
}

/** A model with other numbers in some columns of its initializers. */
function withColumns(model: string, replacements: readonly Replacement[]): Uint8Array {
  const file = readModel(model);
  const graph = graphOf(file.proto);
  const left = new Set(replacements);
  const replace = (tensor: TensorProto): TensorProto => {
    const mine = replacements.filter(({ name }) => name === tensor.name);
    if (mine.length === 0) return tensor;
    const columns = Number(tensor.dims.at(-1) ?? 0n);
    const values = Float32Array.from(decodeFloats(tensor.dataType as 1, file.tensorBytes(tensor).read()));
    for (const each of mine) {
      left.delete(each);
      const width = each.rows.shape[1] ?? 1;
      each.rows.data.forEach((value, i) => {
        values[(i % width) * columns + each.columnOf(Math.floor(i / width))] = Number(value);
      });
    }
    return derive(tensor, { floatData: [], rawData: memoryBytes(new Uint8Array(values.buffer)) });
  };
  const changed = derive(graph, { initializer: graph.initializer.map(replace) });
  if (left.size > 0) throw new Error(`no initializer ${[...left].map(({ name }) => name)}`);
  return encode('ModelProto', derive(file.proto, { graph: changed })).read();
}
