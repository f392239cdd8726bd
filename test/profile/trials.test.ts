import { describe, expect, it, vi } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { mse } from '../../src/losses/index.ts';
import { linear } from '../../src/nn/linear.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import type { Feed } from '../../src/profile/record.ts';
import { sessionBytes, timePlans } from '../../src/profile/trials.ts';
import { THREAD_BYTES } from '../../src/runtime/device-threads.ts';
import { Session } from '../../src/train/session.ts';
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

  it('refuse no time and no end of it, and throw what a step throws', async () => {
    const plans = [planOfWidth(8), planOfWidth(8)];
    for (const timeLimitSeconds of [0, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(timePlans(plans, feed, { timeLimitSeconds })).rejects.toMatchObject({ code: 'trial-time' });
    const wrong: Feed = { tensorsAt: () => ({ x: batch.x }) };
    await expect(timePlans(plans, wrong, { timeLimitSeconds: 1 })).rejects.toThrow(/"t"|input t|\bt\b/);
  });
});
