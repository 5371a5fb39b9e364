/** Makes an input smaller for as long as it shows the same finding. */
import { derive, encode, type ModelProto, type NodeProto, parseModel } from '../../src/onnx';
import { graphOf } from './draft';

/** Whether an input still shows the finding. */
export type Shows = (bytes: Uint8Array) => Promise<boolean>;

/**
 * @param budget milliseconds
 * @param readable false where reading the input is not safe here, because it may be what takes too long
 */
export async function minimised(
  bytes: Uint8Array,
  shows: Shows,
  budget: number,
  readable = true,
): Promise<Uint8Array> {
  const end = Date.now() + budget;
  const search = { shows, over: () => Date.now() > end };
  const proto = readable ? protoOf(bytes) : undefined;
  const whole = proto && encoded(proto);
  if (proto && whole && (await shows(whole))) return encoded(await smallerModel(proto, search)) ?? whole;
  return smallerList([...chunksOf(bytes)], (parts) => new Uint8Array(Buffer.concat(parts)), bytes, search);
}

interface Search {
  readonly shows: Shows;
  readonly over: () => boolean;
}

function protoOf(bytes: Uint8Array): ModelProto | undefined {
  try {
    const { proto } = parseModel(bytes);
    return proto.graph ? proto : undefined;
  } catch {
    return undefined;
  }
}

function encoded(proto: ModelProto): Uint8Array | undefined {
  try {
    return encode('ModelProto', proto).read();
  } catch {
    return undefined;
  }
}

function* chunksOf(bytes: Uint8Array): Iterable<Uint8Array> {
  const size = Math.max(1, Math.ceil(bytes.length / 512));
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Leaves parts of a list out, large parts first, as long as what is built of the rest shows the finding. */
async function smallerList<T>(
  list: readonly T[],
  build: (list: readonly T[]) => Uint8Array | undefined,
  otherwise: Uint8Array,
  { shows, over }: Search,
): Promise<Uint8Array> {
  let [kept, best] = [list, otherwise];
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < kept.length && !over(); ) {
      const rest = [...kept.slice(0, at), ...kept.slice(at + size)];
      const bytes = build(rest);
      if (bytes && (await shows(bytes))) [kept, best] = [rest, bytes];
      else at += size;
    }
  }
  return best;
}

type Part = 'valueInfo' | 'output' | 'node' | 'initializer' | 'input';

async function smallerModel(start: ModelProto, search: Search): Promise<ModelProto> {
  let model = start;
  const attempt = async (next: ModelProto | undefined): Promise<boolean> => {
    const bytes = next && !search.over() ? encoded(next) : undefined;
    if (!next || !bytes || !(await search.shows(bytes))) return false;
    model = next;
    return true;
  };
  const without = async (part: Part, change: (graph: ModelProto, rest: readonly never[]) => ModelProto) => {
    const list = graphOf(model)[part] as readonly never[];
    const build = (rest: readonly never[]) => encoded(change(model, rest));
    const bytes = await smallerList(list, build, encoded(model) ?? new Uint8Array(), search);
    model = protoOf(bytes) ?? model;
  };
  const replace = (part: Part) => (from: ModelProto, rest: readonly never[]) =>
    withGraph(from, { [part]: rest });
  await attempt(derive(model, { metadataProps: [] }));
  await attempt(withGraph(model, { valueInfo: [] }));
  await without('output', (from, rest) => withoutDead(replace('output')(from, rest)));
  await attempt(withoutDead(model));
  await without('node', replace('node'));
  for (let at = graphOf(model).node.length - 1; at >= 0 && !search.over(); at--)
    await attempt(bypassed(model, at));
  await attempt(withoutDead(model));
  await without('node', replace('node'));
  for (const part of ['initializer', 'input', 'valueInfo'] as const) await without(part, replace(part));
  return model;
}

function withGraph(model: ModelProto, changes: object): ModelProto {
  return derive(model, { graph: derive(graphOf(model), changes) });
}

/** Without a node: its readers read what it reads. */
function bypassed(model: ModelProto, at: number): ModelProto | undefined {
  const { node: nodes, output } = graphOf(model);
  const old = nodes[at];
  const [from, to] = [old?.output[0], old?.input.find((name) => name !== '')];
  if (from === undefined || to === undefined || output.some(({ name }) => name === from)) return undefined;
  const node = nodes.flatMap((each, index): NodeProto[] => {
    if (index === at) return [];
    if (!each.input.includes(from)) return [each];
    return [derive(each, { input: each.input.map((name) => (name === from ? to : name)) })];
  });
  return withoutDead(withGraph(model, { node }));
}

/** Without nodes and stored tensors that no output needs. */
function withoutDead(model: ModelProto): ModelProto {
  const { node, initializer, output } = graphOf(model);
  const needed = new Set(output.map(({ name }) => name ?? ''));
  const kept = node.toReversed().filter((each) => {
    const wanted = each.output.some((name) => needed.has(name));
    if (wanted) for (const name of readBy(each)) needed.add(name);
    return wanted;
  });
  return withGraph(model, {
    node: kept.reverse(),
    initializer: initializer.filter(({ name = '' }) => needed.has(name)),
  });
}

/** What a node reads, and what the nodes in its bodies do. */
function* readBy({ input, attribute }: NodeProto): Iterable<string> {
  yield* input;
  for (const { g } of attribute) {
    for (const inner of g?.node ?? []) yield* readBy(inner);
    for (const { name } of g?.output ?? []) if (name !== undefined) yield name;
  }
}
