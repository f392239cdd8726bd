import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import * as losses from '../../src/losses/index.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { batchNorm } from '../../src/ops/batch-norm.ts';
import { add } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { openDataset } from '../../src/train/data/open.ts';
import { epochsOf } from '../../src/train/data/source.ts';
import { valueAndGrad } from '../../src/train/derivatives.ts';
import { gradientNoise } from '../../src/train/noise.ts';
import { checkPairs, defaultPairs, estimateFromPair, NoiseAccumulator } from '../../src/train/noise-statistics.ts';
import { type NoiseRecord, NoiseTracker, noiseOfStep } from '../../src/train/noise-tracker.ts';
import { Session } from '../../src/train/session.ts';
import { train } from '../../src/train/trainer.ts';
import { f32, planOf, threeLayers, toHex, values } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';

const square = (v: ArrayLike<number>): number => Array.from(v).reduce((sum, x) => sum + x * x, 0);

describe('noise statistics', () => {
  const examples = Array.from({ length: 11 }, (_, i) => Float64Array.from(values(5, i + 1)));
  const mean = (of: readonly Float64Array[]) =>
    Float64Array.from({ length: 5 }, (_, k) => of.reduce((sum, g) => sum + g[k]!, 0) / of.length);

  it('are those of the definitions', () => {
    const accumulator = new NoiseAccumulator({
      elements: 5,
      examples: 11,
      pairs: [
        [1, 11],
        [2, 4],
        [3, 11],
      ],
    });
    for (const g of examples) accumulator.add(g);
    const noise = accumulator.finish();
    const g = mean(examples);
    const variance = examples.reduce((sum, e) => sum + square(e.map((v, k) => v - g[k]!)), 0);
    expect(noise.trSigma).toBeCloseTo(variance / 10, 12);
    expect(noise.trSigmaBiased).toBeCloseTo(variance / 11, 12);
    expect(noise.meanGradNormSq).toBeCloseTo(square(g), 12);
    expect([...noise.mean]).toEqual([...g].map((v) => expect.closeTo(v, 12)));
    expect([...noise.norms]).toEqual(examples.map((e) => expect.closeTo(Math.sqrt(square(e)), 12)));
    expect(noise.bSimple).toBeCloseTo(noise.trSigma / square(g), 12);
    expect(noise.g2Unbiased).toBeCloseTo(square(g) - variance / 110, 12);
    // Pair (1, n) is exact, and a size that does not divide the examples leaves the last ones out.
    const [exact, within, odd] = noise.pairs;
    expect(exact!.all.s).toBeCloseTo(noise.trSigma, 12);
    expect(exact!.all.g2).toBeCloseTo(noise.g2Unbiased, 12);
    const chunks = (size: number, count: number) =>
      Array.from({ length: count }, (_, c) => square(mean(examples.slice(c * size, (c + 1) * size))));
    const average = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
    expect(within!.all.normSqSmall).toBeCloseTo(average(chunks(2, 5)), 12);
    expect(within!.all.normSqBig).toBeCloseTo(average(chunks(4, 2)), 12);
    expect(within!.first).toEqual({
      normSqSmall: chunks(2, 1)[0]!,
      normSqBig: expect.closeTo(chunks(4, 1)[0]!, 12),
      ...estimateFromPair(2, within!.first.normSqSmall, 4, within!.first.normSqBig),
    });
    expect(odd!.all.normSqSmall).toBeCloseTo(average(chunks(3, 3)), 12);
  });

  it('refuse sizes that the examples do not give, and single examples', () => {
    for (const pair of [
      [0, 4],
      [4, 4],
      [2, 12],
      [1.5, 4],
    ] as const) {
      expect(() => checkPairs([pair], 11)).toThrow(expect.objectContaining({ code: 'noise-pairs' }));
    }
    expect(() => new NoiseAccumulator({ elements: 3, examples: 1 })).toThrow('two examples or more');
    for (const n of [2, 3, 7, 32, 100]) expect(() => checkPairs(defaultPairs(n), n)).not.toThrow();
  });
});

describe('per-example gradients', () => {
  it('with a penalty and ignored targets have the objective and its gradient as their mean', async () => {
    const model: Model = {
      name: 'tokens',
      build: (batch) => {
        const graph = new Graph();
        const x = graph.input('x', { shape: [batch, 3, 4] });
        const w = graph.parameter('w', [4, 5], { kind: 'uniform', low: -1, high: 1 });
        const logits = graph.output('logits', matmul(x, w));
        return { graph, objective: [{ loss: losses.crossEntropy(logits, 'y', { ignoreIndex: -1 }), weight: 2 }] };
      },
    };
    // The second example counts nothing, the others 3, 1 and 2 targets.
    const y = Int32Array.of(0, 4, 2, -1, -1, -1, -1, 3, -1, 1, 1, -1);
    const data = { x: f32([4, 3, 4], 3), y: { type: { dtype: 'i32', shape: [4, 3] }, data: y } as const };
    const options = { model, data, l2: { lambda: 0.3, parameters: ['w'] }, transport: 'local' } as const;
    const whole = await valueAndGrad(options);
    const noise = await gradientNoise({ ...options, microbatches: 3 });
    expect(noise.loss).toBeCloseTo(whole.loss, 6);
    const wanted = whole.gradients.get('w')!.data;
    noise.gradients.get('w')!.data.forEach((g, i) => {
      expect(g).toBeCloseTo(wanted[i]!, 6);
    });
    // The example without targets has the penalty's loss and gradient, and no other.
    const smallest = noise.perExampleLoss[1]!;
    expect(smallest).toBe(Math.min(...noise.perExampleLoss));
    expect(noise.trSigma).toBeGreaterThan(0);
  });

  it('are refused where a layer looks at its whole batch', async () => {
    const model: Model = {
      name: 'normalised',
      build: (batch) => {
        const graph = new Graph();
        const y = graph.output('y', batchNorm(graph.input('x', { shape: [batch, 3] })).y);
        return { graph, objective: [{ loss: losses.mse(y, 't'), weight: 1 }] };
      },
    };
    await expect(gradientNoise({ model, data: { x: f32([4, 3], 1), t: f32([4, 3], 2) } })).rejects.toThrow(
      expect.objectContaining({ code: 'noise-batch-norm', message: expect.stringContaining('batchNorm') }),
    );
  });
});

describe('noise of a step', () => {
  it('is that of chunks of any sizes, without bias', () => {
    // Whatever the sizes, S is the variance between chunks of one-way analysis of variance.
    const sizes = [3, 3, 2];
    const chunks = sizes.map((_, m) => values(4, m + 9));
    const mean = Float64Array.from(chunks[0]!, (_, k) =>
      sizes.reduce((sum, b, m) => sum + (b / 8) * chunks[m]![k]!, 0),
    );
    const shares = sizes.map((b, m) => (b / 8) ** 2 * square(chunks[m]!));
    const { s, g2 } = noiseOfStep({ sizes, shares, data: square(mean), whole: square(mean) });
    const between = sizes.reduce((sum, b, m) => sum + b * square(chunks[m]!.map((v, k) => v - mean[k]!)), 0);
    expect(s).toBeCloseTo(between / 2, 6);
    expect(g2).toBeCloseTo(square(mean) - s / 8, 12);
    const pair = estimateFromPair(
      8 / 3,
      sizes.reduce((a, b, m) => a + (b / 8) * square(chunks[m]!), 0),
      8,
      square(mean),
    );
    expect(s).toBeCloseTo(pair.s, 6);
    expect(g2).toBeCloseTo(pair.g2, 6);
  });

  it('is averaged without the bias of the start, and goes on from past steps', () => {
    const tracker = new NoiseTracker({ decay: 0.9 });
    expect(tracker.add({ g2: 2, s: 6 })).toMatchObject({ g2Average: expect.closeTo(2), bSimple: expect.closeTo(3) });
    const second = new NoiseTracker({ decay: 0.9 }, [{ g2: 2, s: 6 }]).add({ g2: -1, s: 4 });
    expect(second).toEqual(tracker.add({ g2: -1, s: 4 }));
    expect(second.g2Average).toBeCloseTo((0.9 * 2 - 1) / 1.9);
    expect(() => new NoiseTracker({ decay: 1 })).toThrow('below 1');
  });

  const squares = async (plan: Plan, batch: Parameters<Session['run']>[1], audit: boolean) => {
    await using session = await Session.open(plan, { seed: 3, transport: 'local', audit });
    const { results, noise } = await session.run('train', batch);
    const parameters = [...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`);
    expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
    return { noise, bits: [...results].map(([name, t]) => `${name} ${toHex(t)}`).sort(), parameters };
  };

  it('has the same bits on every layout, of parameters used in several branches too', {
    timeout: 240_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom('gpipe', '1f1b'), async (seed, schedule) => {
        const model = randomModel(seed);
        const spec = { batch: 7, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
        const shared = { programs: { train: spec }, microbatches: 3, l2: { lambda: 0.1, parameters: ['w0'] } };
        const wanted = randomStages(model, 4, seed);
        const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
        const stages = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
        const choices = new Choices(seed + 1);
        const placement = used.map(() => choices.below(3));
        const width = model.build(2).graph.sources('input')[0]!.shape[1]!;
        const batch = { x: f32([7, width], seed), z: f32([7, width], seed + 1), t: f32([7, width], seed + 2) };
        const one = await squares(planOf(model, shared), batch, false);
        const many = planOf(model, { ...shared, devices: 3, schedule, partition: { stages }, placement });
        expect(await squares(many, batch, true)).toEqual(one);
        // Asking for it changes no gradient.
        const { gradientNoise: _, ...quiet } = spec;
        const without = await squares(planOf(model, { ...shared, programs: { train: quiet } }), batch, false);
        expect(without.parameters).toEqual(one.parameters);
        expect(without.noise).toBeNull();
      }),
      { numRuns: 15 },
    );
  });

  it('joins the branches of a shared weight at the earliest stage, whatever their order in the graph', async () => {
    const model: Model = {
      name: 'two branches',
      build: (batch) => {
        const graph = new Graph();
        const w = graph.parameter('w', [3, 3], { kind: 'uniform', low: -1, high: 1 });
        const first = matmul(graph.input('x', { shape: [batch, 3] }), w);
        const second = matmul(graph.input('z', { shape: [batch, 3] }), w);
        const y = graph.output('y', add(first, second));
        return { graph, objective: [{ loss: losses.mse(y, 't'), weight: 1 }] };
      },
    };
    const batch = { x: f32([5, 3], 1), z: f32([5, 3], 2), t: f32([5, 3], 3) };
    const program = { batch: 5, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
    const shared = { programs: { train: program }, microbatches: 2 };
    const stages = { matmul: 1, matmul_1: 0, add: 1, 'loss*': 1 };
    const one = await squares(planOf(model, shared), batch, true);
    expect(await squares(planOf(model, { ...shared, devices: 2, partition: { stages } }), batch, true)).toEqual(one);
  });

  it('adds the uses of a tied weight before it squares', async () => {
    const model = modelOf({
      kind: 'gpt',
      vocab: 7,
      context: 4,
      layers: 1,
      heads: 1,
      width: 8,
      mlpRatio: 2,
      tied: true,
    });
    const tokens = (seed: number) =>
      ({
        type: { dtype: 'i32', shape: [4, 4] },
        data: Int32Array.from(values(16, seed), (v) => Math.floor((v + 1) * 3.5)),
      }) as const;
    const batch = { x: tokens(1), y: tokens(2) };
    const program = { batch: 4, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
    const plan = planOf(model, { programs: { train: program }, microbatches: 4, devices: 2 });
    const { noise } = await squares(plan, batch, true);
    // Four microbatches of one sample: the estimate is the exact one of the four examples.
    const exact = await gradientNoise({ model, data: batch, seed: 3, transport: 'local' });
    expect(noise!.s / exact.trSigma).toBeCloseTo(1, 4);
    expect(noise!.g2 / exact.g2Unbiased).toBeCloseTo(1, 3);
  });

  it('is that of the whole data set, over many steps', { timeout: 120_000 }, async () => {
    const model = modelOf({ kind: 'mlp', inputs: [1, 8, 8], hidden: [12], classes: 10, activation: 'tanh' });
    const digits = openDataset({ kind: 'digits' });
    const all = digits.batch(Int32Array.from({ length: digits.size }, (_, i) => i));
    const { trSigma, meanGradNormSq } = await gradientNoise({
      model,
      data: all,
      pairs: [[1, digits.size]],
      microbatches: 16,
      transport: 'local',
      audit: false,
    });
    // 50 samples by three microbatches of 17, 17 and 16; the rate 0 keeps the model where it is.
    const program = { batch: 50, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
    const plan = planOf(model, {
      programs: { train: program },
      microbatches: 3,
      optimizer: { kind: 'sgd', lr: 0 },
    });
    await using session = await Session.open(plan, { transport: 'local', audit: false });
    const data = epochsOf(digits, { batchSize: 50, seed: 1 });
    const steps = Array.from({ length: 400 }, (_, i) => i).filter((step) => step % data.stepsPerEpoch < 35);
    const records: NoiseRecord[] = [];
    for await (const record of train({
      session,
      data: { ...data, steps: steps.length, batchAt: (k) => data.batchAt(steps[k]!) },
      steps: steps.length,
      noise: { decay: 0.99 },
    })) {
      records.push(record.noise!);
    }
    const mean = (of: (r: (typeof records)[number]) => number) =>
      records.reduce((sum, r) => sum + of(r), 0) / records.length;
    const error = (of: (r: (typeof records)[number]) => number) =>
      Math.sqrt(mean((r) => (of(r) - mean(of)) ** 2) / records.length);
    for (const [of, exact] of [
      [(r) => r.s, trSigma],
      [(r) => r.g2, meanGradNormSq],
    ] as [(r: (typeof records)[number]) => number, number][]) {
      // Within four standard errors, which are a few percent of the value: far from what a wrong factor would give.
      expect(error(of)).toBeLessThan(0.05 * exact);
      expect(Math.abs(mean(of) - exact)).toBeLessThan(4 * error(of));
    }
    expect(records.at(-1)!.bSimple / (trSigma / meanGradNormSq)).toBeCloseTo(1, 0);
  });

  it('in invariant mode is that of single samples, for any number of microbatches', async () => {
    const data = { x: f32([6, 6], 1), t: f32([6, 3], 2) };
    const program = { batch: 6, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
    const shared = { programs: { train: program }, invariant: true };
    const exact = await gradientNoise({ model: threeLayers, data, seed: 3, transport: 'local' });
    for (const microbatches of [1, 4]) {
      const { noise } = await squares(planOf(threeLayers, { ...shared, microbatches, devices: 2 }), data, true);
      expect(noise!.s / exact.trSigma).toBeCloseTo(1, 4);
      expect(noise!.g2 / exact.g2Unbiased).toBeCloseTo(1, 3);
    }
  });

  it('is not there for a step of one microbatch', async () => {
    const program = { batch: 4, mode: 'train', gradientNorm: true, gradientNoise: true } as const;
    const plan = planOf(threeLayers, { programs: { train: program }, microbatches: 1 });
    const { noise } = await squares(plan, { x: f32([4, 6], 1), t: f32([4, 3], 2) }, true);
    expect(noise).toBeNull();
  });
});
