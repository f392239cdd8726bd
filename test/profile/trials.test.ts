import { afterEach, describe, expect, it, vi } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { mse } from '../../src/losses/index.ts';
import { linear } from '../../src/nn/linear.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import type { Feed } from '../../src/profile/record.ts';
import { sessionBytes, timePlans } from '../../src/profile/trials.ts';
import { THREAD_BYTES } from '../../src/runtime/device-threads.ts';
import { Session } from '../../src/train/session.ts';
import type { StagedRunOptions } from '../../src/train/session-options.ts';
import { f32 } from '../support/models.ts';

/** Two layers, whose work goes with their width. */
const planOfWidth = (width: number, devices = 1): Plan =>
  makePlan({
    model: {
      name: `two layers, ${width} wide`,
      build(batch) {
        const graph = new Graph();
        const x = graph.input('x', { shape: [batch, 64] });
        const y = linear(linear(x, width, { name: 'first' }), 2, { name: 'second' });
        graph.output('y', y);
        return { graph, objective: [{ loss: mse(y, graph.input('t', { shape: [batch, 2] })), weight: 1 }] };
      },
    },
    programs: { train: { batch: 8, mode: 'train' } },
    microbatches: 2,
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 }) as const),
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1, momentum: 0.5 }),
  });

const batch = { x: f32([8, 64], 1), t: f32([8, 2], 2) };
const feed: Feed = { tensorsAt: () => batch };

describe('plans in trial', () => {
  it('are timed by steps of a training, each told in its place', async () => {
    const plans = [planOfWidth(65_536), planOfWidth(8), planOfWidth(8, 2)];
    const [wide, narrow, both] = await timePlans(plans, feed, { timeLimitSeconds: 0.4 });
    for (const time of [wide, narrow, both]) {
      expect(time!.stepSeconds).toBeGreaterThan(0);
      expect(time!.mad).toBeGreaterThanOrEqual(0);
    }
    // Eight thousand times the work, beside a step's own cost.
    expect(wide!.stepSeconds).toBeGreaterThan(2 * narrow!.stepSeconds);
    // The slower half leaves, and those that are left have more turns.
    expect(Math.max(narrow!.turns, both!.turns)).toBeGreaterThan(wide!.turns);
  });

  it('have one turn each however little time there is', async () => {
    const times = await timePlans([planOfWidth(8), planOfWidth(16)], feed, { timeLimitSeconds: 1e-9 });
    expect(times.map((t) => t!.turns)).toEqual([1, 1]);
  });

  it('are asked for batches, rates and momenta step by step', async () => {
    const steps: number[] = [];
    const rates: number[] = [];
    const told: Feed = {
      tensorsAt: (step) => {
        steps.push(step);
        return batch;
      },
      rateAt: (step) => {
        rates.push(step);
        return 0.01;
      },
      momentumAt: () => 0.25,
    };
    await timePlans([planOfWidth(8), planOfWidth(8)], told, { timeLimitSeconds: 1e-9 });
    // Each plan counts its own steps.
    expect(rates.length).toBe(steps.length);
    for (const list of [steps, rates]) {
      for (const step of new Set(list)) expect(list.filter((s) => s === step).length).toBeLessThanOrEqual(2);
      expect(Math.min(...list)).toBe(0);
      expect(new Set(list).size).toBe(Math.max(...list) + 1);
    }
  });

  it('do not open what does not fit beside those in front, nor one plan alone', async () => {
    const plans = [planOfWidth(8), planOfWidth(16), planOfWidth(8)];
    const memoryBytes = sessionBytes(plans[0]!) + sessionBytes(plans[1]!);
    const limits = { timeLimitSeconds: 1e-9, memoryBytes };
    expect((await timePlans(plans, feed, limits)).map((t) => t === undefined)).toEqual([false, false, true]);
    const opened = vi.spyOn(Session, 'open');
    const less = await timePlans(plans, feed, { ...limits, memoryBytes: memoryBytes - 1 });
    expect(less).toEqual([undefined, undefined, undefined]);
    expect(await timePlans([planOfWidth(8)], feed)).toEqual([undefined]);
    expect(await timePlans([], feed)).toEqual([]);
    expect(opened).not.toHaveBeenCalled();
    opened.mockRestore();
  });

  it('count with their threads and staged batches', () => {
    const plan = planOfWidth(8, 2);
    const { feedBytes, resultBytes } = plan.programs.train!;
    const peaks = plan.memory.reduce((sum, { peakBytes }) => sum + peakBytes, 0);
    expect(feedBytes).toBeGreaterThanOrEqual(4 * 8 * (64 + 2));
    expect(sessionBytes(plan)).toBe(peaks + 2 * THREAD_BYTES + 2 * feedBytes + 2 * resultBytes);
    // Of several programs the largest batch is staged.
    const tail = { batch: 2, mode: 'train' } as const;
    const more = makePlan({ ...plan.request, programs: { ...plan.request.programs, tail } });
    const morePeaks = more.memory.reduce((sum, { peakBytes }) => sum + peakBytes, 0);
    expect(sessionBytes(more) - morePeaks).toBe(sessionBytes(plan) - peaks);
  });

  it('end with the signal: with what is known, or with nothing where not all had a turn', async () => {
    const stop = new AbortController();
    let asked = 0;
    const stopping: Feed = {
      tensorsAt: () => {
        if (++asked === 200) stop.abort();
        return batch;
      },
    };
    const plans = [planOfWidth(8), planOfWidth(8)];
    expect(await timePlans(plans, feed, { signal: AbortSignal.abort() })).toEqual([undefined, undefined]);
    const times = await timePlans(plans, stopping, { timeLimitSeconds: 3600, signal: stop.signal });
    // Warming up and one turn each are at most 2·(2 + 5 + 52) steps.
    for (const time of times) expect(time!.turns).toBeGreaterThan(0);
  });

  describe('by the clock', () => {
    let open = 0;
    afterEach(() => {
      vi.restoreAllMocks();
      expect(open).toBe(0);
    });

    /**
     * Sessions of steps that take so many milliseconds, in the order they are opened: `stepMs(turn)`, turn −1 while they warm up.
     * `warm` and `turn` are the steps that each has, `left` how many batches nobody runs in the end: the signal leaves one.
     * Returns the order in which they had turns.
     */
    function fakeSessions(
      all: readonly { warm: number; turn: number; stepMs: (turn: number) => number }[],
      left: readonly number[] = [],
    ): number[] {
      let now = 0;
      let opened = 0;
      const order: number[] = [];
      vi.spyOn(performance, 'now').mockImplementation(() => now);
      vi.spyOn(Session, 'open').mockImplementation(async (plan) => {
        const own = opened++;
        open++;
        const { warm, turn, stepMs } = all[own]!;
        let done = 0;
        let staged = 0;
        const session = {
          plan,
          stage: (_: string, __: unknown, { step, ahead }: { step: number; ahead: boolean }) => {
            expect([step, ahead]).toEqual([staged, done < staged]);
            return staged++;
          },
          runStaged: async (batch: number, { lr, momentum, meanwhile }: StagedRunOptions) => {
            expect([batch, lr, momentum]).toEqual([done, done / 8, done / 16]);
            const at = Math.floor((done - warm) / turn);
            if (done >= warm && (done - warm) % turn === 0) order.push(own);
            meanwhile!();
            now += stepMs(done < warm ? -1 : at);
            done++;
          },
          close: async () => {
            expect(staged - done).toBe(left[own] ?? 0);
            open--;
          },
        };
        return session as unknown as Session;
      });
      return order;
    }
    const plansOf = (count: number): Plan[] => Array.from({ length: count }, () => planOfWidth(8));
    const told: Feed = { ...feed, rateAt: (step) => step / 8, momentumAt: (step) => step / 16 };

    it('the slower half leaves after each part of the time, and all go by the turns they had with the fastest', async () => {
      // A turn takes 60 ms beside two steps that do not count; with steps of more than 250 ms it is one, beside one.
      const slower = (turn: number) => (turn < 2 ? 1 : 2);
      const order = fakeSessions([
        { warm: 7, turn: 2 + 6, stepMs: (turn) => 10 * slower(turn) },
        { warm: 7, turn: 2 + 3, stepMs: (turn) => 20 * slower(turn) },
        { warm: 7, turn: 2 + 2, stepMs: (turn) => 40 * slower(turn) },
        { warm: 2, turn: 1 + 1, stepMs: (turn) => (turn === 1 ? 340 : 300) },
        { warm: 7, turn: 2 + 1, stepMs: () => 100 },
      ]);
      // To warm up takes 1.79 s; thirds end after 2, 4 and 6 s.
      const times = await timePlans(plansOf(5), told, { timeLimitSeconds: 7.79, memoryBytes: 1e12 });
      expect(order).toEqual([
        ...[0, 1, 2, 3, 4, 1, 2, 3, 4, 0], // until 2.56 s
        ...[0, 1, 2, 1, 2, 0, 2, 0, 1], // until 4.6 s
        ...[0, 1, 1, 0, 0, 1, 1, 0], // until 6.04 s
      ]);
      // The machine has been half as fast since; the last two, which have not met that, are told as if they had.
      const expected = [
        [0.02, 0, 9],
        [0.04, 0, 9],
        [0.08, 0, 5],
        [0.64, 0.04, 2],
        [0.2, 0, 2],
      ];
      expected.forEach(([stepSeconds, mad, turns], i) => {
        expect(times[i]!.stepSeconds).toBeCloseTo(stepSeconds!, 12);
        expect(times[i]!.mad).toBeCloseTo(mad!, 12);
        expect(times[i]!.turns).toBe(turns);
      });
    });

    it('the fastest one’s spread is its own, the others’ that of the comparison', async () => {
      const speed = (turn: number) => [1, 2, 4][turn] ?? 1;
      fakeSessions([
        { warm: 7, turn: 2 + 3, stepMs: (turn) => 20 * speed(turn) },
        { warm: 7, turn: 2 + 6, stepMs: (turn) => 10 * speed(turn) },
      ]);
      const times = await timePlans(plansOf(2), told, { timeLimitSeconds: 1, memoryBytes: 1e12 });
      const rounded = times.map((t) => ({ ...t, stepSeconds: t!.stepSeconds.toFixed(9), mad: t!.mad.toFixed(9) }));
      expect(rounded).toEqual([
        { stepSeconds: '0.040000000', mad: '0.000000000', turns: 3 },
        { stepSeconds: '0.020000000', mad: '0.010000000', turns: 3 },
      ]);
    });

    it.each([
      [0, [1, 2], [1, 0]],
      [1, [1, 1], [1, 1]],
    ])(
      'a turn that the signal ends does not count, nor one that the fastest has not had: in that of %i',
      async (at, turns, left) => {
        const stop = new AbortController();
        const stepMs = (own: number, ms: number) => (turn: number) => {
          if (turn === 1 && own === at) stop.abort();
          return turn === 1 ? 2 * ms : ms;
        };
        const sessions = [
          { warm: 7, turn: 2 + 6, stepMs: stepMs(0, 10) },
          { warm: 7, turn: 2 + 3, stepMs: stepMs(1, 20) },
        ];
        fakeSessions(sessions, left);
        const options = { timeLimitSeconds: 3600, memoryBytes: 1e12, signal: stop.signal };
        // In the second pass the second plan is the first.
        const times = await timePlans(plansOf(2), told, options);
        expect(times.map((t) => t!.turns)).toEqual(turns);
        expect(times.map((t) => t!.stepSeconds.toFixed(9))).toEqual(['0.010000000', '0.020000000']);
      },
    );

    it('a turn has one step at least, and fifty at most', async () => {
      fakeSessions([
        { warm: 7, turn: 2 + 1, stepMs: () => 200 },
        { warm: 7, turn: 2 + 50, stepMs: () => 0.1 },
      ]);
      const times = await timePlans(plansOf(2), told, { timeLimitSeconds: 1e-9, memoryBytes: 1e12 });
      expect(times.map((t) => [t!.turns, t!.stepSeconds.toFixed(6)])).toEqual([
        [1, '0.200000'],
        [1, '0.000100'],
      ]);
    });

    it('nothing is told where the signal comes before each had a turn, nor opened behind it', async () => {
      const stop = new AbortController();
      const stepMs = (turn: number) => {
        if (turn === 0) stop.abort();
        return 10;
      };
      fakeSessions(
        [0, 1].map(() => ({ warm: 7, turn: 2 + 6, stepMs })),
        [1, 1],
      );
      const options = { timeLimitSeconds: 3600, memoryBytes: 1e12, signal: stop.signal };
      expect(await timePlans(plansOf(2), told, options)).toEqual([undefined, undefined]);
      expect(Session.open).toHaveBeenCalledTimes(2);
      expect(await timePlans(plansOf(2), told, options)).toEqual([undefined, undefined]);
      expect(Session.open).toHaveBeenCalledTimes(2);
    });

    it('plans take half of what the process may have, of which its machine may have more', async () => {
      const plans = plansOf(2);
      const bytes = 2 * plans.reduce((sum, plan) => sum + sessionBytes(plan), 0);
      const available = vi.spyOn(process, 'availableMemory').mockReturnValue(bytes - 2);
      fakeSessions([0, 1].map(() => ({ warm: 7, turn: 2 + 6, stepMs: () => 10 })));
      expect(await timePlans(plans, told, { timeLimitSeconds: 1e-9 })).toEqual([undefined, undefined]);
      available.mockReturnValue(bytes);
      expect((await timePlans(plans, told, { timeLimitSeconds: 1e-9 })).map((t) => t?.turns)).toEqual([1, 1]);
    });
  });

  it('refuse no time and no end of it, and throw what a step throws', async () => {
    const plans = [planOfWidth(8), planOfWidth(8)];
    for (const timeLimitSeconds of [0, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(timePlans(plans, feed, { timeLimitSeconds })).rejects.toMatchObject({ code: 'trial-time' });
    const wrong: Feed = { tensorsAt: () => ({ x: batch.x }) };
    await expect(timePlans(plans, wrong, { timeLimitSeconds: 1 })).rejects.toThrow(/"t"|input t|\bt\b/);
  });
});
