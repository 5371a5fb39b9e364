import { isLayout } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { moduleOfParameter } from '../attention/path';
import { projectedSides } from '../attention/site';
import type { Node, Value } from '../ir';
import type { Analysis } from '../match/context';
import { attempt } from '../match/outcome';
import { describeProjection, type Projection } from '../match/projection';
import { reachProjections } from '../match/reach';
import type { Safetensors } from '../weights/safetensors';

/** What a linear layer of an attention projects; `packed` where it is more than one of them. */
type Role = 'q' | 'k' | 'v' | 'o' | 'packed';

/** A linear layer of an attention whose weight has lost its name. */
export interface ErasedLayer {
  readonly role: Role;
  readonly projection: Projection;
}

/** A linear layer, and the keys of a checkpoint that it was taken for. */
export interface FoundLayer {
  readonly projection: Projection;
  readonly weight: string;
  /** True where the checkpoint has the matrix [in, out]. */
  readonly transposed: boolean;
  readonly bias: string | undefined;
}

/** The linear layers of each attention that have no name in the model; looked for before anything is rewritten. */
export type ErasedLayers = ReadonlyMap<LocatedSite, readonly ErasedLayer[]>;

export function erasedLayers(sites: readonly LocatedSite[], analysis: Analysis): ErasedLayers {
  return new Map(sites.map((site) => [site, layersOf(site, analysis)]));
}

function layersOf(site: LocatedSite, { dataflow, shapes }: Analysis): ErasedLayer[] {
  const reached = attempt(() => reachProjections(site.core.values, dataflow, shapes).projections);
  const sides = projectedSides(site);
  const all: ErasedLayer[] = [
    ...sides.map((side) => ({ role: side === site.query ? 'q' : 'k', projection: side.projection }) as const),
    ...(reached.matched ? reached.value : []).map((projection) => ({ role: 'v', projection }) as const),
  ];
  const behind = layerBehind(site.core.output);
  const output = behind && describeProjection(behind, dataflow, shapes);
  if (output && 'holder' in output) all.push({ role: 'o', projection: output });
  const byHolder = new Map<Value, ErasedLayer>();
  for (const layer of all) {
    const { holder, quantized } = layer.projection;
    if (quantized || moduleOfParameter(holder.name)) continue;
    const packed = byHolder.has(holder);
    byHolder.set(holder, packed ? { ...layer, role: 'packed' } : layer);
  }
  return [...byHolder.values()];
}

/** The product that reads an attention's result, behind what only moves elements. */
function layerBehind(output: Value): Node | undefined {
  const seen = new Set<Node>();
  const open = [output];
  for (let value = open.shift(); value; value = open.shift()) {
    for (const node of value.readers) {
      if (seen.has(node)) continue;
      seen.add(node);
      if (node.is('MatMul', 'Gemm')) return node;
      if (isLayout(node) || node.is('Cast')) open.push(...node.outputs.flatMap((each) => each ?? []));
    }
  }
  return undefined;
}

/**
 * The keys of a module for linear layers without a name: by their shape, and where several have it by what their names
 * say. What neither tells apart is left alone.
 * @param free keys of the checkpoint that nothing was filled from
 */
export function findErased(
  layers: readonly ErasedLayer[],
  module: string,
  free: readonly string[],
  checkpoint: Safetensors,
): FoundLayer[] {
  const weights = free.filter((key) => key.startsWith(`${module}.`) && key.endsWith('.weight'));
  const wishes = layers.map((layer) => ({
    layer,
    keys: weights.filter((key) => fits(layer, key, checkpoint)),
  }));
  const found = wishes.flatMap(({ layer: { role, projection }, keys }, index): FoundLayer[] => {
    const named = keys.filter((key) => roleOf(key) === role);
    const [key, ...more] = named.length > 0 ? named : keys.filter((each) => roleOf(each) === undefined);
    if (key === undefined || more.length > 0) return [];
    const rival = named.length === 0 && wishes.some((each, at) => at !== index && each.keys.includes(key));
    if (rival) return [];
    const shape = checkpoint.get(key)?.shape ?? [];
    const bias = `${key.slice(0, -'weight'.length)}bias`;
    return [
      {
        projection,
        weight: key,
        transposed: shape.join() !== shapeOf(projection).join(),
        bias: projection.bias && free.includes(bias) ? bias : undefined,
      },
    ];
  });
  // A module has all of its matrices in one way: those that are not square tell it of those that are.
  const turned = found.some(({ transposed }) => transposed);
  return found.map((each) => ({ ...each, transposed: isSquare(each.projection) ? turned : each.transposed }));
}

function isSquare({ inFeatures, outFeatures }: Projection): boolean {
  return inFeatures === outFeatures;
}

function shapeOf({ outFeatures, rowShape }: Projection): number[] {
  return [outFeatures, ...rowShape];
}

function fits({ projection }: ErasedLayer, key: string, checkpoint: Safetensors): boolean {
  const given = checkpoint.get(key)?.shape ?? [];
  const wanted = shapeOf(projection);
  return [wanted, wanted.toReversed()].some((shape) => shape.join() === given.join());
}

const ROLES: readonly (readonly [Role, RegExp])[] = [
  ['q', /^(w_?|to_)?q(uery|ueries)?(_|$)/],
  ['k', /^(w_?|to_)?k(eys?)?(_|$)/],
  ['v', /^(w_?|to_)?v(alues?)?(_|$)/],
  ['o', /^(w_?|to_)?o(ut|utput)?(_|$)/],
];

/** What the name of a linear layer says of it: `q_proj`, `key`, `to_v`, `wo`. */
function roleOf(key: string): Role | undefined {
  const layer = key.split('.').at(-2) ?? '';
  return ROLES.find(([, name]) => name.test(layer))?.[0];
}
