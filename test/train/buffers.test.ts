import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { add, mul, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { mean } from '../../src/ops/reduce.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import type { Model } from '../../src/optim/model.ts';
import { valueAndGrad } from '../../src/train/derivatives.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex, values } from '../support/models.ts';

const momentum = 0.1;

/** Two layers, each centred by its microbatch's mean, which a buffer follows; in evaluation the buffer centres. */
const centred: Model = {
  name: 'centred',
  build: (batch, mode = 'training') => {
    const graph = new Graph();
    let h = graph.input('x', { shape: [batch, 4] });
    const t = graph.input('t', { shape: [batch, 4] });
    for (const layer of ['a', 'b']) {
      h = graph.scope(layer, () => {
        const weight = graph.parameter('weight', [4, 4], { kind: 'data', data: values(16, layer.charCodeAt(0)) });
        const running = graph.buffer('mean', [4], { kind: 'constant', value: 0.5 });
        const product = matmul(h, weight);
        const average = mean(product, { axes: [0] });
        if (mode === 'training') trackAverage(running, average, momentum);
        return tanh(sub(product, mode === 'training' ? average : running));
      });
    }
    const y = graph.output('y', add(h, mul(h, 0.5)));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};

const samples = 7;
const batch = (seed: number) => ({ x: f32([samples, 4], seed), t: f32([samples, 4], seed + 1) });

/** What the first layer's buffer holds behind steps whose weights do not change. */
function expectedFirst(chunks: readonly number[], seeds: readonly number[]): number[] {
  const weight = values(16, 'a'.charCodeAt(0));
  const running = [0.5, 0.5, 0.5, 0.5];
  for (const seed of seeds) {
    const { data } = f32([samples, 4], seed);
    let from = 0;
    for (const size of chunks) {
      for (let c = 0; c < 4; c++) {
        let sum = 0;
        for (let n = from; n < from + size; n++)
          for (let k = 0; k < 4; k++) sum += data[4 * n + k]! * weight[4 * k + c]!;
        running[c] = (1 - momentum) * running[c]! + momentum * (sum / size);
      }
      from += size;
    }
  }
  return running;
}

const layouts = [
  { devices: 1, schedule: 'gpipe' },
  { devices: 2, schedule: '1f1b' },
  { devices: 3, schedule: 'gpipe' },
] as const;

describe('buffers', () => {
  it.each([
    { M: 1, chunks: [7] },
    { M: 3, chunks: [3, 2, 2] },
  ])(
    'follow statistics of $M microbatches in their order, with the same bits for every layout',
    async ({ M, chunks }) => {
      let first: string[] | undefined;
      for (const layout of layouts) {
        const plan = planOf(centred, { ...layout, batch: samples, microbatches: M, optimizer: { kind: 'sgd', lr: 0 } });
        await using session = await Session.open(plan, { seed: 1 });
        for (const [step, seed] of [3, 9].entries()) await session.run('train', batch(seed), { step });
        const buffers = await session.buffers();
        expect([...buffers.keys()]).toEqual(['a.mean', 'b.mean']);
        expectedFirst(chunks, [3, 9]).forEach((v, i) => {
          expect(buffers.get('a.mean')!.data[i]).toBeCloseTo(v, 6);
        });
        const bits = [...buffers].map(([name, t]) => `${name} ${toHex(t)}`);
        first ??= bits;
        expect(bits).toEqual(first);
      }
    },
  );

  it('are read by evaluation, which leaves them alone, and are no parameters', async () => {
    const plan = planOf(centred, {
      devices: 2,
      batch: samples,
      microbatches: 2,
      optimizer: { kind: 'sgd', lr: 0.1 },
      programs: {
        train: { batch: samples, mode: 'train' },
        eval: { batch: samples, mode: 'forward', outputs: true },
      },
    });
    await using session = await Session.open(plan, { seed: 1 });
    const before = (await session.run('eval', batch(3))).results.get('output/y')!;
    await session.run('train', batch(3), { step: 0 });
    const buffers = await session.buffers();
    const after = (await session.run('eval', batch(3))).results.get('output/y')!;
    expect(toHex(after)).not.toBe(toHex(before));
    expect(await session.buffers()).toEqual(buffers);
    expect([...(await session.parameters()).keys()]).toEqual(['a.weight', 'b.weight']);
  });

  it('are results of the gradients, as they would be behind the step', async () => {
    const { buffers, gradients } = await valueAndGrad({ model: centred, data: batch(3), devices: 2, microbatches: 3 });
    expectedFirst([3, 2, 2], [3]).forEach((v, i) => {
      expect(buffers.get('a.mean')!.data[i]).toBeCloseTo(v, 6);
    });
    expect([...gradients.keys()]).toEqual(['a.weight', 'b.weight']);
  });

  it('may be read on another device than what they follow, and stand elsewhere in evaluation', async () => {
    const model: Model = {
      name: 'fed back',
      build: (size, mode = 'training') => {
        const graph = new Graph();
        const running = graph.buffer('mean', [4], { kind: 'constant', value: 0.25 });
        const t = graph.input('t', { shape: [size, 4] });
        let h = graph.input('x', { shape: [size, 4] });
        if (mode === 'training') h = sub(h, running);
        for (const layer of ['a', 'b', 'c', 'd']) {
          const weight = graph.parameter(layer, [4, 4], { kind: 'data', data: values(16, layer.charCodeAt(0)) });
          h = tanh(matmul(h, weight));
        }
        if (mode === 'training') trackAverage(running, mean(h, { axes: [0] }), momentum);
        const y = graph.output('y', mode === 'training' ? h : graph.scope('evaluation', () => sub(h, running)));
        return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
      },
    };
    let first: string[] | undefined;
    for (const devices of [1, 2, 3]) {
      const plan = planOf(model, {
        devices,
        batch: samples,
        microbatches: 3,
        programs: {
          train: { batch: samples, mode: 'train', outputs: true },
          eval: { batch: samples, mode: 'forward', outputs: true },
        },
      });
      await using session = await Session.open(plan, { seed: 1 });
      for (let step = 0; step < 2; step++) await session.run('train', batch(3), { step });
      const found = [...(await session.buffers()), ...(await session.run('eval', batch(3))).results];
      const bits = found.filter(([name]) => name !== 'loss').map(([name, t]) => `${name} ${toHex(t)}`);
      first ??= bits;
      expect(bits).toEqual(first);
    }
  });
});
