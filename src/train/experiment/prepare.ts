import { findBlas } from '../../backends/blas/library.ts';
import { GraphError, nearest, UsageError } from '../../core/errors.ts';
import { requireKinds } from '../../core/options.ts';
import type { HostTensor } from '../../core/types.ts';
import { listedLinks } from '../../cost/links.ts';
import { analyticCosts } from '../../cost/model.ts';
import { toHostTensor } from '../../formats/raw-tensor.ts';
import { readBytes, readText } from '../../formats/read-file.ts';
import { readSafetensors } from '../../formats/safetensors.ts';
import type { Graph, Tensor } from '../../graph/graph.ts';
import type { ModelConfig } from '../../nn/models/index.ts';
import { type Model, requireModel, someGraph } from '../../optim/model.ts';
import { makeOptimizer, type Optimizer, type OptimizerConfig } from '../../optim/optimizer.ts';
import type { PlannedDevice, PlanRequest, ProgramSpec } from '../../plan/plan.ts';
import { readScheduleCsv } from '../../schedule/csv.ts';
import type { Schedule } from '../../schedule/schedule.ts';
import type { BatchSource } from '../data/source.ts';
import { type ClassTerm, type Evaluator, makeEvaluator, type ValueTerm } from '../evaluate.ts';
import { cyclesMomentum, type LearningRate, makeLearningRate, makeMomentum } from '../learning-rate.ts';
import {
  batchSizeOf,
  dataShapes,
  type HeldOut,
  type OpenedData,
  openData,
  openHeldOut,
  openSource,
  sampleInfo,
  wantedTensors,
} from './data.ts';
import { builtInObjective, completeModel, experimentModel, findParameter } from './model.ts';
import { type OnnxChoice, onnxModel } from './onnx.ts';
import type { Experiment, ObjectiveConfig } from './schema.ts';
import { checkSemantics, defaultBatchSize, deviceCount } from './semantics.ts';

export interface PrepareOptions {
  /** Names the experiment in errors. */
  readonly where: string;
  /** Whether data must be there. */
  readonly needsData?: boolean;
  /** Whether a model without losses of its own must be given some. */
  readonly needsObjective?: boolean;
  /** Batch size where there are no data. */
  readonly batch?: number | undefined;
  /** Batch size where neither data, nor `batch`, nor the model's file say one. */
  readonly defaultBatch?: number;
}

/** An experiment with its model and data at hand. */
export interface PreparedExperiment {
  readonly experiment: Experiment;
  readonly modelConfig: ModelConfig | OnnxChoice;
  readonly model: Model;
  readonly optimizer: Optimizer;
  readonly learningRate: LearningRate;
  /** Momentum of each step, where the rate's rule sets it. */
  readonly momentum: LearningRate | undefined;
  /** Undefined only where data are not needed and not there. */
  readonly source: BatchSource | undefined;
  readonly heldOut: HeldOut | undefined;
  readonly evaluation:
    | { readonly evaluate: Evaluator; readonly every: number; readonly contents?: HeldOut['contents'] }
    | undefined;
  /** Samples of a full step. */
  readonly batch: number;
  /** Samples of the last step of an epoch where they are fewer and the training reaches it. */
  readonly tail: number | undefined;
  readonly steps: number;
}

/** Opens data and builds the model; throws UsageError where they do not fit each other. */
export function prepareExperiment(experiment: Experiment, options: PrepareOptions): PreparedExperiment {
  requireKinds('prepareExperiment', { experiment: ['object', experiment], options: ['record', options] });
  requireKinds('prepareExperiment', { model: ['object', experiment.model], where: ['text', options.where] });
  const { where } = options;
  checkSemantics(experiment, where, options);
  if (!experiment.data && (options.needsData ?? true)) {
    throw new UsageError('experiment-invalid', `${where}: data: required`, {
      fields: {
        file: where,
        problems: [{ key: 'data', expected: 'a file or a data set', got: 'nothing: it is required' }],
      },
      remedy: '--data.kind digits, or --data.file x.safetensors',
    });
  }
  const { data } = experiment;
  const opened = data && openData(experiment, data);
  const { modelConfig, model } = modelFor(experiment, opened);
  const graph = buildOnce(model);
  checkNames(experiment, graph);
  checkBatched(experiment, graph);
  const objective = experiment.objective ?? (modelConfig.kind === 'onnx' ? [] : builtInObjective);
  const terms = classTerms(objective, graph);
  checkClassCount(opened, terms);

  const source = opened && data && openSource(experiment, opened, data, model, terms);
  const first = source?.batchAt(0);
  if (first && options.batch !== undefined) {
    throw new UsageError('command-line', '--batch: the experiment has data, which say the batch', {
      fields: { flag: 'batch', batch: options.batch },
      remedy: opened?.kind === 'set' ? `--data.batchSize ${options.batch}` : 'leave it out',
    });
  }
  const batch = first
    ? batchSizeOf(first.tensors, wantedTensors(model), source!.name)
    : (options.batch ?? model.ownBatch ?? options.defaultBatch ?? defaultBatchSize);
  const steps = stepsOf(experiment, source);
  const tail = source && tailOf(source, model, batch, steps);
  const learningRate = makeLearningRate(experiment.learningRate, experiment.optimizer.lr);
  // A rule with a last step (values, oneCycle) is asked for that of the training before anything runs.
  if (source) learningRate(steps - 1);
  const heldOut = opened && openHeldOut(experiment, opened, model, terms, batch);
  return {
    experiment,
    modelConfig,
    model,
    optimizer: makeOptimizer(experiment.optimizer as OptimizerConfig, {
      cyclesMomentum: cyclesMomentum(experiment.learningRate),
    }),
    learningRate,
    momentum: makeMomentum(experiment.learningRate),
    source,
    heldOut,
    evaluation: heldOut && {
      evaluate: makeEvaluator({
        batches: heldOut.batches,
        terms,
        values: valueTerms(objective),
        single: objective.length === 1 && terms.length === 1 && !experiment.l2,
        perplexity: isOfTokens(modelConfig, experiment),
      }),
      every: experiment.eval?.every ?? source!.stepsPerEpoch,
      contents: heldOut.contents,
    },
    batch,
    tail,
    steps,
  };
}

/** The model, with sizes that the experiment leaves to its data. */
function modelFor(experiment: Experiment, opened: OpenedData | undefined) {
  const { model: choice, data } = experiment;
  if (choice.kind === 'onnx') {
    const shapes = opened && data ? dataShapes(opened, data) : undefined;
    return { modelConfig: choice, model: onnxModel(choice, experiment, shapes) };
  }
  const modelConfig = completeModel(choice, opened && data ? sampleInfo(opened, data) : { from: 'no data' });
  return { modelConfig, model: experimentModel(modelConfig, experiment) };
}

/** Microbatches are put together along the batch's axis: outputs and targets without one exist for a single one only. */
function checkBatched({ microbatches }: Experiment, graph: Graph): void {
  if (microbatches === 1) return;
  const outputs = [...graph.outputs.keys()].filter((name) => graph.batchAxisOf(name) === null);
  const used = new Set(graph.labels.keys());
  const targets = graph
    .sources('input')
    .filter(({ node: { source } }) => source!.feed?.kind === 'data' && source!.feed.batchAxis === null)
    .map((t) => t.node.source!.name)
    .filter((name) => !used.has(name));
  const [name] = [...outputs, ...targets];
  if (name === undefined) return;
  const what = outputs.includes(name) ? 'output' : 'target';
  throw new UsageError(
    'batch-axis',
    `${what} "${name}" is not batched, so there cannot be ${microbatches} microbatches`,
    {
      fields: { key: `batchAxis.${name}`, tensor: name, microbatches },
      remedy: `--microbatches 1, or say where its batch is: --batchAxis.${name} 0`,
    },
  );
}

/** The model's graph for one sample. Sizes it cannot be built with are the experiment's fault. */
function buildOnce(model: Model): Graph {
  try {
    return someGraph(model);
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    throw new UsageError('model-invalid', `model ${model.name}: ${error.message.split('\n')[0]}`, {
      fields: { ...error.fields },
      remedy: error.remedy,
      cause: error,
    });
  }
}

/** What the planner is asked for. `train`: with the programs for a smaller last batch and for evaluation. */
export function planRequestOf(prepared: PreparedExperiment, mode: 'train' | 'gradients'): PlanRequest {
  const { experiment, batch, tail, heldOut } = prepared;
  if (mode === 'train') checkNoise(experiment);
  const norms = { gradientNorm: true, ...(experiment.noise === false ? {} : { gradientNoise: true }) };
  const programs: Record<string, ProgramSpec> = {
    [mode]: mode === 'train' ? { batch, mode, ...norms } : { batch, mode, outputs: true },
  };
  if (mode === 'train') {
    if (tail !== undefined) programs.tail = { batch: tail, mode: 'train', ...norms };
    // Held-out batches have at most two sizes: full ones, and a last smaller one.
    const sizes = [...new Set(heldOut?.batches.map((b) => b.size))];
    sizes.forEach((size, i) => {
      programs[i === 0 ? 'eval' : 'evalTail'] = { batch: size, mode: 'forward', outputs: true };
    });
  }
  const { partition, stagesPerDevice, l2, clip } = experiment;
  const { placement, ...cut } = partition === 'auto' ? { placement: undefined } : partition;
  const { balance, cuts, stages, devices } = cut as Exclude<Experiment['partition'], 'auto'>;
  return {
    model: prepared.model,
    programs,
    microbatches: experiment.microbatches,
    ...devicesOf(experiment),
    ...scheduleOf(experiment),
    partition: cuts ? { cuts } : stages ? { stages } : devices ? { devices } : balance ? { balance } : 'auto',
    ...(placement ? { placement } : {}),
    ...(stagesPerDevice ? { stagesPerDevice } : {}),
    ...(mode === 'train' ? { optimizer: prepared.optimizer, clip } : { inputGradients: true }),
    ...(l2 ? { l2 } : {}),
    ...(experiment.invariant ? { invariant: true } : {}),
    ...(experiment.simd === 'strict' ? {} : { simd: experiment.simd }),
    ...(experiment.recompute === 'none' ? {} : { recompute: experiment.recompute }),
    fusion: experiment.fusion,
    batchNorm: experiment.batchNorm,
    ...linksOf(experiment),
  };
}

/** One gradient a step has nothing to compare with. */
function checkNoise({ noise, microbatches, invariant, batchNorm }: Experiment): void {
  if (noise !== false && batchNorm === 'exact') {
    throw new UsageError(
      'noise-batch-norm',
      'noise: with batchNorm exact the gradients of the microbatches depend on each other, and their differences are not noise',
      { fields: { key: 'noise', batchNorm }, remedy: '--batchNorm micro' },
    );
  }
  if (noise === false || microbatches > 1 || invariant) return;
  throw new UsageError(
    'noise-microbatches',
    'noise: a step of one microbatch does not tell how noisy its gradient is',
    {
      fields: { key: 'noise', microbatches },
      remedy: '--microbatches 2, or "partita noise" for the noise of one batch',
    },
  );
}

/** With a library, the WebAssembly devices call it for products. */
function devicesOf({ devices, blas }: Experiment): Pick<PlanRequest, 'devices' | 'blas'> {
  const wasm = blas === 'off' ? 'wasm' : 'blas';
  const list: PlannedDevice[] =
    typeof devices === 'number'
      ? Array.from({ length: devices }, () => ({ backend: wasm, memory: null, speed: 1 }))
      : devices.map(({ backend, memory, speed }) => ({
          backend: backend === 'wasm' ? wasm : backend,
          memory: memory ?? null,
          speed,
        }));
  return blas === 'off' ? { devices: list } : { devices: list, blas: findBlas(blas) };
}

function linksOf(experiment: Experiment): Pick<PlanRequest, 'costs'> {
  const { links } = experiment;
  if (links === undefined) return {};
  const link = Array.isArray(links)
    ? listedLinks(links, deviceCount(experiment))
    : { bytesPerSecond: links.bandwidth, secondsLatency: links.latency };
  return { costs: analyticCosts({ link }) };
}

function scheduleOf({ schedule }: Experiment): Pick<PlanRequest, 'schedule'> {
  if (schedule === undefined) return {};
  return { schedule: typeof schedule === 'string' ? schedule : readScheduleFile(schedule.file) };
}

const readScheduleFile = (file: string): Schedule => readScheduleCsv(readText(file), { name: file });

function stepsOf({ steps, epochs }: Experiment, source: BatchSource | undefined): number {
  const total = steps ?? (epochs ?? 1) * (source?.stepsPerEpoch ?? 1);
  if (source && total > source.steps) {
    throw new UsageError('data-exhausted', `${source.name} holds ${source.steps} steps, and ${total} are asked for`, {
      fields: { data: source.name, steps: source.steps, asked: total },
      remedy: `--steps ${source.steps}`,
    });
  }
  return total;
}

function tailOf(source: BatchSource, model: Model, batch: number, steps: number): number | undefined {
  const last = source.stepsPerEpoch - 1;
  if (last < 1 || last >= steps) return undefined;
  const size = batchSizeOf(source.batchAt(last).tensors, wantedTensors(model), source.name);
  return size === batch ? undefined : size;
}

function classTerms(objective: readonly ObjectiveConfig[], graph: Graph): ClassTerm[] {
  return objective.flatMap((term) =>
    term.kind === 'crossEntropy' || term.kind === 'nll'
      ? [
          {
            output: term.output,
            target: term.target,
            classes: graph.outputs.get(term.output)!.shape.at(-1)!,
            ignoreIndex: term.ignoreIndex ?? null,
            values: term.kind === 'nll' ? 'logProbabilities' : 'logits',
          },
        ]
      : [],
  );
}

/** Whether the classes are tokens, whose cross entropy people read as perplexity. */
const isOfTokens = (model: ModelConfig | OnnxChoice, { data }: Experiment): boolean =>
  model.kind === 'gpt' || (model.kind === 'lstm' && model.vocab !== undefined) || data?.kind === 'text';

const valueTerms = (objective: readonly ObjectiveConfig[]): ValueTerm[] =>
  objective.flatMap((term) =>
    term.kind === 'mse' || term.kind === 'bce' || term.kind === 'bceWithLogits'
      ? [{ output: term.output, target: term.target, kind: term.kind }]
      : [],
  );

function checkClassCount(opened: OpenedData | undefined, terms: readonly ClassTerm[]): void {
  const classes = opened?.kind === 'set' ? opened.train.classes : undefined;
  const small = terms.find((t) => classes !== undefined && t.target === 'y' && t.classes < classes);
  if (!small || opened?.kind !== 'set') return;
  throw new UsageError(
    'target-class',
    `${opened.train.name} has ${classes} classes, and output ${small.output} has ${small.classes}`,
    {
      fields: { data: opened.train.name, classes, outputClasses: small.classes },
      remedy: `leave the model's number of classes out, or make it ${classes}`,
    },
  );
}

/** Names of parameters and tensors that the experiment mentions. */
function checkNames({ model, frozen, l2, optimizer, batchAxis }: Experiment, graph: Graph): void {
  // In an ONNX file any initialiser can be frozen: the import has compared their names.
  if (model.kind !== 'onnx') for (const name of frozen) findParameter(graph, name, 'frozen');
  for (const name of l2?.parameters ?? []) findParameter(graph, name, 'l2.parameters');
  for (const name of optimizer.noDecay ?? []) findParameter(graph, name, 'optimizer.noDecay');
  const axes = new Map<string, number | null>([...graph.outputs.keys()].map((name) => [name, 0]));
  for (const t of graph.sources('input')) {
    const { name, feed } = t.node.source!;
    if (feed?.kind === 'data') axes.set(name, feed.batchAxis);
  }
  for (const [name, axis] of Object.entries(batchAxis)) {
    const own = axes.get(name);
    if (own === undefined) {
      const near = nearest(name, axes.keys());
      throw new UsageError(
        'unknown-tensor',
        `batchAxis: no input, target or output is named "${name}"${near ? `; did you mean "${near}"?` : ''}`,
        {
          fields: { key: `batchAxis.${name}`, nearest: near ?? null, tensors: [...axes.keys()] },
          remedy: near,
        },
      );
    }
    // What an ONNX file says of its axes, the import has compared.
    if (model.kind !== 'onnx' && axis !== own) {
      throw new UsageError(
        'batch-axis',
        `batchAxis.${name}: the built-in models have the batch of ${name} on axis ${own}, not ${axis}`,
        {
          fields: { key: `batchAxis.${name}`, axis, expected: own },
          remedy: 'leave it out',
        },
      );
    }
  }
}

/** What is wrong with a file that a command wrote for its results, whose names say what they are of; undefined: it is none. */
function resultOf(tensors: ReadonlyMap<string, unknown>): string | undefined {
  const names = [...tensors.keys()];
  if (names.some((name) => name.startsWith('final/'))) {
    return 'is the result of a training (its --out), and holds losses and rates beside final/PARAM';
  }
  if (names.some((name) => /^(grad|hvp|gradpen)\//.test(name))) return 'is the result of a derivative (its --out)';
  return undefined;
}

/** First values of parameters, and of buffers where they are there, from a file; its names must be the model's. */
export function readParameters(file: string, model: Model): Map<string, HostTensor> {
  requireModel('readParameters', model);
  const tensors = readSafetensors(readBytes(file), file);
  const graph = someGraph(model);
  const buffers = graph.sources('buffer').filter((b) => tensors.has(b.name));
  const names = graph.parameters.map((p) => p.name);
  // Frozen parameters with values of their own (initialisers of an ONNX file) keep them.
  const kept = ({ node }: Tensor) => node.source!.frozen === true && node.source!.init!.kind === 'data';
  const missing = graph.parameters.flatMap((p) => (tensors.has(p.name) || kept(p) ? [] : [p.name]));
  const foreign = [...tensors.keys()].filter((name) => !names.includes(name) && !buffers.some((b) => b.name === name));
  if (missing.length > 0 || foreign.length > 0) {
    const parts = [
      missing.length > 0 ? `lacks ${missing.join(', ')}` : '',
      foreign.length > 0 ? `has ${foreign.join(', ')}, which the model has not` : '',
    ].filter(Boolean);
    throw new UsageError('parameters-mismatch', `${file} ${resultOf(tensors) ?? parts.join(' and ')}`, {
      fields: { file, missing, foreign, parameters: names },
      remedy: resultOf(tensors)
        ? "give params.safetensors of a run's folder (--run-dir), or of a checkpoint"
        : 'give the file that belongs to this model',
    });
  }
  return new Map(
    [...graph.parameters.filter((p) => tensors.has(p.name)), ...buffers].map((p) => {
      const value = toHostTensor(tensors.get(p.name)!, p.dtype, `${file}: "${p.name}"`);
      if (value.type.shape.join() !== p.shape.join()) {
        throw new UsageError(
          'parameters-mismatch',
          `${file}: "${p.name}" is [${value.type.shape.join(', ')}] and the model's is [${p.shape.join(', ')}]`,
          {
            fields: { file, parameter: p.name, shape: value.type.shape, expected: p.shape },
            remedy: 'give the file that belongs to this model',
          },
        );
      }
      return [p.name, value];
    }),
  );
}
