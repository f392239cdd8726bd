import { expect } from 'vitest';
import { elementCount, formatShape, type HostTensor, sameShape } from '../../src/core/types.ts';
import { type RawTensor, toHostTensor } from '../../src/formats/raw-tensor.ts';

export interface Tolerance {
  readonly atol: number;
  readonly rtol?: number;
}

/**
 * The rule of the cases: every element |actual − expected| ≤ atol + rtol·|expected|; shapes [] and [1] count as equal.
 * An infinity matches only itself, NaN nothing. Returns what breaks it, undefined where nothing does.
 */
export function disagreement(actual: HostTensor, expected: RawTensor, tolerance: Tolerance): string | undefined {
  const { atol, rtol = 0 } = tolerance;
  const wanted = toHostTensor(expected, 'f32', 'expected');
  const scalars = elementCount(expected.shape) === 1 && Math.max(expected.shape.length, actual.type.shape.length) <= 1;
  if (actual.type.dtype !== 'f32') return `is ${actual.type.dtype}`;
  if (!sameShape(actual.type.shape, expected.shape) && !(scalars && actual.data.length === 1)) {
    return `has shape ${formatShape(actual.type.shape)} and not ${formatShape(expected.shape)}`;
  }
  let bad = 0;
  let worst = 0;
  let first = '';
  for (const [i, e] of wanted.data.entries()) {
    const a = actual.data[i]!;
    if (a === e) continue;
    const difference = Math.abs(a - e);
    if (Number.isFinite(e) && difference <= atol + rtol * Math.abs(e)) continue; // false for NaN
    if (bad++ === 0) first = `element ${i} is ${a} and not ${e}`;
    worst = Math.max(worst, difference);
  }
  if (bad === 0) return undefined;
  return `${bad} of ${wanted.data.length} elements differ by up to ${worst} (atol ${atol}, rtol ${rtol}); ${first}`;
}

/** Fails unless each expected tensor is there and within its tolerance; names all that are not. */
export function expectAll(
  actual: ReadonlyMap<string, HostTensor>,
  expected: ReadonlyMap<string, RawTensor>,
  toleranceOf: (name: string) => Tolerance,
): void {
  const problems: string[] = [];
  for (const [name, tensor] of expected) {
    const value = actual.get(name);
    const problem = value ? disagreement(value, tensor, toleranceOf(name)) : 'is missing';
    if (problem) problems.push(`${name} ${problem}`);
  }
  expect(problems).toEqual([]);
  expect(expected.size).toBeGreaterThan(0);
}
