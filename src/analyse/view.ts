import { Dim } from './dim';

/**
 * Column provenance: which output column of a projection stands where in a value.
 *
 * A view describes a value as numpy describes a strided array, but over the columns of one projection: every axis is
 * a row-major product of atoms, and the column of an element is `offset` plus the sum of index times stride over the
 * column atoms. Layout operators only rearrange atoms.
 */
export type Atom = ColumnAtom | LeadAtom | RepeatAtom;

/** Runs over columns. The stride is undefined where columns have been combined (as rotary embeddings do). */
export interface ColumnAtom {
  readonly kind: 'column';
  readonly size: Dim;
  readonly stride: number | undefined;
}

/** Runs over an axis of the projection's input: batch, sequence, windows. */
export interface LeadAtom {
  readonly kind: 'lead';
  readonly size: Dim;
  /**
   * Position among the leading axes of the projection's output: axis number, then outer (0) or inner (1) for each
   * time it was divided. Undefined once it no longer is such an axis (concatenated with a cache, sliced).
   */
  readonly order: readonly number[] | undefined;
}

/** Repeats the same columns, as when key heads are shared by a group of query heads. */
export interface RepeatAtom {
  readonly kind: 'repeat';
  readonly size: Dim;
}

export interface View {
  readonly axes: readonly (readonly Atom[])[];
  readonly offset: number;
}

/** The view of a projection's output: leading axes, then `columns` columns. */
export function projectionView(leading: readonly Dim[], columns: number): View {
  return {
    axes: [
      ...leading.map((size, axis): Atom[] =>
        size.value === 1 ? [] : [{ kind: 'lead', size, order: [axis] }],
      ),
      [{ kind: 'column', size: Dim.of(columns), stride: 1 }],
    ],
    offset: 0,
  };
}

/** Length of an axis: the product of its atoms. */
export function axisSize(axis: readonly Atom[]): Dim {
  return Dim.product(axis.map((atom) => atom.size));
}

/** Those atoms that run over columns. */
export function columnAtoms(atoms: Iterable<Atom>): ColumnAtom[] {
  return [...atoms].filter((atom): atom is ColumnAtom => atom.kind === 'column');
}

/** How many columns a view shows. */
export function columnCount(view: View): number {
  return columnAtoms(view.axes.flat()).reduce((all, atom) => all * (atom.size.value ?? Number.NaN), 1);
}

/** True if every element is known to be one column, none combined with another. */
export function isPure(view: View): boolean {
  return columnAtoms(view.axes.flat()).every((atom) => atom.stride !== undefined);
}

function splitAtom(atom: Atom, outer: Dim, inner: Dim): [Atom, Atom] {
  switch (atom.kind) {
    case 'column': {
      const step = inner.value;
      const stride = atom.stride === undefined || step === undefined ? undefined : atom.stride * step;
      return [
        { kind: 'column', size: outer, stride },
        { ...atom, size: inner },
      ];
    }
    case 'lead':
      return [
        { kind: 'lead', size: outer, order: atom.order && [...atom.order, 0] },
        { kind: 'lead', size: inner, order: atom.order && [...atom.order, 1] },
      ];
    case 'repeat':
      return [
        { kind: 'repeat', size: outer },
        { kind: 'repeat', size: inner },
      ];
  }
}

/** Takes atoms off one end of `atoms` until they make up `size`; undefined (and unchanged) where that is not possible. */
function take(atoms: Atom[], size: Dim, fromEnd: boolean): Atom[] | undefined {
  const rest = [...atoms];
  const taken: Atom[] = [];
  let need = size;
  while (need.value !== 1) {
    const atom = fromEnd ? rest.pop() : rest.shift();
    if (!atom) return undefined;
    const left = need.dividedBy(atom.size);
    if (left) {
      taken.push(atom);
      need = left;
      continue;
    }
    const other = atom.size.dividedBy(need);
    if (other) {
      const [outer, inner] = fromEnd ? splitAtom(atom, other, need) : splitAtom(atom, need, other);
      taken.push(fromEnd ? inner : outer);
      if (fromEnd) rest.push(outer);
      else rest.unshift(inner);
      need = Dim.of(1);
      continue;
    }
    // Two names for one dimension: exporters give the batch of the mask and of the ids a symbol each.
    const sameSize = need.onlySymbol;
    if (sameSize?.isName && atom.size.isName && atom.kind !== 'column') {
      taken.push(atom);
      need = need.dividedBy(sameSize) ?? Dim.of(1);
      continue;
    }
    return undefined;
  }
  atoms.splice(0, atoms.length, ...rest);
  return fromEnd ? taken.reverse() : taken;
}

/**
 * Groups atoms into axes of the sizes wanted, dividing atoms where needed. One size in the middle may be unknown:
 * it gets what the others leave.
 */
export function regroup(atoms: readonly Atom[], sizes: readonly Dim[]): Atom[][] | undefined {
  const rest = [...atoms];
  const front: Atom[][] = [];
  const back: Atom[][] = [];
  let from = 0;
  for (; from < sizes.length; from++) {
    const size = sizes[from];
    const axis = size && take(rest, size, false);
    if (!axis) break;
    front.push(axis);
  }
  let to = sizes.length;
  for (; to > from + 1; to--) {
    const size = sizes[to - 1];
    const axis = size && take(rest, size, true);
    if (!axis) break;
    back.unshift(axis);
  }
  if (to > from + 1) {
    const middle = splitLead(rest, sizes.slice(from, to));
    return middle && [...front, ...middle, ...back];
  }
  if (from === sizes.length) return rest.length === 0 ? front : undefined;
  const [wanted, left] = [sizes[from]?.value, axisSize(rest).value];
  if (wanted !== undefined && left !== undefined && wanted !== left) return undefined;
  return [...front, rest, ...back];
}

/**
 * One atom that runs over rows, divided into axes of sizes that need not be known to divide it: whoever reshapes it so
 * makes sure of that. Not for columns, where it must be known which is which.
 */
function splitLead([only, ...others]: readonly Atom[], sizes: readonly Dim[]): Atom[][] | undefined {
  if (!only || only.kind === 'column' || others.length > 0) return undefined;
  const parts: Atom[][] = [];
  let rest: Atom = only;
  for (const [index, size] of sizes.entries()) {
    const inner = Dim.product(sizes.slice(index + 1));
    if (index === sizes.length - 1) parts.push([{ ...rest, size }]);
    else {
      const [first, second] = splitAtom(rest, size, inner);
      parts.push(size.value === 1 ? [] : [first]);
      rest = second;
    }
  }
  return parts;
}

/** Cuts `length` elements from `start` on, `step` apart, out of an axis; undefined where the atoms do not allow it. */
export function sliceAxis(
  axis: readonly Atom[],
  start: number,
  length: number,
  step: number,
): { axis: Atom[]; offset: number } | undefined {
  const size = axisSize(axis).value;
  if (size !== undefined && start === 0 && length === size && step === 1)
    return { axis: [...axis], offset: 0 };
  const [first, ...inner] = axis;
  if (first?.kind !== 'column') return undefined;
  const block = axisSize(inner).value;
  if (block === undefined || (first.stride === undefined && length === block)) return undefined;
  if (step === 1 && start % block === 0 && length % block === 0) {
    const kept: Atom = { ...first, size: Dim.of(length / block) };
    const offset = first.stride === undefined ? 0 : (start / block) * first.stride;
    return { axis: kept.size.value === 1 ? [...inner] : [kept, ...inner], offset };
  }
  if (inner.length === 0) {
    const stride = first.stride === undefined ? undefined : first.stride * step;
    return {
      axis: length === 1 ? [] : [{ kind: 'column', size: Dim.of(length), stride }],
      offset: first.stride === undefined ? 0 : start * first.stride,
    };
  }
  // A piece inside one block: recurse into the block it lies in. Where blocks are combined, nobody knows which that is.
  if (first.stride === undefined) return undefined;
  const index = Math.floor(start / block);
  if (step > 0 && start + (length - 1) * step < (index + 1) * block) {
    const part = sliceAxis(inner, start - index * block, length, step);
    return part && { axis: part.axis, offset: part.offset + first.stride * index };
  }
  return undefined;
}
