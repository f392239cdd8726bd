import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul, relu, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer, type Optimizer, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import { makePlan, type Plan, type PlanRequest } from '../../src/plan/plan.ts';

/** Σ (y − t)² / (elements of the whole batch). */
export function squaredError(y: Tensor, t: Tensor): Tensor {
  const d = sub(y, t);
  const perSample = y.shape.slice(1).reduce((n, s) => n * s, 1);
  const scale = y.graph.feed('scale', { dtype: 'f32', shape: [] }, { kind: 'inverseElements', perSample });
  return mul(sum(mul(d, d)), scale);
}

const weight = (g: Graph, name: string, rows: number, columns: number) =>
  g.parameter(name, [rows, columns], { kind: 'uniform', low: -0.5, high: 0.5 });

/** x [B, 6] → tanh(x·a) → relu(·b) → ·c, squared error. */
export const threeLayers: Model = {
  name: 'three layers',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 6] });
    const t = graph.input('t', { shape: [batch, 3] });
    const h1 = tanh(matmul(x, weight(graph, 'a', 6, 10)));
    const h2 = relu(
      add(matmul(h1, weight(graph, 'b', 10, 7)), graph.parameter('bias', [7], { kind: 'constant', value: 0.1 })),
    );
    const y = graph.output('y', matmul(h2, weight(graph, 'c', 7, 3)));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};

/** Deterministic values in [−1, 1). */
export function values(n: number, seed: number): Float32Array {
  let s = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 31 - 1;
  });
}

export const f32 = (shape: readonly number[], seed: number): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: values(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ),
});

export interface PlanOverrides extends Partial<Omit<PlanRequest, 'optimizer' | 'devices'>> {
  readonly batch?: number;
  readonly devices?: number;
  /** Bytes of each device; default as needed. */
  readonly memory?: number | null;
  readonly optimizer?: OptimizerConfig | Optimizer;
}

/** A training plan of a small model on equal wasm devices. */
export function planOf(
  model: Model,
  { batch = 8, devices = 1, memory = null, optimizer = { kind: 'sgd', lr: 0.1 }, ...rest }: PlanOverrides = {},
): Plan {
  return makePlan({
    model,
    programs: { train: { batch, mode: 'train', outputs: true } },
    microbatches: 1,
    schedule: '1f1b',
    partition: 'auto',
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory, speed: 1 }) as const),
    optimizer: 'kind' in optimizer ? makeOptimizer(optimizer) : optimizer,
    ...rest,
  });
}

export const toHex = (t: HostTensor): string =>
  Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('hex');
