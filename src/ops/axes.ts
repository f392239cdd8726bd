import type { Shape } from '../core/types.ts';
import { TypeRuleError } from '../graph/op-record.ts';

/** Of an axis for which a list is made place by place. More would not end. */
export const MOST_PLACES = 2 ** 24;

/** A non-negative axis; out of range it stays as it is, for the type rule to refuse. */
export const normalAxis = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Non-negative axes in ascending order; all of them where none are given. */
export function normalAxes(axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  return (typeof axes === 'number' ? [axes] : [...axes]).map((a) => normalAxis(a, rank)).sort((a, b) => a - b);
}

/** Type-rule check: each axis exists, none twice. */
export function checkAxes(axes: readonly number[], rank: number): void {
  for (const [i, axis] of axes.entries()) {
    if (!Number.isInteger(axis) || axis < 0 || axis >= rank) {
      // Builders add the rank to negative axes: undo it, so that the user finds the number he wrote.
      throw new TypeRuleError(`axis ${axis < 0 ? axis - rank : axis} is out of range for rank ${rank}`);
    }
    if (axes.indexOf(axis) !== i) throw new TypeRuleError(`axis ${axis} is given twice`);
  }
}

/** Shape with the axes set to 1 (`keepDims`) or taken out. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return keepDims ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));
}
