import { constantTensor } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { secondProjections } from '../attention/second-projections';
import { branchesOf, projectedSides } from '../attention/site';
import type { Model, Value } from '../ir';
import { branchParts, readColumns, replaceColumns, type SidePart, writeColumns } from './columns';
import type { LayerUnderTest } from './layer-reference';
import { valueAt } from './places';
import type { Finding } from './report';
import { withBytes } from './stored';

/**
 * The two components exchange their weights: the second projections get the original's own, and its own get others.
 * Whatever the negative component is made of, it must then give what the positive one gave before: same input, masks,
 * positions and order of heads, nothing of the positive component, and the parameters of its own name.
 * @param sites all attentions of the model; what those read that were not rewritten stays as it is
 * @returns what could not be exchanged
 */
export function exchange(
  model: Model,
  layers: readonly LayerUnderTest[],
  sites: readonly LocatedSite[] = [],
): Finding[] {
  const findings: Finding[] = [];
  const left = heldByOthers(layers, sites);
  const own = layers
    .flatMap((under) =>
      secondParts(under).map(({ part, prefix }) => {
        const { site, scope } = under;
        return { part, scope, name: prefix, layer: site.path };
      }),
    )
    .flatMap(({ part, scope, name, layer }) => {
      const operand = readBy(model, scope, part) ?? valueAt(model, { scope, name: part.operand.name });
      const holder = operand && holderOf(operand);
      const tensor = holder && constantTensor(holder);
      if (!holder || !tensor) {
        findings.push({ message: `weight '${part.operand.name}' is not in the model`, layer });
        return [];
      }
      return [{ part, name, layer, holder, tensor, columns: readColumns(part, model.bytes(tensor)) }];
    });
  for (const { part, name, layer, tensor, columns } of own) {
    const target = `${name}.${part.suffix}`;
    const value = model.graph.values.get(target);
    const given = value?.initializer;
    const bytes = writeColumns(part, columns);
    if (!value || !given) findings.push({ message: `parameter '${target}' is missing`, layer });
    else if (given.dataType !== tensor.dataType || model.file.tensorBytes(given).length !== bytes.length)
      findings.push({
        message: `parameter '${target}' has another type or size than the model's own`,
        layer,
      });
    else model.replaceInitializer(value, withBytes(given, bytes));
  }
  // Attentions that share their weights have them once.
  const done = new Set<string>();
  for (const { part, holder, columns } of own) {
    const key = `${holder.name}@${firstOf(part)}`;
    const alone = !left.has(`${part.operand.name}@${firstOf(part)}`);
    if (part.counts && alone && !done.has(key)) overwrite(model, holder, part, columns);
    done.add(key);
  }
  return findings;
}

/** Where the part of a stored tensor begins that belongs to a side. */
function firstOf({ layout, starts, columns }: SidePart): number {
  return (layout === 'strided' ? starts[0] : columns[0]) ?? 0;
}

/** What is read beside the sides that have second projections: by attentions that were not rewritten, and by keys that stay. */
function heldByOthers(layers: readonly LayerUnderTest[], sites: readonly LocatedSite[]): Set<string> {
  const rewritten = new Set(layers.map(({ site }) => site.path));
  const others = sites.filter(({ path }) => !rewritten.has(path));
  const kept = layers.flatMap(({ site, options }) => {
    const second = new Set(secondProjections(site, options).map(({ branch }) => branch));
    return projectedSides(site)
      .flatMap(branchesOf)
      .filter((branch) => !second.has(branch));
  });
  const parts = [...others.flatMap(projectedSides).flatMap(branchesOf), ...kept].flatMap(branchParts);
  return new Set(parts.map((part) => `${part.operand.name}@${firstOf(part)}`));
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

/** What the reader of a weight reads in this model. */
function readBy(model: Model, scope: Scope, { reader, operand }: SidePart): Value | undefined {
  const output = reader?.outputs[0];
  const index = reader?.inputs.findIndex((input) => input && holderOf(input) === operand) ?? -1;
  const twin = output && valueAt(model, { scope, name: output.name })?.producer;
  const value = twin?.operator === reader?.operator ? twin?.inputs[index] : undefined;
  return value && constantTensor(holderOf(value)) ? value : undefined;
}

type Scope = LayerUnderTest['scope'];

/** The value that holds a weight, behind what stands between it and the projection. */
function holderOf(value: Value): Value {
  let holder = value;
  for (
    let node = holder.producer;
    node?.is('Identity', 'Transpose') && node.inputs[0];
    node = holder.producer
  )
    holder = node.inputs[0];
  return holder;
}

/** Puts the columns back in the opposite order, and what each holds as well: as large as before, whatever the type. */
function overwrite(model: Model, holder: Value, part: SidePart, columns: readonly Uint8Array[]): void {
  const tensor = constantTensor(holder);
  if (!tensor) return;
  const others = columns.map((column) => reversed(column, part.elementSize)).reverse();
  const next = withBytes(tensor, replaceColumns(part, model.bytes(tensor), others));
  if (holder.initializer) model.replaceInitializer(holder, next);
  else holder.scope.redirect(holder, model.graph.addInitializer(holder.name, next));
}

function reversed(bytes: Uint8Array, size: number): Uint8Array {
  const turned = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += size)
    turned.set(bytes.subarray(at, at + size), bytes.length - size - at);
  return turned;
}
