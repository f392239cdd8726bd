/** What must be equal for a checkpoint to be resumed: all that decides the bits. The layout decides none. */

import { createHash } from 'node:crypto';
import { isRecord } from '../../core/kinds.ts';
import { formatType } from '../../core/types.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Source } from '../../graph/source.ts';
import { batchNormOp } from '../../ops/batch-norm.ts';
import { someGraph } from '../../optim/model.ts';
import type { Plan, PlanRequest } from '../../plan/plan.ts';
import type { ContentVisitor } from '../data/dataset.ts';
import type { BatchSource } from '../data/source.ts';
import { defaultNoiseDecay, type NoiseAverageOptions } from '../noise-tracker.ts';

/** JSON: the experiment's words where it has some, SHA-256 of what is too long to be compared by words. */
export type TrainingIdentity = Readonly<Record<string, unknown>>;

export interface IdentityOptions {
  readonly plan: Plan;
  readonly seed: number;
  readonly data: BatchSource;
  /** How the gradient noise is averaged, where the plan estimates it. */
  readonly noise?: NoiseAverageOptions | undefined;
  /** The held-out samples. */
  readonly evaluation?: { readonly contents?: ((visit: ContentVisitor) => void) | undefined } | undefined;
}

/** Whether a part of a request only says where and when something is computed, and decides no bits. */
const isLayout: Readonly<Record<keyof PlanRequest, boolean>> = {
  model: false,
  programs: false,
  microbatches: false,
  optimizer: false,
  clip: false,
  l2: false,
  batchNorm: false,
  inputGradients: false,
  invariant: false,
  simd: false,
  devices: true,
  schedule: true,
  partition: true,
  placement: true,
  stagesPerDevice: true,
  decided: true,
  stageSeconds: true,
  recompute: true,
  fusion: true,
  lifetimes: true,
  blas: false,
  costs: true,
  cluster: true,
};

export function trainingIdentity({ plan, seed, data, noise, evaluation }: IdentityOptions): TrainingIdentity {
  const {
    model,
    optimizer,
    programs,
    microbatches,
    batchNorm = 'micro',
    simd = 'strict',
    blas,
    ...rest
  } = plan.request;
  const graph = someGraph(model, 'training');
  const program = Object.values(programs).find(({ mode }) => mode === 'train');
  const normalizes = graph.nodes.some(({ op }) => op?.name === batchNormOp.name);
  const identity = {
    // What is switched off may as well not be there.
    ...Object.fromEntries(Object.entries(rest).filter(([key, value]) => !isLayout[key as keyof PlanRequest] && value)),
    // In invariant mode every number of microbatches gives the same bits.
    ...(rest.invariant ? {} : { microbatches }),
    // Not named before there was a choice.
    ...(simd === 'strict' ? {} : { simd }),
    // Without batch normalisation all its modes are the same.
    ...(normalizes ? { batchNorm } : {}),
    // Decides no parameter, but what is told of every step.
    ...(program?.gradientNoise ? { noise: { decay: noise?.decay ?? defaultNoiseDecay } } : {}),
    // Another library, or the same with kernels for another processor, rounds otherwise.
    ...(blas ? { blas: blas.version } : {}),
    seed,
    // The rate enters by the rates of the steps themselves, which are compared one by one.
    optimizer: optimizer?.settings ?? {},
    model: {
      parameters: typesOf(graph, 'parameter'),
      buffers: typesOf(graph, 'buffer'),
      graph: fingerprint((visit) =>
        describeGraph(graph, model.build(model.ownBatch ?? 1, 'training').objective, visit),
      ),
    },
    data: {
      order: data.order ?? `steps of ${program?.batch} samples`,
      samples: fingerprint(data.contents ?? someBatches(data)),
    },
    heldOut: evaluation?.contents ? fingerprint(evaluation.contents) : null,
  };
  // As it will be read again: without what JSON leaves out.
  return JSON.parse(JSON.stringify(identity)) as TrainingIdentity;
}

/** A difference between a checkpoint and the training that would resume it. */
export interface Difference {
  /** Dotted. */
  readonly key: string;
  /** In words. */
  readonly text: string;
}

export function differencesOf(saved: TrainingIdentity, here: TrainingIdentity): Difference[] {
  const found = leafDifferences(saved, here, []).map((leaf) => ({ ...leaf, key: leaf.path.join('.') }));
  const otherTensors = found.some(({ path }) => path[0] === 'model' && path[1] !== 'graph');
  const differs = (key: string) => found.some((leaf) => leaf.key === key);
  /** Differences that another one brings with it are not told. */
  const follows = (key: string): boolean =>
    (key === 'model.graph' && otherTensors) ||
    // In invariant mode there is no number of microbatches.
    (key === 'microbatches' && differs('invariant')) ||
    // Another kind has other settings and other defaults.
    (key.startsWith('optimizer.') && key !== 'optimizer.kind' && differs('optimizer.kind'));
  return found
    .filter(({ key }) => !follows(key))
    .map(({ key, saved: then, here: now }) => ({ key, text: explain(key, then, now) }));
}

function explain(key: string, saved: unknown, here: unknown): string {
  switch (key) {
    case 'model.graph':
      return 'the model computes something else with the same parameters (another activation, loss, setting of a layer, or made by another version)';
    case 'data.order':
      return `the samples are taken in another order: ${saved} in the checkpoint, ${here} here`;
    case 'data.samples':
      return 'the data hold other samples';
    case 'heldOut':
      return saved === null || here === null
        ? `${here === null ? 'the checkpoint has' : 'the checkpoint has no'} evaluation`
        : 'the held-out data hold other samples';
    case 'simd':
      return `simd is ${saved ?? 'strict'} in the checkpoint and ${here ?? 'strict'} here, which rounds otherwise`;
    case 'microbatches':
      return `microbatches is ${saved === undefined ? 'not told' : show(saved)} in the checkpoint and ${show(here)} here, which adds in another order`;
    default: {
      const [name, then, now] = [key.replace(/^model\.(parameters|buffers)\./, ''), show(saved), show(here)];
      if (saved === undefined) return `${name} is not in the checkpoint, and ${now} here`;
      if (here === undefined) return `${name} is ${then} in the checkpoint, and not there here`;
      return `${name} is ${then} in the checkpoint and ${now} here`;
    }
  }
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

interface Leaf {
  readonly path: readonly string[];
  readonly saved: unknown;
  readonly here: unknown;
}

function leafDifferences(saved: unknown, here: unknown, path: readonly string[]): Leaf[] {
  if (isRecord(saved) && isRecord(here)) {
    const keys = new Set([...Object.keys(saved), ...Object.keys(here)]);
    return [...keys].flatMap((key) => leafDifferences(saved[key], here[key], [...path, key]));
  }
  return JSON.stringify(saved) === JSON.stringify(here) ? [] : [{ path, saved, here }];
}

const typesOf = (graph: Graph, kind: 'parameter' | 'buffer'): Record<string, string> =>
  Object.fromEntries(
    graph.sources(kind).map((t) => [t.name, `${formatType(t.type)}${t.node.source!.frozen ? ', frozen' : ''}`]),
  );

/** SHA-256 of all that is visited. Each part is preceded by its length, so that no two sequences of parts are one. */
function fingerprint(contents: (visit: ContentVisitor) => void): string {
  const found = known.get(contents);
  if (found !== undefined) return found;
  const hash = createHash('sha256');
  contents((part) => {
    const bytes =
      typeof part === 'string' ? Buffer.from(part) : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    hash.update(`${bytes.byteLength}:`).update(bytes);
  });
  const digest = hash.digest('hex');
  known.set(contents, digest);
  return digest;
}

/** Data do not change while they are open, and may be long: each is read once. */
const known = new WeakMap<object, string>();

/** Stands for the contents of a source that does not tell them: the batches at both ends of an epoch. */
const someBatches =
  (data: BatchSource) =>
  (visit: ContentVisitor): void => {
    for (const step of new Set([0, Math.max(0, data.stepsPerEpoch - 1)])) {
      for (const [name, { type, data: values }] of Object.entries(data.batchAt(step).tensors)) {
        visit(JSON.stringify([name, type.dtype, type.shape]));
        visit(values);
      }
    }
  };

/** Nodes, edges and constants: the model as a computation. First values of parameters are no part of it. */
function describeGraph(
  graph: Graph,
  objective: ReturnType<Plan['request']['model']['build']>['objective'],
  visit: ContentVisitor,
): void {
  for (const node of graph.nodes) {
    const edges = node.inputs.map((t) => [t.node.id, t.index]);
    const types = node.outputs.map((t) => formatType(t.type));
    visit(JSON.stringify([node.name, node.op?.name, node.attrs, sourceOf(node.source), edges, types]));
    if (node.source?.value) visit(node.source.value);
  }
  visit(JSON.stringify([...graph.outputs].map(([name, t]) => [name, t.node.id, t.index])));
  visit(JSON.stringify(graph.assignments.map(({ target, value }) => [target.node.id, value.node.id, value.index])));
  visit(JSON.stringify(objective.map(({ loss, weight }) => [loss.node.id, loss.index, weight])));
}

const sourceOf = (source: Source | undefined) => source && [source.kind, source.name, source.feed, source.frozen];
