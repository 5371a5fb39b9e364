import { Dim } from './dim';
import { type Fact, NOTHING, type Rule, type RuleContext } from './facts';

/** Rules of the operators that slide a window over the axes behind batch and channels, or resize those axes. */

interface Window {
  readonly kernel: Dim;
  readonly stride: number;
  readonly dilation: number;
  /** Both ends together; undefined where it follows from the size (auto_pad SAME). */
  readonly padding: number | undefined;
}

/** Where a window fits, by ONNX's formula for Conv and the pools. */
function windowed(size: Dim, { kernel, stride, dilation, padding }: Window): Dim {
  const step = Dim.of(stride);
  if (padding === undefined) return size.plus(Dim.of(stride - 1)).flooredBy(step);
  const span = kernel.minus(Dim.of(1)).times(Dim.of(dilation)).plus(Dim.of(1));
  return size.plus(Dim.of(padding)).minus(span).flooredBy(step).plus(Dim.of(1));
}

function windowOf({ node }: RuleContext, axis: number, axes: number, kernel: Dim): Window {
  const autoPad = node.string('auto_pad') ?? 'NOTSET';
  const pads = node.ints('pads') ?? [];
  const given = (pads[axis] ?? 0) + (pads[axis + axes] ?? 0);
  return {
    kernel,
    stride: node.ints('strides')?.[axis] ?? 1,
    dilation: node.ints('dilations')?.[axis] ?? 1,
    padding: autoPad.startsWith('SAME') ? undefined : autoPad === 'VALID' ? 0 : given,
  };
}

function conv(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const weight = context.shape(1);
  return [
    {
      shape: shape?.map((dim, axis) => {
        if (axis === 0) return dim;
        const kernel = weight?.[axis];
        if (!kernel) return Dim.unknown();
        return axis === 1
          ? (weight[0] ?? Dim.unknown())
          : windowed(dim, windowOf(context, axis - 2, shape.length - 2, kernel));
      }),
    },
  ];
}

function convTranspose(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  const weight = context.shape(1);
  const group = Dim.of(node.int('group') ?? 1);
  const explicit = (node.string('auto_pad') ?? 'NOTSET') === 'NOTSET' && !node.attribute('output_shape');
  return [
    {
      shape: shape?.map((dim, axis) => {
        if (axis === 0) return dim;
        const kernel = weight?.[axis];
        if (!kernel || !explicit) return Dim.unknown();
        if (axis === 1) return kernel.times(group);
        const { stride, dilation, padding } = windowOf(context, axis - 2, shape.length - 2, kernel);
        const more = (node.ints('output_padding')?.[axis - 2] ?? 0) + 1 - (padding ?? 0);
        const span = kernel.minus(Dim.of(1)).times(Dim.of(dilation));
        return dim.minus(Dim.of(1)).times(Dim.of(stride)).plus(span).plus(Dim.of(more));
      }),
    },
  ];
}

function pool(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  const sizes = node.ints('kernel_shape');
  // Rounding up has an exception for windows that would start in the padding: not followed.
  const up = node.int('ceil_mode') === 1;
  const fact = {
    shape: shape?.map((dim, axis) => {
      if (axis < 2) return dim;
      const size = sizes?.[axis - 2];
      if (up || size === undefined) return Dim.unknown();
      return windowed(dim, windowOf(context, axis - 2, shape.length - 2, Dim.of(size)));
    }),
  };
  return node.outputs.map(() => fact);
}

function globalPool(context: RuleContext): readonly Fact[] {
  return [{ shape: context.shape(0)?.map((dim, axis) => (axis < 2 ? dim : Dim.of(1))) }];
}

/** Sizes that are given are the shape; factors are followed where they are whole numbers. */
function resize(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const shape = context.shape(0);
  if (!shape) return [NOTHING];
  const sizes = context.elements(3);
  const plain =
    !node.attribute('axes') && (node.string('keep_aspect_ratio_policy') ?? 'stretch') === 'stretch';
  if (sizes?.length === shape.length && plain) return [{ shape: sizes }];
  return [{ shape: shape.map((dim, axis) => (axis < 2 ? dim : Dim.unknown())) }];
}

/** Samples taken at the places of a grid [N, places.., coordinates]. */
function gridSample(context: RuleContext): readonly Fact[] {
  const [shape, grid] = [context.shape(0), context.shape(1)];
  return [{ shape: shape && grid && [...shape.slice(0, 2), ...grid.slice(1, -1)] }];
}

/** Regions of one size each. */
function roiAlign({ node, shape }: RuleContext): readonly Fact[] {
  const [features, regions] = [shape(0), shape(1)];
  const size = (name: string) => Dim.of(node.int(name) ?? 1);
  const [count, channels] = [regions?.[0] ?? Dim.unknown(), features?.[1] ?? Dim.unknown()];
  return [{ shape: [count, channels, size('output_height'), size('output_width')] }];
}

/** Blocks of channels become blocks of places, or the other way round. */
function blocks(into: 'space' | 'depth'): Rule {
  return (context) => {
    const shape = context.shape(0);
    const size = context.node.int('blocksize');
    if (!shape || size === undefined) return [NOTHING];
    const [place, area] = [Dim.of(size), Dim.of(size * size)];
    const divided = (dim: Dim, by: Dim) => dim.dividedBy(by) ?? Dim.unknown();
    return [
      {
        shape: shape.map((dim, axis) => {
          if (axis === 0) return dim;
          if (axis === 1) return into === 'space' ? divided(dim, area) : dim.times(area);
          return into === 'space' ? dim.times(place) : divided(dim, place);
        }),
      },
    ];
  };
}

export const spatialRules: Record<string, Rule> = {
  Conv: conv,
  ConvInteger: conv,
  DeformConv: conv,
  GridSample: gridSample,
  RoiAlign: roiAlign,
  ConvTranspose: convTranspose,
  AveragePool: pool,
  LpPool: pool,
  MaxPool: pool,
  GlobalAveragePool: globalPool,
  GlobalLpPool: globalPool,
  GlobalMaxPool: globalPool,
  DepthToSpace: blocks('space'),
  SpaceToDepth: blocks('depth'),
  Resize: resize,
  Upsample: resize,
};
