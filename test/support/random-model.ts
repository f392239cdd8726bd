import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul, relu, sigmoid, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { layerNorm } from '../../src/ops/norm.ts';
import { mean } from '../../src/ops/reduce.ts';
import { concat, reshape, slice } from '../../src/ops/shape.ts';
import { softmax } from '../../src/ops/softmax.ts';
import type { Model } from '../../src/optim/model.ts';
import { squaredError } from './models.ts';

/** A deterministic stream of choices from a seed. */
export class Choices {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  /** A whole number of [0, n). */
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/**
 * A random small DAG: branches, skips, parameters shared between distant layers, two inputs, two outputs, reshapes,
 * slices and joins. The same seed builds the same nodes for every batch size.
 */
export function randomModel(seed: number): Model {
  return {
    name: `random ${seed}`,
    build: (batch) => {
      const choices = new Choices(seed);
      const graph = new Graph();
      const width = choices.pick([3, 4, 5]);
      const x = graph.input('x', { shape: [batch, width] });
      const z = graph.input('z', { shape: [batch, width] });
      const target = graph.input('t', { shape: [batch, width] });
      const parameter = (name: string, shape: number[]) =>
        graph.parameter(name, shape, { kind: 'uniform', low: -0.8, high: 0.8 });
      const weights = Array.from({ length: 2 + choices.below(2) }, (_, i) => parameter(`w${i}`, [width, width]));
      const bias = parameter('bias', [width]);
      const gain = graph.parameter('gain', [width], { kind: 'ones' });
      const pool: Tensor[] = [matmul(x, choices.pick(weights)), mul(z, bias)];
      // The last few are picked more often: a chain with skips rather than a bush.
      const recent = () => pool[Math.max(0, pool.length - 1 - choices.below(Math.min(pool.length, 4)))]!;
      const grow: (() => Tensor)[] = [
        () => matmul(recent(), choices.pick(weights)),
        () => matmul(recent(), choices.pick(weights), { transB: true }),
        () => add(recent(), recent()),
        () => mul(recent(), sigmoid(recent())),
        () => sub(recent(), bias),
        () => tanh(recent()),
        () => relu(add(recent(), 0.3)),
        () => softmax(recent()),
        () => layerNorm(recent(), gain, bias),
        () => add(recent(), mean(recent(), { axes: [-1], keepDims: true })),
        () => slice(concat([recent(), recent()], { axis: 1 }), { 1: [1, 1 + width] }),
        () => reshape(tanh(reshape(recent(), [batch * width])), [batch, width]),
      ];
      const nodes = 4 + choices.below(9);
      for (let i = 0; i < nodes; i++) pool.push(choices.pick(grow)());
      const first = graph.output('first', pool.at(-1)!);
      const second = graph.output('second', recent());
      return {
        graph,
        objective: [
          { loss: squaredError(first, target), weight: 1 },
          { loss: squaredError(second, x), weight: 0.5 },
        ],
      };
    },
  };
}

/** A random legal assignment of forward nodes to stages: every edge leads from a stage to the same or a later one. */
export function randomStages(model: Model, stages: number, seed: number): Record<string, number> {
  const choices = new Choices(seed);
  const { graph, objective } = model.build(2);
  const live = new Set([...graph.outputs.values(), ...objective.map((o) => o.loss)].map((t) => t.node));
  for (const node of [...graph.nodes].reverse()) if (live.has(node)) for (const t of node.inputs) live.add(t.node);
  const stageOf = new Map<number, number>();
  const assignment: Record<string, number> = {};
  const forward = graph.nodes.filter((n) => !n.source && live.has(n));
  forward.forEach((node, i) => {
    const least = Math.max(0, ...node.inputs.map((t) => stageOf.get(t.node.id) ?? 0));
    // Later nodes may go further back; the spread keeps every stage likely to be used.
    const stage = Math.min(stages - 1, Math.max(least, Math.floor((i * stages) / forward.length) - choices.below(2)));
    stageOf.set(node.id, stage);
    assignment[node.name] = stage;
  });
  return assignment;
}
