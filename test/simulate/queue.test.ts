import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../src/simulate/queue.ts';
import { Choices } from '../support/random-model.ts';

describe('a queue of events', () => {
  it('gives them in the order of their times, and of equal times the first that was added', () => {
    const choices = new Choices(5);
    for (let round = 0; round < 50; round++) {
      const queue = new EventQueue<number>();
      const rest: { time: number; event: number }[] = [];
      for (let n = 0; n < 60; n++) {
        if (choices.below(3) > 0) {
          const added = { time: choices.below(12), event: n };
          queue.add(added.time, added.event);
          rest.push(added);
        } else if (rest.length > 0) {
          const least = Math.min(...rest.map((r) => r.time));
          const [first] = rest.splice(
            rest.findIndex((r) => r.time === least),
            1,
          );
          expect(queue.next).toBe(first!.event);
          expect(queue.take()).toEqual(first);
        }
        expect(queue.size).toBe(rest.length);
      }
    }
  });
});
