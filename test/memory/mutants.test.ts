import { expect, it } from 'vitest';
import { memoryCategories } from '../../src/program/instruction.ts';
import { planOf, threeLayers } from '../support/models.ts';

it('the categories at the peak and the padding sum to the planned peak', () => {
  for (const batch of [5, 8]) {
    for (const devices of [1, 3]) {
      for (const { byCategory, peakBytes } of planOf(threeLayers, { batch, devices, microbatches: 3 }).memory) {
        const live = memoryCategories.reduce((sum, c) => sum + byCategory[c], 0);
        expect(byCategory.padding).toBeGreaterThanOrEqual(0);
        expect(live + byCategory.padding).toBe(peakBytes);
      }
    }
  }
});
