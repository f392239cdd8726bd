// Dropout and normalisation in whole training steps: the same masks for every layout and every number of microbatches.
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { batchNorm, batchNormInference } from '../../src/ops/batch-norm.ts';
import { dropout } from '../../src/ops/dropout.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { groupNorm } from '../../src/ops/group-norm.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { layerNorm } from '../../src/ops/norm.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import { reshape } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex, values } from '../support/models.ts';

const width = 8;
const samples = 7;

/** Layers of matmul, `normalize` and dropout, whose output is the last dropout's own. */
const model = (normalize: 'none' | 'samples' | 'batch'): Model => ({
  name: `dropout, ${normalize}`,
  build: (batch, mode = 'training') => {
    const graph = new Graph();
    let h = graph.input('x', { shape: [batch, width] });
    const t = graph.input('t', { shape: [batch, width] });
    for (const layer of ['a', 'b', 'c']) {
      h = graph.scope(layer, () => {
        const weight = graph.parameter('weight', [width, width], {
          kind: 'data',
          data: values(width * width, layer.charCodeAt(0)),
        });
        h = matmul(h, weight);
        const gamma = graph.parameter('gamma', [width], { kind: 'ones' });
        const beta = graph.parameter('beta', [width], { kind: 'zeros' });
        if (normalize === 'samples') {
          h = layerNorm(groupNorm(reshape(h, [batch, 4, 2]), 2), reshape(gamma, [4, 2]), reshape(beta, [4, 2]));
          h = reshape(h, [batch, width]);
        }
        if (normalize === 'batch') {
          const mean = graph.buffer('mean', [width], { kind: 'zeros' });
          const variance = graph.buffer('variance', [width], { kind: 'ones' });
          if (mode === 'evaluation') h = batchNormInference(h, mean, variance, gamma, beta);
          else {
            const result = batchNorm(h, gamma, beta);
            trackAverage(mean, result.mean, 0.1);
            trackAverage(variance, result.variance, 0.1);
            h = result.y;
          }
        }
        h = tanh(h);
        return mode === 'training' ? dropout(h, { ratio: 0.4 }) : h;
      });
    }
    return { graph, objective: [{ loss: squaredError(graph.output('y', h), t), weight: 1 }] };
  },
});

const batch = { x: f32([samples, width], 3), t: f32([samples, width], 4) };

async function run(kind: Parameters<typeof model>[0], devices: number, microbatches: number, seed = 1) {
  const plan = planOf(model(kind), {
    devices,
    batch: samples,
    microbatches,
    optimizer: { kind: 'adam', lr: 0.01 },
    programs: {
      train: { batch: samples, mode: 'train', outputs: true },
      eval: { batch: samples, mode: 'forward', outputs: true },
    },
  });
  await using session = await Session.open(plan, { seed });
  const outputs: Float32Array[] = [];
  for (let step = 0; step < 3; step++) {
    const { results } = await session.run('train', batch, { step });
    outputs.push(results.get('output/y')!.data as Float32Array);
  }
  const evaluated = (await session.run('eval', batch)).results.get('output/y')!.data as Float32Array;
  const state = [...(await session.parameters()), ...(await session.buffers())];
  return { outputs, evaluated, bits: state.map(([name, t]) => `${name} ${toHex(t)}`) };
}

const dropped = (y: Float32Array): string => Array.from(y, (v) => (v === 0 ? '.' : '#')).join('');

describe.each(['none', 'samples', 'batch'] as const)('dropout with normalisation of: %s', (kind) => {
  it('trains to the same bits on every number of devices', async () => {
    for (const microbatches of [1, 3]) {
      const one = await run(kind, 1, microbatches);
      for (const devices of [2, 3]) expect((await run(kind, devices, microbatches)).bits).toEqual(one.bits);
    }
  });

  it('drops the same elements however the batch is cut, others in other steps and of other seeds, none in evaluation', async () => {
    const whole = await run(kind, 1, 1);
    const masks = whole.outputs.map(dropped);
    expect(new Set(masks).size).toBe(3);
    // In chunks of one sample, which has nothing to be normalised by, batch normalisation leaves zeros.
    for (const microbatches of kind === 'batch' ? [2, 3] : [2, 7]) {
      const parts = await run(kind, 2, microbatches);
      expect(parts.outputs.map(dropped)).toEqual(masks);
    }
    expect((await run(kind, 1, 1, 2)).outputs.map(dropped)).not.toEqual(masks);
    expect(dropped(whole.evaluated)).toBe('#'.repeat(samples * width));
  });
});
