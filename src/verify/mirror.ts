import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Side } from '../attention/site';
import type { Model } from '../ir';
import { byteSize, type TensorProto } from '../onnx';
import { withBytes } from './stored';

/**
 * Puts the original's own query and key weights into the second projections. Whatever the negative component is made
 * of, it must then give what the positive one gives: same masks, same positions, same order of heads.
 */
export function mirror(
  model: Model,
  record: RewriteRecord,
  original: Model,
  sites: readonly LocatedSite[],
): void {
  const paths = new Set(record.layers.map(({ path }) => path));
  for (const site of sites) {
    if (!paths.has(site.path)) continue;
    copySide(model, `${site.path}.q2_proj`, site.query, original);
    copySide(model, `${site.path}.k2_proj`, site.key, original);
  }
}

function copySide(model: Model, name: string, side: Side, original: Model): void {
  const { projection, columns } = side;
  // The weights that the rewritten model runs its positive component with: a checkpoint may have replaced them.
  const current = (tensor: TensorProto) => model.graph.values.get(tensor.name ?? '')?.initializer ?? tensor;
  const ownerOf = (tensor: TensorProto) => (current(tensor) === tensor ? original : model);
  const weight = current(projection.tensor);
  const { inFeatures, outFeatures, outFirst } = projection;
  put(model, ownerOf(projection.tensor), `${name}.weight`, weight, columns.length * inFeatures, (index) => {
    const column = columns[Math.floor(index / inFeatures)] ?? 0;
    const row = index % inFeatures;
    return outFirst ? column * inFeatures + row : row * outFeatures + column;
  });
  if (projection.bias) {
    put(
      model,
      ownerOf(projection.bias.tensor),
      `${name}.bias`,
      current(projection.bias.tensor),
      columns.length,
      (index) => columns[index] ?? 0,
    );
  }
}

function put(
  model: Model,
  owner: Model,
  name: string,
  source: TensorProto,
  count: number,
  from: (index: number) => number,
): void {
  const value = model.graph.values.get(name);
  const target = value?.initializer;
  const size = byteSize(source.dataType ?? 0, 1) ?? 0;
  if (
    !value ||
    !target ||
    target.dataType !== source.dataType ||
    model.file.tensorBytes(target).length !== count * size
  ) {
    throw new Error(`'${name}' is not a parameter of ${count} elements of the type of '${source.name}'`);
  }
  const given = owner.bytes(source);
  const bytes = new Uint8Array(count * size);
  for (let index = 0; index < count; index++) {
    const start = from(index) * size;
    for (let byte = 0; byte < size; byte++) bytes[index * size + byte] = given[start + byte] ?? 0;
  }
  model.replaceInitializer(value, withBytes(target, bytes));
}
