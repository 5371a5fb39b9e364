/**
 * What matching and rewriting cost without reading and writing, by the number of layers: `npm run bench:layers`, or
 *
 *     npm run bench:layers -- --counts 25,100     numbers of layers (25,50,100,200)
 *     npm run bench:layers -- --split-heads
 *     npm run bench:layers -- --runs 5            medians of 5 runs (3)
 *
 * Decoders as TorchScript exports them, with small weights. Processor time, since other programs may run. Exit 1 where 100 layers take 2 seconds or longer, or where the largest decoder takes more than half as much again
 * per layer as the smallest.
 */
import { parseArgs } from 'node:util';
import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import { load, type Model } from '../../src/ir';
import { type ByteRange, type ModelFile, modelBytes, parseModel, type TensorProto } from '../../src/onnx';
import { resolveOptions } from '../../src/rewrite/options';
import { runRewrite } from '../../src/rewrite/run';
import { llama } from './llama';
import { median } from './measure';

const LAYERS_OF_LIMIT = 100;
const LARGEST_SECONDS = 2;
/** Time per layer of the largest decoder, compared with that of the smallest. */
const LARGEST_GROWTH = 1.5;

const { values } = parseArgs({
  options: {
    counts: { type: 'string', default: '25,50,100,200' },
    'split-heads': { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
  },
});

interface Cost {
  readonly layers: number;
  readonly nodes: number;
  /** Seconds. */
  readonly match: number;
  readonly rewrite: number;
}

function decoder(layers: number): ModelFile {
  const proto = llama({ layers, hidden: 64, heads: 4, kvHeads: 2, intermediate: 96, vocab: 50 });
  return parseModel(modelBytes(proto, { name: 'decoder.onnx', tensorBytes: stored }).read());
}

function stored(tensor: TensorProto): ByteRange {
  if (!tensor.rawData) throw new Error(`no bytes of ${tensor.name}`);
  return tensor.rawData;
}

/** Seconds of processor time. */
function seconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1e6;
}

/** The whole rewrite, matching included, and matching alone; the graph is made before. */
function once(file: ModelFile): { match: number; rewrite: number } {
  const [first, second]: [Model, Model] = [load(file), load(file)];
  const options = resolveOptions({ splitHeads: values['split-heads'] });
  return {
    match: seconds(() => findAttention(first, passes.recognisers)),
    rewrite: seconds(() =>
      runRewrite(second, passes, options, { sourceHash: () => '', version: 'benchmark' }),
    ),
  };
}

function measure(layers: number, runs: number): Cost {
  const file = decoder(layers);
  const costs = Array.from({ length: runs }, () => once(file));
  return {
    layers,
    nodes: load(file).graph.nodes.length,
    match: median(costs.map(({ match }) => match)),
    rewrite: median(costs.map(({ rewrite }) => rewrite)),
  };
}

function print({ layers, nodes, match, rewrite }: Cost): void {
  const cells = [
    `${layers}`.padStart(6),
    `${nodes}`.padStart(8),
    `${match.toFixed(2)} s`.padStart(10),
    `${rewrite.toFixed(2)} s`.padStart(10),
    `${((1000 * rewrite) / layers).toFixed(1)} ms`.padStart(12),
  ];
  console.log(cells.join(''));
}

function main(): void {
  const counts = values.counts.split(',').map(Number);
  const [smallest = 1] = counts;
  // not counted: the compiler of the runtime has nothing warmed up
  once(decoder(smallest));
  console.log('layers   nodes   matching   in all    per layer');
  const costs = counts.map((layers) => {
    const cost = measure(layers, Number(values.runs));
    print(cost);
    return cost;
  });
  const perLayer = costs.map(({ rewrite, layers }) => rewrite / layers);
  const growth = (perLayer.at(-1) ?? Number.NaN) / (perLayer[0] ?? Number.NaN);
  const hundred = costs.find(({ layers }) => layers === LAYERS_OF_LIMIT)?.rewrite ?? 0;
  const kept = hundred < LARGEST_SECONDS && growth <= LARGEST_GROWTH;
  console.log(
    `limits: ${LARGEST_SECONDS} s for ${LAYERS_OF_LIMIT} layers, ${LARGEST_GROWTH}x per layer (${growth.toFixed(2)}x): ${kept ? 'kept' : 'EXCEEDED'}`,
  );
  process.exitCode = kept ? 0 : 1;
}

main();
