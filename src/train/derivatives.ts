/**
 * Derivatives of a model's objective, of any layout: one device or a pipeline, any schedule and microbatch count, with the
 * same bits for every layout and memory as planned.
 *
 *     const { loss, gradients } = await valueAndGrad({ model, data: { x, y }, devices: 3, microbatches: 4 });
 *     const { hvp } = await hessianVectorProduct({ model, data: { x, y }, direction: gradients, devices: 3 });
 */
import { UsageError } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import { checkOptions, type OptionNames, requireArgument } from '../core/options.ts';
import { elementCount, type HostTensor, sameShape } from '../core/types.ts';
import type { Graph } from '../graph/graph.ts';
import { normalizesByWholeBatch, withBatchNorm } from '../optim/batch-norm.ts';
import {
  directionName,
  gradientPenaltyModel,
  hessianVectorModel,
  isWholeBatch,
  perExampleModel,
} from '../optim/higher-order.ts';
import { type Model, requireModel, someGraph } from '../optim/model.ts';
import { makePlan, type PlannedDevice, type PlanRequest } from '../plan/plan.ts';
import { requireBatch, requireHostTensor, requireTensorMap } from './check-session.ts';
import { type RunResult, Session, type SessionOptions } from './session.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

export interface DerivativeOptions
  extends Partial<
      Pick<
        PlanRequest,
        | 'microbatches'
        | 'schedule'
        | 'partition'
        | 'placement'
        | 'l2'
        | 'costs'
        | 'batchNorm'
        | 'invariant'
        | 'simd'
        | 'blas'
      >
    >,
    Pick<SessionOptions, 'seed' | 'parameters' | 'transport' | 'audit'> {
  readonly model: Model;
  /** The whole batch: the model's inputs and targets by name. */
  readonly data: Readonly<Record<string, HostTensor>>;
  /** Default 1. A count means wasm devices with as much memory as needed, which take products to `blas` where it is given. */
  readonly devices?: number | readonly PlannedDevice[];
  readonly signal?: AbortSignal;
}

export const derivativeNames: OptionNames<DerivativeOptions> = {
  model: 'required',
  data: 'required',
  devices: true,
  signal: 'signal',
  microbatches: 'count',
  schedule: true,
  partition: true,
  placement: true,
  l2: true,
  costs: true,
  batchNorm: true,
  invariant: true,
  simd: true,
  blas: true,
  seed: 'index',
  parameters: 'map',
  transport: true,
  audit: 'flag',
};

/** Throws UsageError for options of the derivative `what` that it has not, and where they hold no model or no batch. */
export function checkDerivative<O extends Pick<DerivativeOptions, 'model' | 'data' | 'devices'>>(
  what: string,
  options: O,
  names: OptionNames<O>,
): void {
  checkOptions(what, options, names);
  requireModel(what, options.model);
  requireBatch(what, options.data);
  for (const [name, tensor] of Object.entries(options.data)) {
    // The sizes of the batch are read before a session looks at its values.
    const { dtype, shape } = tensor?.type ?? {};
    if (tensor === undefined || (typeof dtype === 'string' && Array.isArray(shape))) continue;
    requireHostTensor(what, name, tensor);
  }
  const { devices } = options;
  const areDevices = devices === undefined || isOfKind('count', devices) || Array.isArray(devices);
  requireArgument(what, areDevices, 'devices, a count or a list', devices, 'devices: 2');
}

/** What is the session's own among the options of a derivative. */
export const sessionPart = ({ seed, parameters, transport, audit, signal }: SessionOptions): SessionOptions => ({
  seed,
  parameters,
  transport,
  audit,
  signal,
});

export interface GradientResult {
  readonly loss: number;
  /** By parameter, whole batch; zeros where the objective does not depend on one. */
  readonly gradients: Tensors;
  /** By f32 input. */
  readonly inputGradients: Tensors;
  /** By output, whole batch. */
  readonly outputs: Tensors;
  /** Running statistics behind the step. */
  readonly buffers: Tensors;
}

/** ∂J/∂θ by parameter name (JAX's `grad`). */
export const grad = async (options: DerivativeOptions): Promise<Tensors> => (await valueAndGrad(options)).gradients;

/** The objective and its gradients by every parameter and f32 input (JAX's `value_and_grad`). */
export async function valueAndGrad(options: DerivativeOptions): Promise<GradientResult> {
  checkDerivative('valueAndGrad', options, derivativeNames);
  const request: PlanRequest = {
    ...requestOf(options),
    programs: { gradients: { batch: batchOf(options), mode: 'gradients', outputs: true } },
    inputGradients: true,
  };
  const results = await runOnce(request, options, options.data);
  return {
    loss: results.get('loss')!.data[0]!,
    gradients: below('grad/', results),
    inputGradients: below('grad_input/', results),
    outputs: below('output/', results),
    buffers: below('buffer/', results),
  };
}

export interface HessianVectorResult {
  readonly loss: number;
  readonly gradients: Tensors;
  /** H·v by parameter. */
  readonly hvp: Tensors;
  /** vᵀ·H·v */
  readonly vhv: number;
}

/**
 * The Hessian of the objective times a vector, without the Hessian: gradient of ⟨∂J/∂θ, v⟩ (Pearlmutter 1994). `direction`
 * holds v by parameter, in its shape. Throws UsageError naming what is missing or of another shape.
 */
export async function hessianVectorProduct(
  options: DerivativeOptions & { readonly direction: Tensors },
): Promise<HessianVectorResult> {
  checkDerivative('hvp', options, { ...derivativeNames, direction: 'required map' });
  requireTensorMap('hvp: direction', options.direction);
  const request = hessianVectorRequest(requestOf(options));
  const fed = directionFeeds(someGraph(request.model), options.direction, 'direction');
  const results = await runOnce(request, options, { ...options.data, ...fed });
  return {
    loss: results.get('loss')!.data[0]!,
    gradients: below('grad/', results),
    hvp: below('hvp/', results),
    vhv: results.get('vhv')!.data[0]!,
  };
}

export interface GradientPenaltyResult {
  readonly loss: number;
  /** Σ (∂J/∂z)² */
  readonly penalty: number;
  /** ∂penalty/∂θ by parameter. */
  readonly gradients: Tensors;
}

/** P = Σ (∂J/∂z)² over the entries of the tensor that `at` names (an input, or any value of the model), and ∂P/∂θ. */
export async function gradientPenalty(
  options: DerivativeOptions & { readonly at: string },
): Promise<GradientPenaltyResult> {
  checkDerivative('gradientPenalty', options, { ...derivativeNames, at: 'required text' });
  const results = await runOnce(gradientPenaltyRequest(requestOf(options), options.at), options, options.data);
  return {
    loss: results.get('loss')!.data[0]!,
    penalty: results.get('penalty')!.data[0]!,
    gradients: below('gradpen/', results),
  };
}

export interface Hessian {
  /** Row-major [n, n]. */
  readonly matrix: HostTensor;
  /** Where each parameter's elements begin among the n. */
  readonly offsets: ReadonlyMap<string, number>;
}

/**
 * The full Hessian of a small model: row i is H·eᵢ, elements in the order of the parameters in the graph, each row-major.
 * n Hessian-vector products; throws UsageError where the matrix would not fit (n above 16,384).
 */
export async function hessian(options: DerivativeOptions): Promise<Hessian> {
  checkDerivative('hessian', options, derivativeNames);
  const plan = makePlan(hessianRequest(requestOf(options)));
  await using session = await Session.open(plan, sessionPart(options));
  return await hessianOf(session, options.data, { signal: options.signal });
}

/** The Hessian by a session of a `hessianRequest`. */
export async function hessianOf(
  session: Session,
  data: DerivativeOptions['data'],
  options: {
    readonly signal?: AbortSignal;
    /** Hears of every row: how many there are, and the run that made it. */
    readonly onRow?: (row: number, n: number, run: RunResult) => void;
  } = {},
): Promise<Hessian> {
  const [program] = Object.keys(session.plan.programs);
  const parameters = trainedParameters(session.plan.graphs[program!]!);
  const offsets = new Map<string, number>();
  let n = 0;
  for (const [name, type] of parameters) {
    offsets.set(name, n);
    n += elementCount(type.shape);
  }
  const matrix = new Float32Array(n * n);
  const direction = new Map(
    [...parameters].map(([name, type]) => [name, { type, data: new Float32Array(elementCount(type.shape)) }]),
  );
  const fed = Object.fromEntries([...direction].map(([name, v]) => [directionName(name), v]));
  let row = 0;
  for (const v of direction.values()) {
    for (let i = 0; i < v.data.length; i++, row++) {
      v.data[i] = 1;
      const run = await session.run(program!, { ...data, ...fed }, { signal: options.signal });
      v.data[i] = 0;
      for (const [name, offset] of offsets) matrix.set(run.results.get(`hvp/${name}`)!.data, row * n + offset);
      options.onRow?.(row + 1, n, run);
    }
  }
  return { matrix: { type: { dtype: 'f32', shape: [n, n] }, data: matrix }, offsets };
}

/** 1 GiB of f32. */
const largestHessian = 2 ** 14;

/** The request for the products that make the Hessian of the objective of `request`; throws UsageError where it is too large. */
export function hessianRequest(request: PlanRequest): PlanRequest {
  const types = [...trainedParameters(someGraph(request.model)).values()];
  const n = types.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  if (n > largestHessian) {
    throw new UsageError('hessian-size', `the Hessian of ${n} parameters has ${n}² elements`, {
      fields: { parameters: n, most: largestHessian },
      remedy: 'freeze parameters, or take Hessian-vector products: partita hvp --direction FILE',
    });
  }
  return hessianVectorRequest(request);
}

/**
 * The gradient of every sample's own loss, [batch, …shape] by parameter: its share of the objective times the number of
 * samples, so that their mean is the batch's gradient. Penalties of parameters (`l2`) belong to no sample and are left out.
 * Runs one sample a microbatch.
 */
export async function perExampleGradients(options: DerivativeOptions): Promise<Tensors> {
  checkDerivative('perExampleGradients', options, derivativeNames);
  const results = await runOnce(perExampleRequest(requestOf(options)), options, options.data);
  return below('output/per_example_grad/', results);
}

/** The request for H·v where `request` is that of the gradients. */
export const hessianVectorRequest = (request: PlanRequest): PlanRequest =>
  derived(request, hessianVectorModel(modelInMode(request), request.l2));

/** The request for a gradient penalty. Throws UsageError where its tensor is complete only behind all microbatches. */
export function gradientPenaltyRequest(request: PlanRequest, at: string): PlanRequest {
  const { batch } = Object.values(request.programs)[0]!;
  if (request.microbatches > 1 && isWholeBatch(request.model, batch, at)) {
    throw new UsageError(
      'penalty-whole-batch',
      `${at} is the same for every microbatch, so ∂J/∂${at} is complete only behind the last of them`,
      { fields: { tensor: at, microbatches: request.microbatches }, remedy: '--microbatches 1' },
    );
  }
  return derived(request, gradientPenaltyModel(modelInMode(request), at, request.l2));
}

/** The request for per-example gradients: one sample a microbatch. */
function perExampleRequest(request: PlanRequest): PlanRequest {
  const { batch } = Object.values(request.programs)[0]!;
  const model = modelInMode(request);
  if (normalizesByWholeBatch(someGraph(model))) {
    throw new UsageError(
      'per-example-batch-norm',
      'with batchNorm exact the loss of a sample depends on all others, so it has no gradient of its own',
      { fields: { batchNorm: 'exact' }, remedy: '--batchNorm micro' },
    );
  }
  return {
    ...derived(request, perExampleModel(model, batch)),
    programs: { gradients: { batch, mode: 'gradients', outputs: true } },
    microbatches: batch,
  };
}

/** What is differentiated is the model with its batch normalisation settled. */
const modelInMode = ({ model, batchNorm = 'micro' }: PlanRequest): Model => withBatchNorm(model, batchNorm);

function derived(request: PlanRequest, model: Model): PlanRequest {
  const { batch } = Object.values(request.programs)[0]!;
  return {
    ...request,
    model,
    programs: { gradients: { batch, mode: 'gradients' } },
    l2: undefined,
    batchNorm: undefined,
    optimizer: undefined,
    clip: undefined,
    inputGradients: false,
  };
}

/**
 * Feeds of a direction; every trained parameter must be there, in its shape. `where` names it in errors, and `prefix` stands in
 * front of the names of its tensors there.
 */
export function directionFeeds(
  graph: Graph,
  direction: Tensors,
  where: string,
  prefix = '',
): Record<string, HostTensor> {
  const problems: string[] = [];
  const fed: Record<string, HostTensor> = {};
  for (const [name, type] of trainedParameters(graph)) {
    const v = direction.get(name);
    if (!v) problems.push(`lacks ${prefix}${name}`);
    else if (v.type.dtype !== 'f32' || !sameShape(v.type.shape, type.shape)) {
      problems.push(
        `has ${prefix}${name} as ${v.type.dtype}[${v.type.shape.join(', ')}] where the parameter is f32[${type.shape.join(', ')}]`,
      );
    } else fed[directionName(name)] = v;
  }
  if (problems.length > 0) {
    throw new UsageError('direction-mismatch', `${where} ${problems.join(', ')}`, {
      fields: { where, problems },
      remedy: 'give one tensor for every parameter that is not frozen',
    });
  }
  return fed;
}

const trainedParameters = (graph: Graph) =>
  new Map(graph.parameters.filter((p) => !p.node.source!.frozen).map((p) => [p.name, p.type]));

/** The request for the gradients of a batch. */
export const gradientRequest = (options: DerivativeOptions): PlanRequest => requestOf(options);

function requestOf(options: DerivativeOptions): PlanRequest {
  const { model, devices = 1, microbatches = 1, schedule, partition = 'auto' } = options;
  const { placement, l2, costs, batchNorm, invariant, simd, blas } = options;
  return {
    model,
    programs: { gradients: { batch: batchOf(options), mode: 'gradients' } },
    microbatches,
    devices:
      typeof devices === 'number'
        ? Array.from({ length: devices }, () => ({
            backend: blas ? ('blas' as const) : ('wasm' as const),
            memory: null,
            speed: 1,
          }))
        : devices,
    partition,
    ...(schedule ? { schedule } : {}),
    ...(placement ? { placement } : {}),
    ...(l2 ? { l2 } : {}),
    ...(costs ? { costs } : {}),
    ...(blas ? { blas } : {}),
    ...(invariant ? { invariant } : {}),
    ...(batchNorm ? { batchNorm } : {}),
    ...(simd ? { simd } : {}),
  };
}

/** Samples of the batch: the size of the first input that has a batch axis. */
function batchOf({ model, data }: DerivativeOptions): number {
  for (const t of someGraph(model).sources('input')) {
    const { feed, name } = t.node.source!;
    if (feed?.kind !== 'data' || feed.batchAxis === null) continue;
    const size = data[name]?.type?.shape[feed.batchAxis];
    if (size !== undefined) return size;
  }
  throw new UsageError('data-batch', 'none of the data has a batch axis', {
    fields: { given: Object.keys(data) },
    remedy: 'give the tensors that the model takes, by the names of its inputs',
  });
}

async function runOnce(
  request: PlanRequest,
  options: DerivativeOptions,
  data: DerivativeOptions['data'],
): Promise<Tensors> {
  await using session = await Session.open(makePlan(request), sessionPart(options));
  const { results } = await session.run('gradients', data, { signal: options.signal });
  return results;
}

/** The results whose names begin with a prefix, without it. */
const below = (prefix: string, results: Tensors): Tensors =>
  new Map(
    [...results].flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t] as const] : [])),
  );
