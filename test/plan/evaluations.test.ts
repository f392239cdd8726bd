// Which of the weighed combinations a search compiles; the plans are made up, so that their times are known.
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Plan, PlanCache, PlanRequest } from '../../src/plan/plan.ts';
import { roughPlan } from '../../src/plan/plan.ts';
import type { EvaluatedCandidate, SearchOptions } from '../../src/plan/search/candidate.ts';
import { Evaluations } from '../../src/plan/search/evaluations.ts';
import type { Layout } from '../../src/plan/search/layouts.ts';
import type { Weighed } from '../../src/plan/search/weigh.ts';

vi.mock('../../src/plan/plan.ts', async (original) => ({ ...(await original<object>()), roughPlan: vi.fn() }));

afterEach(() => {
  vi.restoreAllMocks();
});

const programs = {
  train: { batch: 8, mode: 'train' },
  tail: { batch: 3, mode: 'train' },
} as const;
const request = { programs, devices: [{ memory: 1 << 20 }], stagesPerDevice: 2 } as unknown as PlanRequest;

interface Made {
  readonly layout: string;
  readonly microbatches?: number;
  /** Of the plan, and on paper. */
  readonly seconds: number;
  readonly bytes?: number;
  readonly computesAgain?: boolean;
}

/** Evaluates such combinations within `limits`; `now` of each look at the clock. */
async function evaluated(
  made: readonly Made[],
  limits: { evaluations: number; deadline?: number; ownSchedules?: boolean },
  options: SearchOptions = {},
) {
  const layouts = new Map<string, Layout>();
  const weighed = made.map(({ layout: name, microbatches = 2, seconds }, i): Weighed => {
    if (!layouts.has(name)) layouts.set(name, { partition: { name }, placement: [name] } as unknown as Layout);
    const layout = layouts.get(name)!;
    return {
      ...{ layout, microbatches, partition: 'equal', schedule: `s${i}` as Weighed['schedule'], recompute: 'none' },
      ...{ stages: 1, stagesPerDevice: 1, placement: layout.placement, estimatedSeconds: seconds, estimatedBytes: [1] },
    };
  });
  vi.mocked(roughPlan).mockReset();
  vi.mocked(roughPlan).mockImplementation((asked) => {
    const { schedule, partition } = asked as unknown as { schedule: string; partition: { ready: { name: string } } };
    const own = made[Number(schedule.slice(1))] ?? made.find((m) => m.layout === partition.ready.name)!;
    return {
      request,
      recompute: { size: own.computesAgain ? 1 : 0 },
      prediction: { stepSeconds: schedule === 'auto' ? own.seconds / 100 : own.seconds, bubbleFraction: 0.5 },
      memory: [{ device: 0, peakBytes: own.bytes ?? 1000 }],
    } as unknown as Plan;
  });
  const pause = vi.fn(() => undefined);
  const { evaluations, deadline = Number.POSITIVE_INFINITY, ownSchedules = true } = limits;
  const all = new Evaluations(request, 'optimal', options, new Map() as unknown as PlanCache, {
    evaluations,
    deadline,
  });
  await all.run(weighed, ownSchedules, pause);
  const asked = vi.mocked(roughPlan).mock.calls.map(([r]) => r);
  expect(pause.mock.calls.length).toBeGreaterThanOrEqual(asked.length);
  return { all, asked, schedules: asked.map((r) => String(r.schedule)), pauses: pause.mock.calls.length };
}

const names = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `s${from + i}`);
/** As many combinations, each of its own layout, the fastest first. */
const many = (count: number, more: Partial<Made> = {}): Made[] =>
  Array.from({ length: count }, (_, i) => ({ layout: `l${i}`, seconds: 1 + i, ...more }));

describe('the plans that a search makes', () => {
  it('are the most promising, and a quarter of them with auto, for the best cuts', async () => {
    const made: Made[] = [
      { layout: 'one microbatch', seconds: 1, microbatches: 1 },
      { layout: 'too large', seconds: 2, bytes: 2 << 20 },
      { layout: 'a', seconds: 3 },
      { layout: 'a', seconds: 4 },
      { layout: 'b', seconds: 5 },
      { layout: 'c', seconds: 6 },
      { layout: 'd', seconds: 7 },
    ];
    const { all, asked, schedules, pauses } = await evaluated(made, { evaluations: 8 });
    expect(schedules).toEqual([...names(0, 6), 'auto', 'auto']);
    expect(asked.slice(6).map((r) => r.placement)).toEqual([['a'], ['b']]);
    expect(pauses).toBe(8);
    // They promise what the best of their cuts did.
    expect(all.sorted.slice(0, 2).map((c) => [c.schedule, c.estimatedSeconds])).toEqual([
      ['auto', 3],
      ['auto', 5],
    ]);
    // Each is of its layout, whatever the request says, and of the first program alone.
    for (const [i, r] of asked.slice(0, 6).entries()) {
      const partition = { ready: { name: made[i]!.layout } };
      expect(r).toMatchObject({ partition, placement: [made[i]!.layout], recompute: 'optimal' });
      expect([r.microbatches, r.stagesPerDevice]).toEqual([made[i]!.microbatches ?? 2, undefined]);
      expect(Object.keys(r.programs)).toEqual(['train']);
    }
  });

  it('are three with auto at most, and none where the schedules are given', async () => {
    const { schedules } = await evaluated(many(20), { evaluations: 16 });
    expect(schedules).toEqual([...names(0, 13), 'auto', 'auto', 'auto']);
    const given = await evaluated(many(20), { evaluations: 16, ownSchedules: false });
    expect(given.schedules).toEqual(names(0, 16));
    const few = await evaluated(many(20), { evaluations: 7 });
    expect(few.schedules).toEqual([...names(0, 6), 'auto']);
  });

  it('take the place of those with auto where these have nothing to order', async () => {
    const { schedules } = await evaluated(many(20, { microbatches: 1 }), { evaluations: 16 });
    expect(schedules).toEqual(names(0, 16));
    const all = await evaluated(many(3, { microbatches: 1 }), { evaluations: 16 });
    expect(all.schedules).toEqual(names(0, 3));
  });

  it('are begun until the time is over, and one in any case', async () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const onEvaluated = () => {
      now += 10;
    };
    expect((await evaluated(many(9), { evaluations: 8, deadline: -1 }, { onEvaluated })).schedules).toEqual(['s0']);
    now = 0;
    expect((await evaluated(many(9), { evaluations: 8, deadline: 25 }, { onEvaluated })).schedules).toEqual(
      names(0, 3),
    );
    now = 0;
    expect((await evaluated(many(9), { evaluations: 8, deadline: 65 }, { onEvaluated })).schedules).toEqual([
      ...names(0, 6),
      'auto',
    ]);
  });

  it.each([0, 2, 6, 7])('end with a signal that comes behind %i', async (count) => {
    const stop = new AbortController();
    if (count === 0) stop.abort();
    const onEvaluated = (_: EvaluatedCandidate, done: number) => {
      if (done === count) stop.abort();
    };
    const { schedules } = await evaluated(many(9), { evaluations: 8 }, { onEvaluated, signal: stop.signal });
    expect(schedules).toEqual([...names(0, 6), 'auto', 'auto'].slice(0, count));
  });
});

describe('what is found', () => {
  it('is told the fastest first, of two as fast the smaller, with what it computes again', async () => {
    const made: Made[] = [
      { layout: 'a', seconds: 1, bytes: 300 },
      { layout: 'b', seconds: 1, bytes: 200, computesAgain: true },
      { layout: 'c', seconds: 2, bytes: 100 },
    ];
    const { all } = await evaluated(made, { evaluations: 3 });
    expect(all.sorted.map((c) => [c.placement[0], c.peakBytes, c.recompute])).toEqual([
      ['b', [200], 'optimal'],
      ['a', [300], 'none'],
      ['c', [100], 'none'],
    ]);
    // And is made with all of the request's programs.
    const [best] = all.sorted;
    expect(all.requestOf(best!)).toMatchObject({ programs, schedule: 's1', placement: ['b'], recompute: 'optimal' });
  });

  it('fits or does not', async () => {
    const { all } = await evaluated(
      [0, 1].map((more) => ({ layout: `l${more}`, seconds: 1 + more, bytes: (1 << 20) + more })),
      { evaluations: 3 },
    );
    expect(all.sorted.map((c) => c.fits)).toEqual([true, false]);
  });
});
