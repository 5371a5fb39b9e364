import { DOMAIN, MIX_INPUT, type RewriteRecord } from '../../attention/record';
import { canonicalDomain, declaredShape, type Model, type Value } from '../../ir';
import { type ByteRange, derive, encode, type ModelProto } from '../../onnx';
import type { CheckBuilder } from '../report';
import type { Correspondence } from './correspondence';
import { sameBytes } from './same-bytes';
import { isHalvedType } from './shown-maps';

/** Compares what a model holds beside its nodes and weights. */
export function compareModels(map: Correspondence, record: RewriteRecord, check: CheckBuilder): void {
  const { original, rewritten } = map;
  compareSignatures(map, record, check);
  compareOpsets(original, rewritten, check);
  compareFunctions(original, rewritten, check);
  compareList(
    'metadata',
    [original.proto.metadataProps, rewritten.proto.metadataProps],
    (each) => each.key ?? '',
    (each) => encode('StringStringEntryProto', each),
    check,
  );
  compareList(
    'sparse weight',
    [original.proto.graph?.sparseInitializer ?? [], rewritten.proto.graph?.sparseInitializer ?? []],
    (each) => each.values?.name ?? '',
    (each) => encode('SparseTensorProto', each),
    check,
  );
  if (sameBytes(shell(original), shell(rewritten))) check.count();
  else check.find('version, producer, names or documentation of the model have changed');
}

/** The message of a model without what is compared piece by piece. */
function shell({ proto }: Model): ByteRange {
  const graph =
    proto.graph &&
    derive(proto.graph, {
      node: [],
      initializer: [],
      sparseInitializer: [],
      input: [],
      output: [],
      valueInfo: [],
    });
  const empty: Partial<ModelProto> = { functions: [], metadataProps: [], opsetImport: [] };
  return encode('ModelProto', derive(proto, { ...empty, ...(graph ? { graph } : {}) }));
}

function compareSignatures(map: Correspondence, { options }: RewriteRecord, check: CheckBuilder): void {
  const { original, rewritten } = map;
  const inputs = rewritten.graph.inputs.filter(({ name }) => !(options.mixInput && name === MIX_INPUT));
  compareEnds('input', original.graph.inputs, inputs, map, check);
  const outputs = rewritten.graph.outputs.filter(
    ({ name }, index) => index < original.graph.outputs.length || !map.metrics.has(name),
  );
  compareEnds('output', original.graph.outputs, outputs, map, check);
  if (options.mixInput && inputs.length === rewritten.graph.inputs.length)
    check.find(`input '${MIX_INPUT}' is missing`);
}

function compareEnds(
  what: 'input' | 'output',
  expected: readonly Value[],
  given: readonly Value[],
  map: Correspondence,
  check: CheckBuilder,
): void {
  for (let index = 0; index < Math.max(expected.length, given.length); index++) {
    const [was, is] = [expected[index], given[index]];
    if (was?.name !== is?.name)
      check.find(`${what} ${index} is '${is?.name ?? 'none'}' and was '${was?.name ?? 'none'}'`);
    else if (was && is && sameType(was, is, map)) check.count();
    else check.find(`${what} '${was?.name}' has another type`);
  }
}

function sameType(was: Value, is: Value, map: Correspondence): boolean {
  const doubled = map.doubled.get(was);
  if (map.shownMaps.has(was) && isHalvedType(was, is, map.splits)) return true;
  if (!doubled) return sameBytes(encode('TypeProto', was.type ?? {}), encode('TypeProto', is.type ?? {}));
  if (was.type?.tensorType?.elemType !== is.type?.tensorType?.elemType) return false;
  const [before = [], now = []] = [declaredShape(was), declaredShape(is)];
  if (before.length !== now.length) return false;
  const changed = before.flatMap((size, axis) => (size === now[axis] ? [] : [axis]));
  const [size, next] = [before[doubled.axis], now[doubled.axis]];
  const twice = typeof size === 'number' ? next === size * 2 : size === undefined || next !== size;
  return twice && changed.every((axis) => axis === doubled.axis);
}

function compareOpsets(original: Model, rewritten: Model, check: CheckBuilder): void {
  for (const [domain, version] of original.opsets) {
    if (rewritten.opsets.get(domain) === version) check.count();
    else check.find(`operator set '${domain}' is ${rewritten.opsets.get(domain)} and was ${version}`);
  }
  for (const domain of rewritten.opsets.keys())
    if (!original.opsets.has(domain) && domain !== DOMAIN)
      check.find(`operator set '${domain}' was not in the original`);
}

function compareFunctions(original: Model, rewritten: Model, check: CheckBuilder): void {
  compareList(
    'function',
    [original.functions.map(({ proto }) => proto), rewritten.proto.functions],
    (each) => `${each.domain}.${each.name}${each.overload ? `.${each.overload}` : ''}`,
    (each) => encode('FunctionProto', each),
    check,
  );
  for (const { proto } of rewritten.functions) {
    const { name, domain } = proto;
    if (original.functions.some((each) => each.proto.name === name && each.proto.domain === domain)) continue;
    if (domain !== DOMAIN) check.find(`function ${domain}.${name} was not in the original`);
    for (const { domain: of, version } of proto.opsetImport) {
      if (rewritten.opsets.get(canonicalDomain(of)) === Number(version)) check.count();
      else
        check.find(`function ${domain}.${name} uses another operator set '${of}' than the model: ${version}`);
    }
  }
}

function compareList<T>(
  what: string,
  [expected, given]: readonly [readonly T[], readonly T[]],
  name: (each: T) => string,
  bytes: (each: T) => ByteRange,
  check: CheckBuilder,
): void {
  for (const each of expected) {
    const other = given.find((candidate) => name(candidate) === name(each));
    if (other && sameBytes(bytes(each), bytes(other))) check.count();
    else check.find(`${what} '${name(each)}' ${other ? 'has changed' : 'is missing'}`);
  }
}
