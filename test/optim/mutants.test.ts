import { expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { AdamConfig, OptimizerConfig, SgdConfig } from '../../src/optim/optimizer.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, values } from '../support/models.ts';

// Every option of the optimizers reaches the update: four steps against torch.optim's documented algorithms in f64.

/** Σ x·w + x·free: the gradient of both parameters is what is fed. */
const linear = {
  name: 'linear',
  build: (batch: number) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 5] });
    const [w, free] = ['w', 'free'].map((name) => graph.parameter(name, [5], { kind: 'ones' }));
    return { graph, objective: [{ loss: sum(add(mul(x, w!), mul(x, free!))), weight: 1 }] };
  },
};

const start = [...values(5, 99)];
const gradients = [1, 2, 3, 4].map((seed) => [...values(5, seed)]);
const rates = [0.1, 0.2, 0.05, 0.1];

function sgd(decay: number, { momentum = 0, dampening = 0, nesterov = false }: SgdConfig): number[] {
  return start.map((w, i) => {
    let buffer = 0;
    gradients.forEach((all, step) => {
      const g = all[i]! + decay * w;
      buffer = step === 0 ? g : momentum * buffer + (1 - dampening) * g;
      w -= rates[step]! * (momentum === 0 ? g : nesterov ? g + momentum * buffer : buffer);
    });
    return w;
  });
}

function adam(decay: number, { kind, betas = [0.9, 0.999], eps = 1e-8, amsgrad = false }: AdamConfig): number[] {
  return start.map((w, i) => {
    let [m, v, most] = [0, 0, 0];
    gradients.forEach((all, step) => {
      const lr = rates[step]!;
      if (kind === 'adamw') w -= lr * decay * w;
      const g = all[i]! + (kind === 'adam' ? decay * w : 0);
      m = betas[0] * m + (1 - betas[0]) * g;
      v = betas[1] * v + (1 - betas[1]) * g * g;
      most = Math.max(most, v);
      const second = (amsgrad ? most : v) / (1 - betas[1] ** (step + 1));
      w -= ((lr / (1 - betas[0] ** (step + 1))) * m) / (Math.sqrt(second) + eps);
    });
    return w;
  });
}

/** Weight decay where none is given: PyTorch's defaults. */
const decayOf = ({ kind, weightDecay }: OptimizerConfig): number => weightDecay ?? (kind === 'adamw' ? 0.01 : 0);
const expectedOf = (config: OptimizerConfig, decay: number): number[] =>
  config.kind === 'sgd' ? sgd(decay, config) : adam(decay, config);

const configs: readonly OptimizerConfig[] = [
  { kind: 'sgd', weightDecay: 0.3 },
  { kind: 'sgd', momentum: 0.8 },
  { kind: 'sgd', momentum: 0.8, dampening: 0.4, weightDecay: 0.3 },
  { kind: 'sgd', momentum: 0.8, nesterov: true, weightDecay: 0.3 },
  { kind: 'adam' },
  { kind: 'adam', weightDecay: 0.3, eps: 0.05 },
  { kind: 'adam', betas: [0.5, 0.6] },
  { kind: 'adam', betas: [0.5, 0.6], amsgrad: true },
  { kind: 'adamw' },
  { kind: 'adamw', weightDecay: 0.3 },
];

it.each(configs.map((config) => [JSON.stringify(config), config] as const))('%s', async (_, config) => {
  const plan = planOf(linear, { batch: 1, optimizer: { ...config, noDecay: ['free'] } });
  const first = f32([5], 99);
  const parameters = new Map([
    ['w', first],
    ['free', first],
  ]);
  await using session = await Session.open(plan, { transport: 'local', parameters });
  for (const [step, lr] of rates.entries()) await session.run('train', { x: f32([1, 5], step + 1) }, { step, lr });
  const found = await session.parameters();
  for (const [name, decay] of [
    ['w', decayOf(config)],
    ['free', 0],
  ] as const) {
    const got = found.get(name)!.data;
    expectedOf(config, decay).forEach((value, i) => {
      expect(Math.abs(got[i]! - value), `${name}[${i}] is ${got[i]} instead of ${value}`).toBeLessThan(2e-6);
    });
  }
});
