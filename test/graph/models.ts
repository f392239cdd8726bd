import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul, relu } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { buildTrainingGraph, type TrainingGraphOptions } from '../../src/optim/training-graph.ts';

export const zeros = { kind: 'zeros' } as const;

/** x [4, 3] → layers of width 3, relu between them; the objective is Σ y². */
export function mlp(layers: number, batch = 4): { graph: Graph; y: Tensor } {
  const graph = new Graph();
  let h = graph.input('x', { shape: [batch, 3] });
  for (let i = 0; i < layers; i++) {
    h = graph.scope(`block.${i}`, () => {
      const product = matmul(h, graph.parameter('weight', [3, 3], zeros));
      return i < layers - 1 ? relu(product) : product;
    });
  }
  return { graph, y: h };
}

export function trained(
  { graph, y }: { graph: Graph; y: Tensor },
  options: TrainingGraphOptions = { optimizer: makeOptimizer({ kind: 'sgd', momentum: 0.9 }) },
): Graph {
  const loss = graph.scope('loss', () => sum(mul(y, y)));
  return buildTrainingGraph({ graph, objective: [{ loss, weight: 1 }] }, options);
}

/** One weight used at both ends of the chain. */
export function tied(): { graph: Graph; y: Tensor } {
  const graph = new Graph();
  const x = graph.input('x', { shape: [4, 3] });
  const w = graph.parameter('w', [3, 3], zeros);
  const first = graph.scope('first', () => relu(matmul(x, w)));
  const middle = graph.scope('middle', () => relu(add(first, graph.parameter('bias', [3], zeros))));
  return { graph, y: graph.scope('last', () => matmul(middle, w)) };
}
