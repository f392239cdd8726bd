import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { linear } from '../../src/nn/index.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import { Session } from '../../src/train/session.ts';
import { f32, type PlanOverrides, planOf, squaredError } from '../support/models.ts';

const make = (config: object) => () => makeOptimizer(config as OptimizerConfig);

describe('makeOptimizer', () => {
  it.each<[title: string, config: object, key: string]>([
    ['an unknown kind', { kind: 'lion' }, 'optimizer.kind'],
    ['an unknown option', { kind: 'sgd', weight_decay: 1 }, 'optimizer.weight_decay'],
    ["another optimizer's option", { kind: 'adam', momentum: 0.9 }, 'optimizer.momentum'],
    ['a negative rate', { kind: 'sgd', lr: -1 }, 'optimizer.lr'],
    ['a rate that is text', { kind: 'sgd', lr: '0.1' }, 'optimizer.lr'],
    ['a beta of 1', { kind: 'adamw', betas: [1, 0.999] }, 'optimizer.betas.0'],
    ['one beta', { kind: 'adam', betas: [0.9] }, 'optimizer.betas'],
    ['a rho beyond 1', { kind: 'adadelta', rho: 1.5 }, 'optimizer.rho'],
    ['a negative alpha', { kind: 'rmsprop', alpha: -1 }, 'optimizer.alpha'],
    ['a negative first sum', { kind: 'adagrad', initialAccumulatorValue: -1 }, 'optimizer.initialAccumulatorValue'],
  ])('refuses %s and names the key', (_, config, key) => {
    const problems = [expect.objectContaining({ key })];
    expect(make(config)).toThrow(expect.objectContaining({ fields: expect.objectContaining({ problems }) }));
  });

  it('takes options that are undefined as left out', () => {
    expect(make({ kind: 'sgd', momentum: undefined, noDecay: undefined })).not.toThrow();
  });
});

/** `spare` gives an output that the objective does not read. */
const withSpare: Model = {
  name: 'spare',
  build: (samples) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [samples, 3] });
    const t = graph.input('t', { shape: [samples, 3] });
    graph.output('aside', linear(x, 2, { name: 'spare' }));
    return { graph, objective: [{ loss: squaredError(linear(x, 3, { name: 'used' }), t), weight: 1 }] };
  },
};

describe('a parameter that the objective does not depend on', () => {
  const moved = async (overrides: PlanOverrides) => {
    await using session = await Session.open(planOf(withSpare, { batch: 4, ...overrides }), { transport: 'local' });
    const before = await session.parameters();
    for (let step = 0; step < 2; step++) await session.run('train', { x: f32([4, 3], 1), t: f32([4, 3], 2) }, { step });
    expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
    const after = await session.parameters();
    return [...before.keys()].filter((name) => before.get(name)!.data.some((v, i) => v !== after.get(name)!.data[i]));
  };

  // torch.optim skips parameters whose grad is None.
  it.each<OptimizerConfig>([
    { kind: 'sgd', momentum: 0.9, weightDecay: 0.5 },
    { kind: 'adam', weightDecay: 0.5 },
    { kind: 'adamw' },
  ])('is left alone by weight decay: $kind', async (optimizer) => {
    for (const devices of [1, 2]) {
      const found = await moved({ optimizer, devices, microbatches: 2, clip: { globalNorm: 0.1 } });
      expect(found).toEqual(['used.weight', 'used.bias']);
    }
  });

  it('moves by an L2 penalty, which it is part of', async () => {
    expect(await moved({ l2: { lambda: 1, parameters: ['spare.weight'] } })).toContain('spare.weight');
  });

  it('is not what an unknown name in noDecay is: that is refused', () => {
    expect(() => planOf(withSpare, { optimizer: { kind: 'sgd', noDecay: ['used.wieght'] } })).toThrow(
      expect.objectContaining({ code: 'unknown-parameter', remedy: expect.stringContaining('used.weight') }),
    );
  });
});
