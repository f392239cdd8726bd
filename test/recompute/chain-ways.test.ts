import { describe, expect, it } from 'vitest';
import { modelOf } from '../../src/nn/models/index.ts';
import { chainWays } from '../../src/recompute/chain-ways.ts';
import {
  type StageForward,
  StageOptions,
  selectiveRecompute,
  sqrtRecompute,
  stageForwards,
  weigh,
} from '../../src/recompute/index.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

const forwardOf = (model: Parameters<typeof planOf>[0]): StageForward =>
  stageForwards(planOf(model, { batch: 4 }).graphs.train!, () => 0).get(0)!;

/** 24 hidden layers and the last: each has 4 · 8 values for the next one and for its own backward pass. */
const LAYERS = 25;
const VALUE = 4 * 8 * 4;
const equalLayers = forwardOf(
  modelOf({ kind: 'mlp', inputs: 8, hidden: new Array<number>(LAYERS - 1).fill(8), classes: 8 }),
);

describe('what the dynamic programme finds for a stage', () => {
  it.each(smallModelKinds)('keeps of %s no more than it says, and takes no more time', (kind) => {
    const forward = forwardOf(smallModels[kind]);
    for (const worth of [undefined, selectiveRecompute(forward).kept]) {
      const { unit, plans, choiceOf } = chainWays(forward, worth);
      for (const plan of plans.filter((_, i) => i % Math.ceil(plans.length / 40) === 0)) {
        const { keptBytes, seconds } = weigh(forward, choiceOf(plan));
        expect(keptBytes).toBeLessThanOrEqual(plan.kept * unit);
        // Where the cheap is not kept it is made once more, which the programme does not count.
        if (!worth) expect(seconds).toBeLessThanOrEqual(plan.seconds * (1 + 1e-9));
      }
    }
  });

  it('needs of equal layers no more than it says, beside the value that is being made', () => {
    const { unit, plans, choiceOf } = chainWays(equalLayers);
    expect(plans.length).toBeGreaterThan(100);
    for (const plan of plans.filter((_, i) => i % 4 === 0)) {
      const { keptBytes, peakBytes, seconds } = weigh(equalLayers, choiceOf(plan));
      expect(keptBytes).toBeLessThanOrEqual(plan.kept * unit);
      expect(peakBytes).toBeLessThanOrEqual(plan.units * unit + VALUE);
      expect(seconds).toBeLessThanOrEqual(plan.seconds * (1 + 1e-9));
    }
  });
});

describe('a deep chain of equal layers', () => {
  const whole = equalLayers.nodes.reduce((sum, n) => sum + equalLayers.seconds(n), 0);
  const options = new StageOptions();
  const within = (values: number, inFlight = 1): number => {
    const fits = options.of(equalLayers, inFlight).filter((o) => o.bytes <= values * VALUE);
    return Math.min(...fits.map((o) => o.seconds / whole));
  };

  it('goes down to a few values, by no more forward passes than Revolve with as many checkpoints', () => {
    // Griewank & Walther 2000: the longest chain that c checkpoints take with r passes is C(c + r, c) layers.
    expect(within(25)).toBe(0);
    expect(within(3 + 24)).toBe(0);
    expect(within(2 + 6)).toBeLessThan(2); // C(8, 6) = 28
    expect(within(2 + 4)).toBeLessThan(3); // C(7, 4) = 35
    expect(within(2 + 3)).toBeLessThan(4); // C(7, 3) = 35
    expect(within(2 + 2)).toBeLessThan(6); // C(8, 2) = 28
    expect(within(3)).toBeLessThan(24);
    expect(within(2)).toBe(Number.POSITIVE_INFINITY);
  });

  it('takes less than √n checkpoints do, which take less than everything once more', () => {
    const sqrt = sqrtRecompute(equalLayers);
    // 40 blocks, with one in front of every seventh: five of them.
    expect(sqrt.kept.size).toBe(5);
    const { keptBytes, peakBytes, seconds } = weigh(equalLayers, sqrt);
    expect(seconds).toBeLessThan(whole);
    expect(peakBytes).toBeLessThanOrEqual(13 * VALUE);
    for (const inFlight of [1, 4]) {
      const bytes = (inFlight - 1) * keptBytes + peakBytes;
      expect(within(bytes / VALUE, inFlight) * whole).toBeLessThan(seconds);
    }
  });
});
