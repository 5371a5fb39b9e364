import {
  type Atom,
  ancestors,
  type Dataflow,
  type Dim,
  dataInputs,
  descendants,
  followViews,
  isPure,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import { isFloatType } from '../onnx/floats';
import { fail } from './outcome';
import { reachProjections } from './reach';
import { type HeadedSide, type Side, traceSide } from './side';

/**
 * Keys that another run has projected, and that the model is fed: the cache of a cross-attention, whose keys are computed
 * once, and read by every step of the decoder. They come through layout, casts and factors alone.
 */
export interface FedKeys extends HeadedSide {
  /** The axis of the input on which the heads stand. */
  readonly fedAxis: number;
}

/** True for a side that the graph itself projects. */
export function isProjected(side: Side | FedKeys): side is Side {
  return 'projection' in side;
}

/** The input behind keys, where nothing that depends on data joins them on the way. */
export function fedInput(operand: Value, dataflow: Dataflow): Value | undefined {
  let value = operand;
  while (value.producer) {
    if (value.producer.bodies.size > 0) return undefined;
    const [source, other] = dataInputs(value.producer).filter((input) => dataflow.dependsOnData(input));
    if (!source || other) return undefined;
    value = source;
  }
  const type = value.type?.tensorType?.elemType ?? 0;
  return value.isInput && !value.initializer && isFloatType(type) ? value : undefined;
}

/**
 * Follows keys back to their projection, or to the input that feeds them.
 * @param query the queries of the same attention, whose heads tell those of fed keys; other parameters as for `traceSide`
 */
export function traceKeys(
  operand: Value,
  widthAxis: number | undefined,
  headCount: number | undefined,
  query: Side,
  anchor: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): Side | FedKeys {
  const { projections } = reachProjections(operand, dataflow, shapes);
  const fed = projections.length === 0 ? fedInput(operand, dataflow) : undefined;
  if (!fed || widthAxis === undefined)
    return traceSide(operand, widthAxis, headCount, anchor, dataflow, shapes);
  const layouts = fedLayouts(fed, operand, widthAxis, query, shapes);
  const [only, second] = layouts;
  if (!only || second) {
    const shape = shapes.shape(fed)?.join(', ') ?? 'unknown';
    fail(
      'cache',
      anchor,
      `keys of width ${query.width} and heads that divide ${query.heads}, each on an axis of its own`,
      `'${fed.name}' [${shape}]`,
    );
  }
  return only;
}

/** The head counts that fed keys may have: each is read by as many query heads. */
function mayBeHeads(size: Dim | undefined, query: Side): boolean {
  return size?.value !== undefined && size.value > 0 && query.heads % size.value === 0;
}

/** Every way to read an input as [.., heads, .., width ..] that arrives at the scores where heads and width must stand. */
function fedLayouts(fed: Value, operand: Value, widthAxis: number, query: Side, shapes: Shapes): FedKeys[] {
  const shape = shapes.shape(fed);
  const path = descendants([fed], ancestors(operand, new Set([fed])));
  const found: FedKeys[] = [];
  for (const [fedAxis, heads] of shape?.entries() ?? []) {
    if (!mayBeHeads(heads, query)) continue;
    for (const [fedWidth, width] of shape?.entries() ?? []) {
      if (fedWidth === fedAxis || width.value !== query.width) continue;
      const view = fedView(shape ?? [], fedAxis, fedWidth);
      const operandView = followViews(shapes, new Map([[fed, view]]), path).get(operand) ?? view;
      if ('node' in operandView || !isPure(operandView)) continue;
      const count = heads.value ?? 1;
      if (!standsAsQueries(operandView, widthAxis, count, query)) continue;
      found.push({
        fedAxis,
        separated: fed,
        view,
        heads: count,
        width: query.width,
        units: [
          { size: count, stride: query.width },
          { size: query.width, stride: 1 },
        ],
        headUnits: 1,
        operand,
        operandView,
      });
    }
  }
  const several = found.filter(({ heads }) => heads > 1);
  if (several.length > 0) return several;
  // A single head leaves no trace: of several axes of size 1, that of every cache is meant.
  return found.length > 1 ? found.filter(({ fedAxis }) => fedAxis === HEAD_AXIS) : found;
}

/** [B, G, T, D]. */
const HEAD_AXIS = 1;

function fedView(shape: readonly Dim[], heads: number, width: number): View {
  const widthSize = shape[width]?.value ?? 1;
  const axes = shape.map((size, axis): Atom[] => {
    if (axis === heads) return size.value === 1 ? [] : [{ kind: 'column', size, stride: widthSize }];
    if (axis === width) return [{ kind: 'column', size, stride: 1 }];
    return size.value === 1 ? [] : [{ kind: 'lead', size, order: [axis] }];
  });
  return { axes, offset: 0 };
}

/** True if the width is summed over, and the heads stand on the axis on which those of the queries stand. */
function standsAsQueries(view: View, widthAxis: number, heads: number, query: Side): boolean {
  const width = view.axes[widthAxis] ?? [];
  const [only] = width;
  if (width.length !== 1 || only?.kind !== 'column' || only.stride !== 1) return false;
  const { operandView } = query;
  if (heads === 1 || 'node' in operandView) return true;
  const fromEnd = (axes: View['axes'], stride: number) => {
    const at = axes.findIndex((axis) =>
      axis.some((atom) => atom.kind === 'column' && atom.stride === stride && atom.size.value !== 1),
    );
    return at < 0 ? undefined : axes.length - at;
  };
  const own = fromEnd(view.axes, query.width);
  const strides = query.units.slice(0, query.headUnits).map(({ stride }) => stride);
  return own !== undefined && strides.some((stride) => fromEnd(operandView.axes, stride) === own);
}
