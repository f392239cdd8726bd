/** A training with everything that outlives a step: parameters, running statistics, dropout, optimizer state, epochs. */
import { Graph } from '../../src/graph/graph.ts';
import { crossEntropy } from '../../src/losses/index.ts';
import { batchNorm, batchNormInference } from '../../src/ops/batch-norm.ts';
import { dropout } from '../../src/ops/dropout.ts';
import { tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { datasetOf } from '../../src/train/data/dataset.ts';
import { epochsOf } from '../../src/train/data/source.ts';
import { makeEvaluator } from '../../src/train/evaluate.ts';
import {
  cyclesMomentum,
  type LearningRateConfig,
  makeLearningRate,
  makeMomentum,
} from '../../src/train/learning-rate.ts';
import type { NoiseAverageOptions } from '../../src/train/noise-tracker.ts';
import { type PlanOverrides, planOf, values } from './models.ts';

const [width, classes, samples, heldOutSamples, batch] = [5, 3, 23, 7, 6];

/** x [B, 5] → (matmul, batch norm, tanh, dropout) twice → logits [B, 3]. */
export const statefulModel = (hidden = 4): Model => ({
  name: 'stateful',
  build: (size, mode = 'training') => {
    const graph = new Graph();
    let h = graph.input('x', { shape: [size, width] });
    for (const [layer, from, to] of [
      ['a', width, hidden],
      ['b', hidden, hidden],
    ] as const) {
      h = graph.scope(layer, () => {
        const weight = graph.parameter('weight', [from, to], { kind: 'uniform', low: -0.7, high: 0.7 });
        const gamma = graph.parameter('gamma', [to], { kind: 'ones' });
        const beta = graph.parameter('beta', [to], { kind: 'zeros' });
        const mean = graph.buffer('mean', [to], { kind: 'zeros' });
        const variance = graph.buffer('variance', [to], { kind: 'ones' });
        const z = matmul(h, weight);
        if (mode === 'evaluation') return tanh(batchNormInference(z, mean, variance, gamma, beta));
        const normal = batchNorm(z, gamma, beta);
        trackAverage(mean, normal.mean, 0.1);
        trackAverage(variance, normal.variance, 0.1);
        return dropout(tanh(normal.y), { ratio: 0.3 });
      });
    }
    const last = graph.parameter('last', [hidden, classes], { kind: 'uniform', low: -0.7, high: 0.7 });
    const logits = graph.output('logits', matmul(h, last));
    return { graph, objective: [{ loss: crossEntropy(logits, 'y'), weight: 1 }] };
  },
});

function dataset(name: string, size: number, seed: number) {
  const x = values(size * width, seed);
  const y = Int32Array.from({ length: size }, (_, i) => Math.floor((x[i * width]! + 1) * 1.49));
  return datasetOf(
    name,
    size,
    { x: { dtype: 'f32', sampleShape: [width], values: x }, y: { dtype: 'i32', sampleShape: [], values: y } },
    { classes },
  );
}

export interface StatefulOptions extends PlanOverrides {
  readonly hidden?: number;
  /** Default a warm-up and a cosine, of 20 steps. */
  readonly rule?: LearningRateConfig;
  readonly seed?: number;
  /** Of the values of the samples. */
  readonly samplesSeed?: number;
  readonly batchSize?: number;
  /** Estimates the gradient noise, averaged so. */
  readonly noise?: NoiseAverageOptions;
}

const warmUp: LearningRateConfig = { kind: 'warmupCosine', warmupSteps: 3, totalSteps: 20, minRatio: 0.1 };
const adam: OptimizerConfig = { kind: 'adam', lr: 0.02 };

/** Plan and options of `train`: 4 steps an epoch, the last of 5 samples; evaluation every third step. */
export function stateful(options: StatefulOptions = {}) {
  const { hidden, seed = 3, samplesSeed = 11, batchSize = batch, noise, ...rest } = options;
  const { rule = warmUp, optimizer = adam, ...layout } = rest;
  const tail = samples % batchSize;
  const norms = { gradientNorm: true, ...(noise ? { gradientNoise: true } : {}) };
  const plan: Plan = planOf(statefulModel(hidden), {
    microbatches: 2,
    ...layout,
    optimizer: 'kind' in optimizer ? makeOptimizer(optimizer, { cyclesMomentum: cyclesMomentum(rule) }) : optimizer,
    programs: {
      train: { batch: batchSize, mode: 'train', ...norms },
      ...(tail > 0 ? { tail: { batch: tail, mode: 'train', ...norms } } : {}),
      eval: { batch: heldOutSamples, mode: 'forward', outputs: true },
    },
  });
  const heldOut = dataset('held out', heldOutSamples, samplesSeed + 1);
  const evaluate = makeEvaluator({
    batches: [
      { size: heldOutSamples, tensors: () => heldOut.batch(Int32Array.from({ length: heldOutSamples }, (_, i) => i)) },
    ],
    terms: [{ output: 'logits', target: 'y', classes, ignoreIndex: null, values: 'logits' }],
    single: true,
    perplexity: false,
  });
  return {
    plan,
    seed,
    training: {
      data: epochsOf(dataset('train', samples, samplesSeed), { batchSize, seed }),
      learningRate: makeLearningRate(rule, 0.02),
      momentum: makeMomentum(rule),
      noise,
      evaluation: { evaluate, every: 3, contents: heldOut.contents },
    },
  };
}
