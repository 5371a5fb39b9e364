/** Which nodes ran on the provider that was asked for, and which fell back to the CPU. */
import type { NodeRun } from './profile';
import { isOf, type ProviderSpec } from './providers';

/**
 * Operators that may stay on the CPU whatever they compute: they ask for shapes, make constants, or decide which body
 * runs. ONNX Runtime has no kernels for most of them elsewhere.
 */
export const ALWAYS_ON_CPU = [
  'Constant',
  'ConstantOfShape',
  'If',
  'Loop',
  'NonZero',
  'Optional',
  'Range',
  'Scan',
  'SequenceAt',
  'SequenceConstruct',
  'Shape',
  'Size',
] as const;

/**
 * Operators that may stay on the CPU where all they give are integers or booleans, which are shapes, indices and masks
 * there: ONNX Runtime puts small integer arithmetic on the CPU by itself.
 */
export const INTEGERS_ON_CPU = [
  'Abs',
  'Add',
  'And',
  'ArgMax',
  'Cast',
  'Ceil',
  'Clip',
  'Compress',
  'Concat',
  'CumSum',
  'Div',
  'Equal',
  'Expand',
  'Flatten',
  'Floor',
  'Gather',
  'GatherElements',
  'GatherND',
  'Greater',
  'GreaterOrEqual',
  'Identity',
  'IsInf',
  'IsNaN',
  'Less',
  'LessOrEqual',
  'Max',
  'Min',
  'Mod',
  'Mul',
  'Neg',
  'Not',
  'Or',
  'Pad',
  'ReduceMax',
  'ReduceMin',
  'ReduceProd',
  'ReduceSum',
  'Reshape',
  'ScatterElements',
  'ScatterND',
  'Sign',
  'Slice',
  'Split',
  'Squeeze',
  'Sub',
  'Tile',
  'TopK',
  'Transpose',
  'Trilu',
  'Unsqueeze',
  'Where',
  'Xor',
] as const;

/** Operators that may stay on the CPU where they make numbers of integers: of positions, masks and lengths. */
export const FROM_INTEGERS_ON_CPU = ['Cast', 'CastLike'] as const;

export interface FallenNode {
  readonly name: string;
  readonly opType: string;
  /** True unless it is shape arithmetic. */
  readonly computes: boolean;
}

export interface Placement {
  /** As it was asked for. */
  readonly provider: string;
  /** Nodes that ran on it. */
  readonly ran: number;
  /** Every node that ran on the CPU instead. */
  readonly fellBack: readonly FallenNode[];
}

/** Reads the placement off what ran. Copies between devices are no nodes of the model. */
export function placementOf(spec: ProviderSpec, runs: readonly NodeRun[]): Placement {
  const nodes = new Map(runs.map((run) => [`${run.opType} ${run.name}`, run]));
  const own = [...nodes.values()].filter(({ opType }) => !opType.startsWith('Memcpy'));
  const fallen = own.filter(({ provider }) => !isOf(spec.provider, provider));
  return {
    provider: spec.text,
    ran: own.length - fallen.length,
    fellBack: fallen.map((run) => ({
      name: run.name,
      opType: run.opType,
      computes: !isShapeArithmetic(run),
    })),
  };
}

const INTEGER_TYPES = /^(u?int\d+|bool)$/;

/** True for what may stay on the CPU. */
export function isShapeArithmetic({ opType, inputTypes, outputTypes }: NodeRun): boolean {
  const among = (list: readonly string[]) => list.includes(opType);
  const areIntegers = (types: readonly string[]) =>
    types.length > 0 && types.every((type) => INTEGER_TYPES.test(type));
  if (among(ALWAYS_ON_CPU)) return true;
  return areIntegers(outputTypes)
    ? among(INTEGERS_ON_CPU)
    : among(FROM_INTEGERS_ON_CPU) && areIntegers(inputTypes);
}
