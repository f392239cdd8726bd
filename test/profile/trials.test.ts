import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { mse } from '../../src/losses/index.ts';
import { linear } from '../../src/nn/linear.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import type { Feed } from '../../src/profile/record.ts';
import { timePlans } from '../../src/profile/trials.ts';
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
    await timePlans([planOfWidth(8)], told, { timeLimitSeconds: 1e-9 });
    expect(steps).toEqual(steps.map((_, i) => i));
    expect(rates).toEqual(steps);
  });

  it('do not open what does not fit beside those in front', async () => {
    const plans = [planOfWidth(8), planOfWidth(16), planOfWidth(8)];
    const bytes = ({ memory }: Plan) => memory.reduce((sum, { peakBytes }) => sum + peakBytes, 0);
    const memoryBytes = bytes(plans[0]!) + bytes(plans[1]!);
    const limits = { timeLimitSeconds: 1e-9, memoryBytes };
    expect((await timePlans(plans, feed, limits)).map((t) => t === undefined)).toEqual([false, false, true]);
    const less = await timePlans(plans, feed, { ...limits, memoryBytes: memoryBytes - 1 });
    expect(less.map((t) => t === undefined)).toEqual([false, true, true]);
  });

  it('end with the signal: with what is known, or with nothing where not all had a turn', async () => {
    expect(await timePlans([planOfWidth(8)], feed, { signal: AbortSignal.abort() })).toEqual([undefined]);
    const stop = new AbortController();
    let asked = 0;
    const stopping: Feed = {
      tensorsAt: () => {
        if (++asked === 200) stop.abort();
        return batch;
      },
    };
    const plans = [planOfWidth(8), planOfWidth(8)];
    const times = await timePlans(plans, stopping, { timeLimitSeconds: 3600, signal: stop.signal });
    expect(times.every((t) => t === undefined) || times.every((t) => t!.turns > 0)).toBe(true);
  });

  it('refuse no time, and throw what a step throws', async () => {
    await expect(timePlans([planOfWidth(8)], feed, { timeLimitSeconds: 0 })).rejects.toMatchObject({
      code: 'trial-time',
    });
    const wrong: Feed = { tensorsAt: () => ({ x: batch.x }) };
    await expect(timePlans([planOfWidth(8)], wrong, { timeLimitSeconds: 1 })).rejects.toThrow(/t/);
  });
});
