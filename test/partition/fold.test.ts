import { expect, it } from 'vitest';
import { columnOf, foldedPlacement, foldedStages, mirrored } from '../../src/partition/fold.ts';

// The drawing in `fold.ts`: three stages of a model, folded for gradients of order 1 and 2.
it('a folded chain runs forth and back over the stages of the model', () => {
  const columns = [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0];
  expect([0, 1, 2].map((order) => foldedStages(3, order))).toEqual([3, 6, 12]);
  for (const order of [0, 1, 2]) {
    expect(foldedPlacement([7, 8, 9], order)).toEqual(columns.slice(0, foldedStages(3, order)).map((c) => 7 + c));
  }
  expect(Array.from(columns, (_, stage) => columnOf(stage, 3))).toEqual(columns);
  expect([mirrored(0, 3, 1), mirrored(5, 3, 2), mirrored(0, 3, 2)]).toEqual([5, 6, 11]);
  for (const [stage, column] of columns.entries()) expect(columns[mirrored(stage, 3, 2)]).toBe(column);
});
