import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { criticalPath, idleCauses, type Medium, simulate } from '../../src/simulate/index.ts';
import { clusterOf, compute, post, programOf, receive, send } from './support.ts';

const bus: Medium = { name: 'bus', bytesPerSecond: 10, carries: () => true };
const link = { bytesPerSecond: 10, secondsLatency: 0 };

/** Devices 0 … n − 1 each send to device n, beginning at the times given. */
const senders = (starts: readonly number[], bytes: readonly number[]) =>
  programOf(...starts.map((start, d) => [compute(start), send(starts.length, 0, bytes[d]!)]), [
    ...starts.map((_, d) => post(d, 0)),
    ...starts.map((_, d) => receive(d, 0)),
  ]);
const endsOf = (simulation: ReturnType<typeof simulate>, n: number) =>
  Array.from({ length: n }, (_, d) => simulation.timeline!.at(d, 1).end);

describe('shared media', () => {
  it('two transfers at once get half each', () => {
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, link, [bus]));
    expect(endsOf(simulation, 2)).toEqual([2, 2]);
    expect(simulation.devices[0]).toMatchObject({ sendSeconds: 2, contentionSeconds: 1 });
  });

  it('one that comes later shares only from then on, and the rest is faster when the first is done', () => {
    // 0 … 1: 10 B/s for the first; 1 … 3: 5 each, the first is done; 3 … 4: 10 for the second.
    const simulation = simulate(senders([0, 1], [20, 20]), clusterOf(3, link, [bus]));
    expect(endsOf(simulation, 2)).toEqual([3, 4]);
  });

  it('is not shared by those that it does not carry', () => {
    const only0: Medium = { ...bus, carries: (from) => from === 0 };
    expect(endsOf(simulate(senders([0, 0], [10, 10]), clusterOf(3, link, [only0])), 2)).toEqual([1, 1]);
    expect(endsOf(simulate(senders([0, 0], [10, 10]), clusterOf(3, link)), 2)).toEqual([1, 1]);
  });

  it('is max-min fair: what a slow link cannot take, the others get', () => {
    // Link 0 takes 2 of 10; the other two 4 each.
    const slow = (from: number) => ({ bytesPerSecond: from === 0 ? 2 : 10, secondsLatency: 0 });
    const simulation = simulate(senders([0, 0, 0], [4, 8, 8]), clusterOf(4, slow, [bus]));
    expect(endsOf(simulation, 3)).toEqual([2, 2, 2]);
    expect(simulation.devices[0]!.contentionSeconds).toBe(0);
  });

  it('passes through several media at once: the tightest counts, and those behind it get the rest', () => {
    // 0 and 1 share a card of 6; all three share the bus of 10: 3, 3 and 4.
    const card: Medium = { name: 'card', bytesPerSecond: 6, carries: (from) => from < 2 };
    const simulation = simulate(senders([0, 0, 0], [6, 6, 8]), clusterOf(4, link, [card, bus]));
    expect(endsOf(simulation, 3)).toEqual([2, 2, 2]);
  });

  it('what a message costs its sender beside the copy comes behind it, and is no contention', () => {
    const ringing = { ...link, secondsSend: 0.25 };
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, ringing, [bus]));
    expect(endsOf(simulation, 2)).toEqual([2.25, 2.25]);
    expect(simulation.devices[0]).toMatchObject({ sendSeconds: 2.25, contentionSeconds: 1 });
  });

  it('nobody contends with a transfer that is alone, however its time is rounded', () => {
    for (let n = 1; n < 200; n++) {
      const odd: Medium = { ...bus, bytesPerSecond: 7 / n };
      const { devices } = simulate(senders([n / 3], [n * 1.1]), clusterOf(2, link, [odd]));
      expect(devices[0]!.contentionSeconds).toBe(0);
    }
  });

  it('contention is a part of the critical path, and a cause of idling', () => {
    const simulation = simulate(senders([0, 0], [10, 10]), clusterOf(3, { ...link, secondsLatency: 0.5 }, [bus]));
    expect(criticalPath(simulation).secondsByKind).toMatchObject({ send: 1, contention: 1, latency: 0.5 });
    expect(idleCauses(simulation)).toContainEqual({ wait: 'receive', kind: 'contention', device: 0, seconds: 1 });
  });

  it('a medium that is wide enough changes nothing, and none ever carries more than it can', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 50 })), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.integer({ min: 1, max: 20 }),
        (transfers, bytesPerSecond) => {
          const program = senders(
            transfers.map(([start]) => start),
            transfers.map(([, bytes]) => bytes),
          );
          const n = transfers.length;
          const on = (rate: number) =>
            endsOf(simulate(program, clusterOf(n + 1, link, [{ ...bus, bytesPerSecond: rate }])), n);
          const free = endsOf(simulate(program, clusterOf(n + 1, link)), n);
          for (const [d, end] of on(10 * n).entries()) expect(end).toBeCloseTo(free[d]!, 9);
          const ends = on(bytesPerSecond);
          // Work conserving, and no faster than the medium: all bytes from any time on need at least their time.
          transfers.forEach(([start]) => {
            const rest = transfers.reduce((sum, [s, bytes]) => sum + (s >= start ? bytes : 0), 0);
            expect(Math.max(...ends)).toBeGreaterThanOrEqual(start + rest / bytesPerSecond - 1e-9);
          });
          for (const [d, end] of ends.entries()) expect(end).toBeGreaterThanOrEqual(free[d]! - 1e-9);
        },
      ),
      { numRuns: 100, seed: 7 },
    );
  });

  it('refuses a medium without a bandwidth', () => {
    expect(() => simulate(senders([0], [1]), clusterOf(2, link, [{ ...bus, bytesPerSecond: 0 }]))).toThrow(
      expect.objectContaining({ code: 'medium-invalid' }),
    );
  });
});
