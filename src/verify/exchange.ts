import { constantTensor } from '../analyse';
import { secondProjections } from '../attention/second-projections';
import { branchesOf, projectedSides } from '../attention/site';
import type { Model, Use } from '../ir';
import type { TensorProto } from '../onnx';
import { branchParts, readColumns, type SidePart, writeColumns } from './columns';
import type { LayerUnderTest } from './layer-reference';
import { holderOf, type OwnPart, overwriteOwn, reversed } from './overwrite-own';
import { valueAt } from './places';
import type { Finding } from './report';
import { withBytes } from './stored';

/** What a second projection stands beside. */
interface BesideSecond extends OwnPart {
  /** Of the second projection. */
  readonly name: string;
  readonly tensor: TensorProto;
}

/**
 * The two components exchange their weights: the second projections get the original's own, and its own get others.
 * Whatever the negative component is made of, it must then give what the positive one gave before: same input, masks,
 * positions and order of heads, nothing of the positive component, and the parameters of its own name. Whoever else reads
 * those weights, or what is projected with them, reads what he read.
 * @param notExchanged gets the path of each attention whose own weights had to stay, since others need what they give
 * @returns what could not be exchanged
 */
export function exchange(
  model: Model,
  layers: readonly LayerUnderTest[],
  notExchanged: (path: string) => void = () => undefined,
): Finding[] {
  const findings: Finding[] = [];
  const own = layers.flatMap((under) =>
    secondParts(under).flatMap(({ part, prefix }) => ownPart(model, under, part, prefix, findings)),
  );
  for (const each of own) findings.push(...fillSecond(model, each));
  const kept = new Set(layers.flatMap(keptParts));
  const changed = own.filter(({ part }) => part.counts && !kept.has(keyOfPart(part)));
  overwriteOwn(model, changed, notExchanged);
  return findings;
}

function ownPart(
  model: Model,
  under: LayerUnderTest,
  part: SidePart,
  name: string,
  findings: Finding[],
): BesideSecond[] {
  const { scope, site } = under;
  const use = readerIn(model, scope, part);
  const operand = use?.node.inputs[use.index] ?? valueAt(model, { scope, name: part.operand.name });
  const holder = operand && holderOf(operand);
  const tensor = holder && constantTensor(holder);
  if (!holder || !tensor) {
    findings.push({ message: `weight '${part.operand.name}' is not in the model`, layer: site.path });
    return [];
  }
  return [{ under, part, name, holder, use, tensor, columns: readColumns(part, model.bytes(tensor)) }];
}

/** Gives a second projection what the part beside it holds. */
function fillSecond(model: Model, { under, part, name, tensor, columns }: BesideSecond): Finding[] {
  const layer = under.site.path;
  const target = `${name}.${part.suffix}`;
  const value = model.graph.values.get(target);
  const given = value?.initializer;
  const bytes = writeColumns(part, columns);
  if (!value || !given) return [{ message: `parameter '${target}' is missing`, layer }];
  if (given.dataType !== tensor.dataType || model.file.tensorBytes(given).length !== bytes.length)
    return [{ message: `parameter '${target}' has another type or size than the model's own`, layer }];
  model.replaceInitializer(value, withBytes(given, bytes));
  return [];
}

/** Parts of a layer that both components read: keys that get no second projection, where the queries are the same. */
function keptParts({ site, options }: LayerUnderTest): string[] {
  const second = new Set(secondProjections(site, options).map(({ branch }) => branch));
  return projectedSides(site)
    .flatMap(branchesOf)
    .filter((branch) => !second.has(branch))
    .flatMap(branchParts)
    .map(keyOfPart);
}

/** Equal for the same columns of a stored tensor, read by the same node. */
function keyOfPart({ operand, reader, layout, starts, columns }: SidePart): string {
  const first = (layout === 'strided' ? starts[0] : columns[0]) ?? 0;
  return `${operand.name}@${first} ${reader.node.outputs[0]?.name}`;
}

/** What the second projections of a layer stand beside, and what their names begin with. */
function secondParts({ site, options }: LayerUnderTest) {
  return secondProjections(site, options).flatMap(({ path, name, branch }) =>
    branchParts(branch).map((part) => ({ part, prefix: `${path}.${name}` })),
  );
}

/** Gives the second projections other numbers. */
export function disturbSecond(model: Model, layers: readonly LayerUnderTest[]): void {
  const seconds = layers
    .flatMap(secondParts)
    .map(({ part, prefix }) => ({ part, name: `${prefix}.${part.suffix}` }));
  for (const { part, name } of new Map(seconds.map((each) => [each.name, each])).values()) {
    const value = model.graph.values.get(name);
    const tensor = value?.initializer;
    if (!value || !tensor || !part.counts) continue;
    model.replaceInitializer(value, withBytes(tensor, reversed(model.bytes(tensor), part.elementSize)));
  }
}

/** Where a weight is read for a side in this model. */
function readerIn(model: Model, scope: Scope, { reader: { node, index } }: SidePart): Use | undefined {
  const name = node.outputs[0]?.name;
  const twin = name === undefined ? undefined : valueAt(model, { scope, name })?.producer;
  const value = twin?.operator === node.operator ? twin.inputs[index] : undefined;
  return twin && value && constantTensor(holderOf(value)) ? { node: twin, index } : undefined;
}

type Scope = LayerUnderTest['scope'];
