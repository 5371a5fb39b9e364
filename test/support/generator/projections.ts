/** Linear layers of a random attention: separate ones, or packed in the orders that are in use. */
import type { Axes, GraphWriter, Label, Labelled } from './graph-writer';
import { reshape } from './layouts';
import { type LayerNumbers, type LinearNumbers, stackedNumbers } from './numbers';
import { type AttentionCase, headLabels } from './plan';

export interface Parts {
  readonly q: Labelled;
  readonly k: Labelled;
  readonly v: Labelled;
}

/** Queries, keys and values as projected: rows in front, heads and widths behind, merged or apart. */
export function projectParts(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  memory: Labelled,
): Parts {
  const query = [...headLabels(plan), 'd'];
  const write = (input: Labelled, name: string, numbers: LinearNumbers, labels: readonly Label[]) =>
    linear(graph, plan, input, `${path}.${name}`, numbers, labels);
  const { q, k, v } = layer;
  const M = plan.hidden;
  switch (plan.packing) {
    case 'separate':
      return {
        q: write(x, 'q_proj', q, query),
        k: write(memory, 'k_proj', k, ['g', 'd']),
        v: write(memory, 'v_proj', v, ['g', 'e']),
      };
    case 'q, k|v': {
      const kv = write(memory, 'kv_proj', stackedNumbers([k, v], M), ['kv']);
      const [keys, values] = split(graph, kv, [
        ['g', 'd'],
        ['g', 'e'],
      ]);
      return { q: write(x, 'q_proj', q, query), ...named({ k: keys, v: values }) };
    }
    case 'q|k|v': {
      const qkv = write(x, 'qkv', stackedNumbers([q, k, v], M), ['qkv']);
      const [queries, keys, values] = split(graph, qkv, [query, ['g', 'd'], ['g', 'e']]);
      return named({ q: queries, k: keys, v: values });
    }
    case '[3, h, d]': {
      const qkv = write(x, 'qkv', stackedNumbers([q, k, v], M), ['3', 'g', 'd']);
      return picked(graph, reshape(graph, qkv, [...qkv.axes.slice(0, -1), ['3'], ['g'], ['d']]), -3);
    }
    case '[h, 3, d]': {
      const qkv = write(x, 'qkv', interleaved(plan, [q, k, v], [1, 1, 1]), ['g', '3', 'd']);
      return picked(graph, reshape(graph, qkv, [...qkv.axes.slice(0, -1), ['g'], ['3'], ['d']]), -2);
    }
    case '[g, r + 2, d]': {
      const numbers = interleaved(plan, [q, k, v], [plan.group, 1, 1]);
      const qkv = write(x, 'qkv', numbers, ['g', 'r+2', 'd']);
      const apart = reshape(graph, qkv, [...qkv.axes.slice(0, -1), ['g'], ['r+2'], ['d']]);
      return grouped(graph, plan, apart);
    }
    default:
      return plan.packing satisfies never;
  }
}

/** x W + b on the last axis. */
export function linear(
  graph: GraphWriter,
  { linear: form, hidden }: Pick<AttentionCase, 'linear' | 'hidden'>,
  x: Labelled,
  path: string,
  { weight, bias }: LinearNumbers,
  labels: readonly Label[],
): Labelled {
  const out = graph.size(labels);
  const inner = weight.length / out;
  const axes = [...x.axes.slice(0, -1), labels];
  const rows = (name: string) => graph.weight(name, [out, inner], weight);
  const columns = (name: string) => graph.weight(name, [inner, out], transposed(weight, out, inner));
  const stored = `${path}.weight`;
  if (form === 'Gemm' && inner === hidden) {
    const flat = reshape(graph, x, [x.axes.slice(0, -1).flat(), x.axes.at(-1) ?? []]);
    const added = bias ? [graph.weight(`${path}.bias`, [out], bias)] : [];
    const name =
      graph.pick(2) === 0
        ? graph.op('Gemm', [flat.name, rows(stored), ...added], { attributes: 'transB = 1' })
        : graph.op('Gemm', [flat.name, columns(stored), ...added]);
    return reshape(graph, { ...x, name, axes: [flat.axes[0] ?? [], labels] }, axes);
  }
  const turned = form === 'MatMul of a Transpose';
  const operand = turned
    ? graph.op('Transpose', [rows(stored)], { attributes: 'perm = [1, 0]' })
    : columns(stored);
  const product = graph.op('MatMul', [x.name, operand]);
  if (!bias) return { ...x, name: product, axes };
  const added = graph.weight(`${path}.bias`, [out], bias);
  const operands = graph.pick(2) === 0 ? [added, product] : [product, added];
  return graph.noise({ ...x, name: graph.op('Add', operands), axes });
}

function transposed(weight: Float64Array, rows: number, columns: number): Float64Array {
  return Float64Array.from(weight, (_, i) => weight[(i % rows) * columns + Math.floor(i / rows)] ?? 0);
}

/** Layers interleaved by key head: of each layer so many heads. */
function interleaved(
  { kvHeads, width, hidden }: AttentionCase,
  parts: readonly LinearNumbers[],
  counts: readonly number[],
): LinearNumbers {
  const chunks = Array.from({ length: kvHeads }, (_, g) =>
    parts.map(({ weight, bias }, part): LinearNumbers => {
      const rows = (counts[part] ?? 0) * width;
      return {
        weight: weight.subarray(g * rows * hidden, (g + 1) * rows * hidden),
        bias: bias?.subarray(g * rows, (g + 1) * rows),
      };
    }),
  );
  return stackedNumbers(chunks.flat(), hidden);
}

function named<K extends string>(parts: Record<K, Labelled | undefined>): Record<K, Labelled> {
  for (const part of Object.values(parts)) if (!part) throw new Error('a part is missing');
  return parts as Record<K, Labelled>;
}

/** Parts of the last axis, by Split or by Slice. */
function split(graph: GraphWriter, value: Labelled, parts: readonly (readonly Label[])[]): Labelled[] {
  const sizes = parts.map((labels) => graph.size(labels));
  const axis = value.axes.length - 1;
  const names = graph.either(
    () =>
      graph.ops('Split', [value.name, graph.ints(sizes)], {
        attributes: `axis = ${graph.pick(2) === 0 ? -1 : axis}`,
        outputs: sizes.length,
      }),
    () => {
      let from = 0;
      return sizes.map((size, part) => {
        const last = part === sizes.length - 1 && graph.pick(2) === 1;
        const inputs = [[from], [last ? 2 ** 31 - 1 : from + size], [axis]].map((each) => graph.ints(each));
        from += size;
        return graph.op('Slice', [value.name, ...inputs]);
      });
    },
  );
  const lead = value.axes.slice(0, -1);
  return parts.map((labels, part) => ({ ...value, name: names[part] ?? '', axes: [...lead, labels] }));
}

/** Queries, keys and values that lie one after the other on an axis of their own. */
function picked(graph: GraphWriter, value: Labelled, axisFromBack: number): Parts {
  const axis = value.axes.length + axisFromBack;
  const axes: Axes = value.axes.filter((_, at) => at !== axis);
  const part = (name: string): Labelled => ({ ...value, name, axes });
  const names = graph.either(
    () =>
      [0, 1, 2].map((index) =>
        graph.op('Gather', [value.name, graph.int(index === 2 && graph.pick(2) === 1 ? -1 : index)], {
          attributes: `axis = ${axis}`,
        }),
      ),
    () => {
      const attributes = `axis = ${axis}${graph.settings.opset >= 18 ? ', num_outputs = 3' : ''}`;
      const all = graph.ops('Split', [value.name], { attributes, outputs: 3 });
      return all.map((name) => graph.op('Squeeze', [name, graph.ints([axis])]));
    },
    () => {
      const front = value.axes.map((_, at) => at).filter((at) => at !== axis);
      const moved = graph.op('Transpose', [value.name], { attributes: `perm = [${[axis, ...front]}]` });
      return [0, 1, 2].map((index) =>
        graph.op('Gather', [moved, graph.int(index)], { attributes: 'axis = 0' }),
      );
    },
  );
  const labels = (value: Labelled, from: Label, to: readonly Label[]): Labelled => ({
    ...value,
    axes: value.axes.map((each) => (each.join() === from ? to : each)),
  });
  return {
    q: labels(part(names[0] ?? ''), 'g', ['g', 'r']),
    k: part(names[1] ?? ''),
    v: labels(part(names[2] ?? ''), 'd', ['e']),
  };
}

/** [.., g, r + 2, d]: the query heads of a group, then its key and its value head. */
function grouped(graph: GraphWriter, { group }: AttentionCase, value: Labelled): Parts {
  const lead = value.axes.slice(0, -3);
  const axis = value.axes.length - 2;
  const query = [...lead, ['g'], ['r'], ['d']];
  const [key, val]: Axes[] = [
    [...lead, ['g'], ['d']],
    [...lead, ['g'], ['e']],
  ];
  const slice = (from: number, to: number) =>
    graph.op('Slice', [value.name, graph.ints([from]), graph.ints([to]), graph.ints([axis])]);
  const names = graph.either(
    () =>
      graph.ops('Split', [value.name, graph.ints([group, 1, 1])], {
        attributes: `axis = ${axis}`,
        outputs: 3,
      }),
    () => [slice(0, -2), slice(-2, -1), slice(-1, 2 ** 31 - 1)],
  );
  const [q = '', k = '', v = ''] = names;
  const squeezed = (name: string) => graph.op('Squeeze', [name, graph.ints([axis])]);
  return {
    q: { ...value, name: q, axes: query },
    k: { ...value, name: squeezed(k), axes: key ?? [] },
    v: { ...value, name: squeezed(v), axes: val ?? [] },
  };
}
