/**
 * The PyTorch cases played without devices, by whoever evaluates a graph. Also the entry of the bundles with deliberate
 * mistakes that mutants.test.ts makes: what it imports is what can be broken.
 */
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost, toReference } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { clipFactor } from '../../src/ops/clip-factor.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';
import { makeLearningRate, makeMomentum } from '../../src/train/learning-rate.ts';
import {
  cases,
  cycles,
  gradientsOf,
  linear,
  type PyTorchCase,
  rulesOf,
  start,
  steps,
  titleOf,
} from './pytorch-cases.ts';

/** Values of `wanted`; `feeds` holds those of inputs, parameters and states. */
export type Evaluate = (wanted: readonly Tensor[], feeds: ReadonlyMap<Tensor, HostTensor>) => HostTensor[];
/** A graph with the update of a case. */
export type BuildUpdate = (given: PyTorchCase) => Graph;

/** In f64, rounded behind every step. */
export const inReference: Evaluate = (wanted, feeds) =>
  evaluate(wanted, new Map([...feeds].map(([t, value]) => [t, toReference(value)]))).map(toHost);

/** The whole training graph of the linear model. */
export const trainingGraph: BuildUpdate = (given) =>
  buildTrainingGraph(linear.build(1), { optimizer: rulesOf(given).optimizer, clip: given.clip });

/** The updates and clipping's factor alone, from gradients and their sums of squares that are fed. */
export const updatesAlone: BuildUpdate = (given) => {
  const graph = new Graph();
  const { optimizer } = rulesOf(given);
  const feed = (name: string, shape: readonly number[]) => graph.input(name, { shape, batchAxis: null });
  const parameters = ['w', 'free'].map((name) => graph.parameter(name, [5], { kind: 'ones' }));
  const gradients = [feed('x', [5]), feed('z', [5])];
  const hyper = feed('optimizer/hyper', [optimizer.hyper(0, 0).length]);
  const factor = given.clip && clipFactor(feed('squares', [2]), { maxNorm: given.clip.globalNorm });
  for (const [i, p] of parameters.entries()) {
    graph.inStep(p.node, () => optimizer.update(graph, p, gradients[i]!, { hyper, factor }));
  }
  return graph;
};

/** How a case is not what PyTorch made of it; undefined where it is. The bound is that of pytorch.test.ts. */
export function deviation(given: PyTorchCase, build: BuildUpdate, play: Evaluate): string | undefined {
  const { optimizer, rate, momentum } = rulesOf(given);
  const graph = build(given);
  const persistent = new Map<Tensor, HostTensor>();
  for (const t of [...graph.parameters, ...graph.sources('state')]) {
    const { init, name } = t.node.source!;
    const first = init!.kind === 'constant' ? init!.value : 0;
    persistent.set(t, start.get(name) ?? { type: t.type, data: new Float32Array(5).fill(first) });
  }
  for (let step = 0; step < steps; step++) {
    const gradients = gradientsOf(given, step);
    const fed: Record<string, ArrayLike<number>> = {
      ...gradients,
      squares: Object.values(gradients).map((g) => g.reduce((sum, v) => sum + v * v, 0)),
      'optimizer/hyper': optimizer.hyper(rate(step), step, momentum?.(step)),
    };
    const feeds = new Map(persistent);
    for (const t of graph.sources('input')) {
      feeds.set(t, { type: t.type, data: Float32Array.from(fed[t.node.source!.name]!) });
    }
    const values = play(
      graph.assignments.map((a) => a.value),
      feeds,
    );
    for (const [i, { target }] of graph.assignments.entries()) persistent.set(target, values[i]!);
  }
  const found = new Map([...persistent].map(([t, value]) => [t.node.source!.name, value.data]));
  for (const [name, values] of Object.entries(given.final)) {
    const i = values.findIndex((value, at) => !(Math.abs((found.get(name)?.[at] ?? Number.NaN) - value) < 2e-6));
    if (i >= 0) return `${titleOf(given)}: ${name}[${i}] is ${found.get(name)?.[i]} instead of ${values[i]}`;
  }
  return undefined;
}

/** Every case that deviates, and every cycle, one by one: who wants to know whether there is any takes the first. */
export function* deviations(build: BuildUpdate, play: Evaluate): Generator<string> {
  for (const given of cases) {
    const found = deviation(given, build, play);
    if (found !== undefined) yield found;
  }
  for (const { learningRate, lr, momentum } of cycles) {
    const [rate, own] = [makeLearningRate(learningRate, 1), makeMomentum(learningRate)!];
    const wrong = lr.findIndex(
      (_, k) => !(Math.abs(rate(k) - lr[k]!) < 1e-13 && Math.abs(own(k) - momentum[k]!) < 1e-13),
    );
    if (wrong >= 0) yield `${JSON.stringify(learningRate)} at step ${wrong}`;
  }
}

/** What a bundle says of itself. */
export const ownDeviations = (): Generator<string> => deviations(trainingGraph, inReference);
