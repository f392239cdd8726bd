/** What PyTorch made of six steps (`pytorch.py`), and those steps here. */
import type { HostTensor } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { ClipConfig } from '../../src/optim/clip.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer, type Optimizer, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import {
  cyclesMomentum,
  type LearningRate,
  type LearningRateConfig,
  makeLearningRate,
  makeMomentum,
} from '../../src/train/learning-rate.ts';
import data from './pytorch.json' with { type: 'json' };

export interface PyTorchCase {
  readonly optimizer: OptimizerConfig;
  readonly clip?: ClipConfig;
  readonly learningRate?: LearningRateConfig;
  /** Of the gradients; a power of two. */
  readonly gradientScale?: number;
  /** Parameters by name and state by `kind/name` behind the last step. */
  readonly final: Readonly<Record<string, readonly number[]>>;
}

export interface PyTorchCycle {
  readonly learningRate: LearningRateConfig;
  readonly lr: readonly number[];
  readonly momentum: readonly number[];
}

export const cases = data.cases as unknown as readonly PyTorchCase[];
export const cycles = data.cycles as unknown as readonly PyTorchCycle[];
/** What torch.optim takes where nothing is given. */
export const defaults = data.defaults as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
export const steps: number = data.rates.length;

/** What tells a case from the others. */
export const titleOf = ({ final: _, ...options }: PyTorchCase): string => JSON.stringify(options);

/** Σ x·w + z·free: the gradients of both parameters are what is fed. */
export const linear: Model = {
  name: 'linear',
  build: (batch) => {
    const graph = new Graph();
    const [x, z] = ['x', 'z'].map((name) => graph.input(name, { shape: [batch, 5] }));
    const [w, free] = ['w', 'free'].map((name) => graph.parameter(name, [5], { kind: 'ones' }));
    return { graph, objective: [{ loss: sum(add(mul(x!, w!), mul(z!, free!))), weight: 1 }] };
  },
};

const tensor = (shape: readonly number[], values: readonly number[]): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from(values),
});

export const start = new Map([
  ['w', tensor([5], data.start.w)],
  ['free', tensor([5], data.start.free)],
]);

/** The gradients of a step by the names of the inputs that they are. */
export function gradientsOf({ gradientScale = 1 }: PyTorchCase, step: number): Record<'x' | 'z', readonly number[]> {
  const { w, free } = data.gradients[step]!;
  return { x: w.map((g) => gradientScale * g), z: free.map((g) => gradientScale * g) };
}

export function batchOf(given: PyTorchCase, step: number): Record<string, HostTensor> {
  const { x, z } = gradientsOf(given, step);
  return { x: tensor([1, 5], x), z: tensor([1, 5], z) };
}

/** The case's options as a user turns them into functions. */
export function rulesOf({ optimizer, learningRate }: PyTorchCase): {
  readonly optimizer: Optimizer;
  readonly rate: LearningRate;
  readonly momentum: LearningRate | undefined;
} {
  return {
    optimizer: makeOptimizer(
      { ...optimizer, noDecay: ['free'] },
      { cyclesMomentum: learningRate !== undefined && cyclesMomentum(learningRate) },
    ),
    rate: makeLearningRate(learningRate ?? { kind: 'values', values: data.rates }, 0),
    momentum: learningRate && makeMomentum(learningRate),
  };
}
