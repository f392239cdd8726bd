import { describe, expect, it } from 'vitest';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, type PlanOverrides, planOf, threeLayers, toHex } from '../support/models.ts';

// Norm clipping across devices. Its values are PyTorch's: pytorch.test.ts, test/oracle/training.test.ts.

const programs = { train: { batch: 8, mode: 'train', gradientNorm: true } } as const;
const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };

async function trained(overrides: PlanOverrides) {
  await using session = await Session.open(planOf(threeLayers, { programs, ...overrides }), { transport: 'local' });
  const norms: number[] = [];
  for (let step = 0; step < 3; step++) norms.push((await session.run('train', batch, { step })).gradNorm!);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return { norms, parameters: await session.parameters() };
}

describe('clip', () => {
  const optimizer = { kind: 'sgd', lr: 0.5, momentum: 0.9 } as const;
  const norm = 1e-2;

  it.each([1, 2, 4])('gives the same bits on every layout, in %i microbatches', async (microbatches) => {
    const cuts = ['matmul_1', 'matmul_2'];
    const layouts: PlanOverrides[] = [
      { devices: 1 },
      { devices: 2, schedule: 'gpipe' },
      { devices: 3, partition: { cuts } },
      { devices: 3, partition: { cuts }, placement: [2, 0, 1] },
      { devices: 2, partition: { cuts }, placement: [1, 0, 1] },
    ];
    const bits = new Set<string>();
    for (const layout of layouts) {
      const { norms, parameters } = await trained({ ...layout, microbatches, optimizer, clip: { globalNorm: norm } });
      bits.add([norms, ...[...parameters].map(([name, t]) => name + toHex(t))].join());
      expect(Math.min(...norms)).toBeGreaterThan(norm); // reported before clipping
    }
    expect(bits.size).toBe(1);
  });

  it('leaves a parameter that nothing reads as it is, wherever it lies', async () => {
    const withIdle: Model = {
      name: 'with an idle parameter',
      build: (samples) => {
        const model = threeLayers.build(samples);
        model.graph.parameter('idle', [3], { kind: 'ones' });
        return model;
      },
    };
    const plan = planOf(withIdle, {
      devices: 3,
      partition: { cuts: ['matmul_1', 'matmul_2'] },
      optimizer: { kind: 'adamw', lr: 0.5, weightDecay: 0.5 },
      clip: { globalNorm: 1 },
    });
    await using session = await Session.open(plan, { transport: 'local' });
    await session.run('train', batch, {});
    expect([...(await session.parameters()).get('idle')!.data]).toEqual([1, 1, 1]);
  });

  it('of a norm that is never reached changes no bit', async () => {
    const [with1e3, without] = await Promise.all([
      trained({ optimizer, clip: { globalNorm: 1e3 } }),
      trained({ optimizer }),
    ]);
    expect(with1e3).toEqual(without);
  });

  it('takes no memory of a gradient’s size', () => {
    const peak = (clip: PlanOverrides['clip']) =>
      planOf(threeLayers, { programs: { train: { batch: 8, mode: 'train' } }, optimizer, clip }).memory[0]!.peakBytes;
    // Four sums of squares, their vector and the factor, each on its own 16 bytes at most; the smallest weight has 84.
    expect(peak({ globalNorm: 1 }) - peak(undefined)).toBeLessThan(6 * 16 + 1);
  });

  it('is refused where it could do nothing, and where its norm is none', () => {
    const request = planOf(threeLayers).request;
    expect(() => makePlan({ ...request, optimizer: undefined, clip: { globalNorm: 1 } })).toThrow(
      expect.objectContaining({ code: 'clip-without-optimizer' }),
    );
    for (const globalNorm of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => makePlan({ ...request, clip: { globalNorm } })).toThrow(
        expect.objectContaining({ code: 'clip-norm', fields: { globalNorm } }),
      );
    }
  });
});

describe('momentum of a step', () => {
  it('is refused by optimizers that have none, or were made without one', () => {
    for (const kind of ['adagrad', 'adadelta'] as const) {
      const refusal = expect.objectContaining({ code: 'optimizer-momentum', fields: { optimizer: kind } });
      expect(() => makeOptimizer({ kind }, { cyclesMomentum: true })).toThrow(refusal);
      expect(() => makeOptimizer({ kind }).hyper(0.1, 0, 0.9)).toThrow(refusal);
    }
    expect(() => makeOptimizer({ kind: 'sgd' }).hyper(0.1, 0, 0.9)).toThrow(
      expect.objectContaining({ remedy: 'makeOptimizer(config, { cyclesMomentum: true })' }),
    );
    expect([...makeOptimizer({ kind: 'sgd', momentum: 0.5 }).hyper(0.25, 3, 0.75)]).toEqual([0.25, 0, 0.75]);
  });
});
