/**
 * Per-example gradients of a batch, one after another through the devices, and the gradient noise scale from them.
 *
 * Each example is a microbatch of its own, M of them in a run. Nothing that is computed depends on M or on the layout.
 */
import { UsageError } from '../core/errors.ts';
import { allocate, elementCount, type HostTensor, type TensorType } from '../core/types.ts';
import type { Graph } from '../graph/graph.ts';
import { perExampleModel } from '../optim/higher-order.ts';
import { makePlan, type PlanRequest } from '../plan/plan.ts';
import {
  checkDerivative,
  type DerivativeOptions,
  derivativeNames,
  gradientRequest,
  sessionPart,
} from './derivatives.ts';
import { NoiseAccumulator, type NoiseStatistics, type SizePair } from './noise-statistics.ts';
import { type RunResult, Session } from './session.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

export interface GradientNoise extends NoiseStatistics {
  /** Mean of the examples' losses: the batch's objective. */
  readonly loss: number;
  readonly perExampleLoss: Float64Array;
  /** G by parameter. */
  readonly gradients: Tensors;
}

export interface NoiseOptions extends DerivativeOptions {
  /** Sizes (B_small, B_big) to estimate from too; default `defaultPairs`. */
  readonly pairs?: readonly SizePair[];
}

/**
 * The gradient noise scale of a batch.
 *
 * The loss of an example is n times its share of the objective of the n examples, plus all penalties of parameters (`l2`):
 * so the examples' mean is the objective, and the mean of their gradients its gradient. Where all examples have equally
 * many targets that is the loss of a batch of this one example. Where they do not (`ignoreIndex`), an example with more
 * targets weighs more, and that belongs to the noise, as it does in the gradient of a random batch.
 */
export async function gradientNoise(options: NoiseOptions): Promise<GradientNoise> {
  checkDerivative('gradientNoise', options, { ...derivativeNames, pairs: 'list' });
  const request = noiseRequest(gradientRequest(options));
  await using session = await Session.open(makePlan(request), sessionPart(options));
  return await gradientNoiseOf(session, options.data, options);
}

/**
 * The request for the gradients of `batch` examples, from that of the batch's: M examples a run, each a microbatch. Throws
 * UsageError where examples have no gradient of their own.
 */
export function noiseRequest(request: PlanRequest): PlanRequest {
  const { batch } = Object.values(request.programs)[0]!;
  const mixing = request.model.build(1).graph.nodes.find((n) => n.op?.name === 'batchNorm' || n.op?.accumulates);
  if (mixing) {
    throw new UsageError(
      'noise-batch-norm',
      `${mixing.name} takes the statistics of the batch, so that no example has a loss of its own`,
      { fields: { node: mixing.name }, remedy: 'use layerNorm or groupNorm, or an ONNX file with fixed statistics' },
    );
  }
  const rest = batch % request.microbatches;
  return {
    ...request,
    model: perExampleModel(request.model, batch),
    programs: {
      examples: { batch: request.microbatches, mode: 'gradients', outputs: true },
      ...(rest > 0 ? { last: { batch: rest, mode: 'gradients', outputs: true } } : {}),
    },
    optimizer: undefined,
    inputGradients: false,
    // Each example is computed by itself already.
    invariant: false,
    // Belongs to no microbatch: added here.
    l2: undefined,
  };
}

/** The noise by a session of a `noiseRequest` for the same batch. */
export async function gradientNoiseOf(
  session: Session,
  data: DerivativeOptions['data'],
  options: Pick<NoiseOptions, 'pairs' | 'l2' | 'signal'> & {
    /** Hears of every run: how many examples are done, of how many. */
    readonly onRun?: (done: number, examples: number, run: RunResult) => void;
  } = {},
): Promise<GradientNoise> {
  const { plan } = session;
  const graph = Object.values(plan.graphs)[0]!;
  const axes = batchAxes(graph);
  const examples = examplesOf(data, axes);
  const types = new Map(graph.parameters.filter((p) => !p.node.source!.frozen).map((p) => [p.name, p.type]));
  const penalty = penaltyOf(await session.parameters(), types, options.l2);
  const elements = penalty.gradient.length;
  const accumulator = new NoiseAccumulator({ elements, examples, pairs: options.pairs });
  const perExampleLoss = new Float64Array(examples);
  const gradient = new Float64Array(elements);
  const step = plan.request.programs.examples!.batch;
  for (let first = 0; first < examples; first += step) {
    const end = Math.min(examples, first + step);
    const part = Object.fromEntries(
      [...axes].map(([name, axis]) => [name, axis === null ? data[name]! : rows(data[name]!, axis, first, end)]),
    );
    const run = await session.run(end - first === step ? 'examples' : 'last', part, {
      whole: { tensors: data, samples: examples, first },
      signal: options.signal,
    });
    const losses = run.results.get('output/per_example_loss')!.data;
    for (let i = first; i < end; i++) {
      perExampleLoss[i] = losses[i - first]! + penalty.loss;
      let at = 0;
      for (const [name, type] of types) {
        const size = elementCount(type.shape);
        const { data: all } = run.results.get(`output/per_example_grad/${name}`)!;
        const from = (i - first) * size;
        for (let k = 0; k < size; k++, at++) gradient[at] = all[from + k]! + penalty.gradient[at]!;
      }
      accumulator.add(gradient);
    }
    options.onRun?.(end, examples, run);
  }
  const statistics = accumulator.finish();
  return {
    ...statistics,
    loss: perExampleLoss.reduce((a, b) => a + b, 0) / examples,
    perExampleLoss,
    gradients: byParameter(statistics.mean, types),
  };
}

/** The axis of the batch of every fed tensor; null: it goes whole to every example. */
const batchAxes = (graph: Graph): ReadonlyMap<string, number | null> =>
  new Map(
    graph.sources('input').flatMap(({ node: { source } }) => {
      const { feed, name } = source!;
      return feed?.kind === 'data' ? [[name, feed.batchAxis] as const] : [];
    }),
  );

function examplesOf(data: DerivativeOptions['data'], axes: ReadonlyMap<string, number | null>): number {
  for (const [name, axis] of axes) {
    const size = axis === null ? undefined : data[name]?.type.shape[axis];
    if (size !== undefined) return size;
  }
  const missing = [...axes.keys()].filter((name) => !data[name]);
  throw new UsageError('missing-input', `the data have no tensor ${missing.join(', ')}`, {
    fields: { missing, given: Object.keys(data) },
    remedy: 'give the tensors that the model takes, by the names of its inputs',
  });
}

/** Entries `from` to `to` of one axis. */
function rows({ type, data }: HostTensor, axis: number, from: number, to: number): HostTensor {
  const shape = type.shape.with(axis, to - from);
  const inner = elementCount(type.shape.slice(axis + 1));
  const length = type.shape[axis]! * inner;
  const part = allocate({ ...type, shape });
  const kept = (to - from) * inner;
  for (let o = 0; o * kept < part.length; o++) {
    part.set(data.subarray(o * length + from * inner, o * length + to * inner), o * kept);
  }
  return { type: { ...type, shape }, data: part };
}

/** λ/2 Σ‖w‖² and its gradient, over all parameters in order. */
function penaltyOf(
  values: Tensors,
  types: ReadonlyMap<string, TensorType>,
  l2: PlanRequest['l2'],
): { readonly loss: number; readonly gradient: Float64Array } {
  const gradient = new Float64Array([...types.values()].reduce((n, t) => n + elementCount(t.shape), 0));
  let loss = 0;
  for (const name of l2?.parameters ?? []) for (const w of values.get(name)!.data) loss += (l2!.lambda / 2) * w * w;
  let at = 0;
  for (const [name, type] of types) {
    const lambda = l2?.parameters.includes(name) ? l2.lambda : 0;
    const { data } = values.get(name)!;
    for (let i = 0; i < elementCount(type.shape); i++, at++) gradient[at] = lambda * data[i]!;
  }
  return { loss, gradient };
}

function byParameter(all: Float64Array, types: ReadonlyMap<string, TensorType>): Tensors {
  let at = 0;
  return new Map(
    [...types].map(([name, type]) => {
      const end = at + elementCount(type.shape);
      const data = Float32Array.from(all.subarray(at, end));
      at = end;
      return [name, { type, data }];
    }),
  );
}
