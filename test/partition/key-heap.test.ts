import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { KeyHeap } from '../../src/partition/key-heap.ts';

const PARTS = 12;
/** A part with a key, new or changed; null: the least is taken. Few keys, so that many are equal. */
const steps = fc.array(
  fc.option(fc.record({ part: fc.nat(PARTS - 1), key: fc.integer({ min: -3, max: 3 }) }), { freq: 3 }),
  { minLength: 10, maxLength: 60 },
);

it('a heap gives the part with the least key as keys are now, of equal ones the smaller number', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const heap = new KeyHeap(PARTS);
      const keys = new Map<number, number>();
      const take = () => {
        const [least] = [...keys].sort(([a, x], [b, y]) => x - y || a - b);
        expect(heap.pop()).toBe(least![0]);
        keys.delete(least![0]);
      };
      for (const step of list) {
        if (step) {
          heap.put(step.part, step.key);
          keys.set(step.part, step.key);
        } else if (keys.size > 0) take();
        expect(Array.from({ length: PARTS }, (_, p) => heap.has(p))).toEqual(
          Array.from({ length: PARTS }, (_, p) => keys.has(p)),
        );
      }
      while (keys.size > 0) take();
    }),
    { numRuns: 300 },
  );
});
