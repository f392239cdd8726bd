import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { batchNorm, batchNormInference } from '../../src/ops/batch-norm.ts';
import { add, mul, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import { reshape } from '../../src/ops/shape.ts';
import type { Model, ModelMode } from '../../src/optim/model.ts';
import { squaredError, values } from './models.ts';

export const momentum = 0.25;

/** PyTorch's BatchNorm of x [N, C, …], with weight, bias and running statistics. */
export function normLayer(x: Tensor, name: string, mode: ModelMode): Tensor {
  const { graph } = x;
  return graph.scope(name, () => {
    const channels = x.shape[1]!;
    const seed = name.charCodeAt(0);
    const data = (shift: number, of: number) =>
      ({ kind: 'data', data: values(channels, of).map((v) => shift + 0.5 * v) }) as const;
    const [gamma, beta] = [
      graph.parameter('weight', [channels], data(1, seed)),
      graph.parameter('bias', [channels], data(0, seed + 1)),
    ];
    const mean = graph.buffer('running_mean', [channels], data(0, seed + 2));
    const variance = graph.buffer('running_var', [channels], data(1, seed + 3));
    if (mode === 'evaluation') return batchNormInference(x, mean, variance, gamma, beta);
    const batch = batchNorm(x, gamma, beta);
    const count = x.shape.reduce((n, d) => n * d, 1) / channels;
    trackAverage(mean, batch.mean, momentum);
    trackAverage(variance, mul(batch.variance, count > 1 ? count / (count - 1) : 1), momentum);
    return batch.y;
  });
}

/**
 * x [B, 3, 4] → images normalised by channel → tanh → linear → vectors normalised → linear, with a shortcut around the
 * second normalisation; squared error. Both kinds of layout, and a gradient by x behind two barriers.
 */
export const normedModel: Model = {
  name: 'normed',
  build: (batch, mode = 'training') => {
    const graph = new Graph({ mode });
    const x = graph.input('x', { shape: [batch, 3, 4] });
    const t = graph.input('t', { shape: [batch, 2] });
    const linear = (h: Tensor, name: string, from: number, to: number): Tensor =>
      matmul(h, graph.parameter(name, [from, to], { kind: 'data', data: values(from * to, name.charCodeAt(0)) }));
    const images = tanh(normLayer(x, 'first', mode));
    const hidden = graph.output('hidden', linear(reshape(images, [batch, 12]), 'a', 12, 5));
    const vectors = add(tanh(normLayer(hidden, 'second', mode)), mul(hidden, 0.5));
    const y = graph.output('y', linear(vectors, 'b', 5, 2));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};
