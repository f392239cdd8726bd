import { describe, expect, it } from 'vitest';
import { makeLearningRate, makeMomentum } from '../../src/train/learning-rate.ts';
import { Session } from '../../src/train/session.ts';
import { planOf } from '../support/models.ts';
import { batchOf, cases, cycles, linear, rulesOf, start, steps, titleOf } from './pytorch-cases.ts';

// Every option of every optimizer against torch.optim, parameters and state; norm clipping, and OneCycleLR.

describe('six steps as torch.optim makes them', () => {
  it.each(cases.map((c) => [titleOf(c), c] as const))('%s', async (_, given) => {
    const { optimizer, rate, momentum } = rulesOf(given);
    const plan = planOf(linear, {
      programs: { train: { batch: 1, mode: 'train', gradientNorm: true } },
      clip: given.clip,
      optimizer,
    });
    await using session = await Session.open(plan, { transport: 'local', parameters: start });
    for (let step = 0; step < steps; step++) {
      await session.run('train', batchOf(given, step), { step, lr: rate(step), momentum: momentum?.(step) });
    }
    const found = new Map([...(await session.parameters()), ...(await session.optimizerState())]);
    expect([...found.keys()].sort()).toEqual(Object.keys(given.final).sort());
    for (const [name, values] of Object.entries(given.final)) {
      values.forEach((value, i) => {
        const got = found.get(name)!.data[i]!;
        expect(Math.abs(got - value), `${name}[${i}] is ${got} instead of ${value}`).toBeLessThan(2e-6);
      });
    }
  });
});

describe('rates and momenta of torch.optim.lr_scheduler.OneCycleLR', () => {
  const each = (f: (step: number) => number, n: number) => Array.from({ length: n }, (_, k) => f(k));
  const closeTo = (values: readonly number[]) => values.map((v) => expect.closeTo(v, 13));
  it.each(cycles.map((c) => [JSON.stringify(c.learningRate), c] as const))(
    '%s',
    (_, { learningRate, lr, momentum }) => {
      // The optimizer's own rate does not count.
      const rate = makeLearningRate(learningRate, 123);
      expect(each(rate, lr.length)).toEqual(closeTo(lr));
      expect(each(makeMomentum(learningRate)!, lr.length)).toEqual(closeTo(momentum));
      // PyTorch: ValueError, Tried to step … times.
      expect(() => rate(lr.length)).toThrow(
        expect.objectContaining({
          code: 'learning-rate-steps',
          remedy: `--learningRate.totalSteps ${lr.length + 1}`,
        }),
      );
    },
  );
});
