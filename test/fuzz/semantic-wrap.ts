/** Mutations that put a part of a graph into a function or a body. */
import {
  AttributeType,
  DataType,
  EMPTY_ATTRIBUTE,
  type GraphProto,
  memoryBytes,
  type NodeProto,
} from '../../src/onnx';
import { makeTensor } from '../../src/rewrite/tensors';
import { type Draft, node } from './draft';
import type { Random } from './random';
import type { Mutation } from './semantic-insert';

/** Some nodes that stand one behind the other, what they read from outside, and what others read of them. */
interface Part {
  readonly at: number;
  readonly nodes: readonly NodeProto[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

function partOf(draft: Draft, random: Random): Part | undefined {
  const at = draft.somewhere(random);
  const nodes = draft.nodes.slice(at, at + 1 + random.int(random.pick([2, 8, 40])));
  const rest = [...draft.nodes.slice(0, at), ...draft.nodes.slice(at + nodes.length)];
  const made = new Set(nodes.flatMap(({ output }) => output.filter((name) => name !== '')));
  const inputs = [
    ...new Set(nodes.flatMap(({ input }) => input.filter((name) => name !== '' && !made.has(name)))),
  ];
  const read = new Set([
    ...rest.flatMap(({ input }) => input),
    ...draft.outputs.map(({ name }) => name ?? ''),
  ]);
  const outputs = [...made].filter((name) => read.has(name));
  const bodies = [...nodes, ...rest].some(({ attribute }) => attribute.some(({ g }) => g));
  return bodies || outputs.length === 0 ? undefined : { at, nodes, inputs, outputs };
}

const intoFunction: Mutation = (draft, random) => {
  const part = partOf(draft, random);
  if (!part) return false;
  const { at, nodes, inputs, outputs } = part;
  const name = draft.fresh();
  draft.functions.push({
    name,
    domain: 'fuzz',
    input: inputs,
    output: outputs,
    attribute: [],
    attributeProto: [],
    node: nodes,
    opsetImport: draft.proto.opsetImport,
    valueInfo: [],
    metadataProps: [],
  });
  draft.nodes.splice(at, nodes.length, node(name, inputs, outputs, [], 'fuzz'));
  draft.proto = withDomain(draft);
  return true;
};

function withDomain({ proto }: Draft): Draft['proto'] {
  if (proto.opsetImport.some(({ domain }) => domain === 'fuzz')) return proto;
  return { ...proto, opsetImport: [...proto.opsetImport, { domain: 'fuzz', version: 1n }] };
}

/** The part becomes the branch that is taken; the other one gives the same, or something of the same shape. */
const intoIf: Mutation = (draft, random) => {
  const part = partOf(draft, random);
  if (!part || part.outputs.some((name) => !draft.types.has(name))) return false;
  const depth = random.pick([1, 1, 2, 5]);
  const taken = random.chance(0.5);
  const condition = draft.constant(makeTensor(DataType.BOOL, [], memoryBytes(Uint8Array.of(taken ? 1 : 0))));
  draft.nodes.splice(part.at, part.nodes.length, ifOf(draft, part, condition, depth));
  return true;
};

function ifOf(draft: Draft, { nodes, outputs }: Part, condition: string, depth: number): NodeProto {
  const body = (): GraphProto => {
    const names = new Map(
      nodes.flatMap(({ output }) =>
        output.filter((name) => name !== '').map((name) => [name, draft.fresh()] as const),
      ),
    );
    const renamed = (name: string) => names.get(name) ?? name;
    let inner: readonly NodeProto[] = nodes.map((each) => ({
      ...each,
      input: each.input.map(renamed),
      output: each.output.map(renamed),
    }));
    let results = outputs.map(renamed);
    if (depth > 1) {
      const next = outputs.map(() => draft.fresh());
      inner = [{ ...ifOf(draft, { at: 0, nodes, inputs: [], outputs }, condition, depth - 1), output: next }];
      results = next;
    }
    return {
      name: draft.fresh(),
      node: inner,
      initializer: [],
      sparseInitializer: [],
      input: [],
      output: results.map((name, i) => ({
        name,
        type: { tensorType: { elemType: draft.types.get(outputs[i] ?? '') ?? 1 } },
        metadataProps: [],
      })),
      valueInfo: [],
      quantizationAnnotation: [],
      metadataProps: [],
    };
  };
  const branch = (name: string) => ({ ...EMPTY_ATTRIBUTE, name, type: AttributeType.GRAPH, g: body() });
  return node('If', [condition], outputs, [branch('then_branch'), branch('else_branch')]);
}

export const WRAPS: Readonly<Record<string, Mutation>> = {
  'into a function': intoFunction,
  'into an If': intoIf,
};
