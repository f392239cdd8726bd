import { GraphError, nearest, UsageError } from '../../core/errors.ts';
import type { Shape } from '../../core/types.ts';
import type { Graph, Node, Tensor } from '../../graph/graph.ts';
import * as losses from '../../losses/index.ts';
import { type ModelConfig, modelOf } from '../../nn/models/index.ts';
import type { Model } from '../../optim/model.ts';
import type { Experiment, ModelChoice, ObjectiveConfig } from './schema.ts';

/** What data tell about a model's sizes. */
export interface SampleInfo {
  /** Shape of one sample of `x`. */
  readonly sampleShape?: Shape;
  /** Classes, or tokens, or target values a sample. */
  readonly classes?: number;
  /** Where this comes from, for errors. */
  readonly from: string;
}

/** A built-in model as the experiment has it. */
export type BuiltInChoice = Exclude<ModelChoice, { kind: 'onnx' }>;

/** Fills sizes that the experiment leaves to the data. */
export function completeModel(model: BuiltInChoice, info: SampleInfo): ModelConfig {
  const missing: string[] = [];
  const need = <T>(key: string, value: T | undefined): T => {
    if (value === undefined) missing.push(`model.${key}`);
    return value!;
  };
  const config = ((): ModelConfig => {
    switch (model.kind) {
      case 'mlp':
        return {
          ...model,
          inputs: need('inputs', model.inputs ?? info.sampleShape),
          classes: need('classes', model.classes ?? info.classes),
        };
      case 'lenet':
      case 'resnet':
      case 'unet': {
        const image = info.sampleShape?.length === 3 ? info.sampleShape : undefined;
        return {
          ...model,
          channels: model.channels ?? image?.[0] ?? 1,
          size: need('size', model.size ?? image?.slice(1)),
          classes: need('classes', model.classes ?? info.classes),
        };
      }
      case 'gpt':
        return {
          ...model,
          vocab: need('vocab', model.vocab ?? info.classes),
          context: need('context', model.context ?? (info.sampleShape?.length === 1 ? info.sampleShape[0] : undefined)),
        };
      case 'lstm': {
        // [T] tokens, or [T, features] numbers.
        const sample = info.sampleShape && info.sampleShape.length <= 2 ? info.sampleShape : [];
        const inputs = model.inputs ?? (model.vocab === undefined ? sample[1] : undefined);
        return {
          ...model,
          inputs,
          vocab: inputs === undefined ? need('vocab', model.vocab ?? info.classes) : undefined,
          classes: inputs === undefined ? model.classes : need('classes', model.classes ?? info.classes),
          context: need('context', model.context ?? sample[0]),
        };
      }
    }
  })();
  if (missing.length > 0) {
    throw new UsageError('model-size', `${missing.join(', ')}: required, as ${info.from} do not tell`, {
      fields: { missing },
      remedy: missing.map((key) => `--${key} N`).join(' '),
    });
  }
  return dropUndefined(config);
}

const dropUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;

/** The losses of the built-in models. */
export const builtInObjective: readonly ObjectiveConfig[] = [
  { kind: 'crossEntropy', output: 'logits', target: 'y', weight: 1, ignoreIndex: undefined },
];

/** The experiment's model with its objective and frozen parameters, as a function of the batch size. */
export function experimentModel(config: ModelConfig, { objective, frozen }: Experiment): Model {
  const built = modelOf(config, { objective: objective === undefined });
  return {
    name: built.name,
    build: (batch, mode) => {
      const { graph, objective: own } = built.build(batch, mode);
      freeze(graph, frozen);
      return { graph, objective: objective ? objectiveOf(graph, objective, { samples: batch }) : own };
    },
  };
}

export interface ObjectiveOptions {
  /** Samples the graph is built for. */
  readonly samples: number;
  /** The experiment's key: axes of targets, where they are not the outputs'. */
  readonly batchAxis?: Experiment['batchAxis'];
}

/** The experiment's losses on a graph's outputs. */
export const objectiveOf = (graph: Graph, terms: readonly ObjectiveConfig[], options: ObjectiveOptions) =>
  terms.map((term, i) => lossOf(graph, term, i, options));

function freeze(graph: Graph, names: readonly string[]): void {
  for (const name of names) {
    const { node } = findParameter(graph, name, 'frozen');
    // The graph is being built: nobody has read the node yet.
    (node as { -readonly [K in keyof Node]: Node[K] }).source = { ...node.source!, frozen: true };
  }
}

/** A parameter by name. Throws UsageError naming the experiment's key and the nearest parameter. */
export function findParameter(graph: Graph, name: string, key: string): Tensor {
  const found = graph.parameters.find((p) => p.name === name);
  if (found) return found;
  const names = graph.parameters.map((p) => p.name);
  const near = nearest(name, names);
  throw new UsageError(
    'unknown-parameter',
    `${key}: no parameter is named "${name}"${near ? `; did you mean "${near}"?` : ''}`,
    {
      fields: { key, parameter: name, nearest: near ?? null, parameters: names },
      remedy: near ?? `use one of: ${names.join(', ')}`,
    },
  );
}

function lossOf(
  graph: Graph,
  term: ObjectiveConfig,
  index: number,
  options: ObjectiveOptions,
): { loss: Tensor; weight: number } {
  const output = graph.outputs.get(term.output);
  const key = `objective.${index}`;
  if (!output) {
    const names = [...graph.outputs.keys()];
    throw new UsageError(
      'unknown-output',
      `${key}.output: the model has no output "${term.output}"; it has ${names.join(', ')}`,
      {
        fields: { key: `${key}.output`, output: term.output, outputs: names },
        remedy: `"output": "${nearest(term.output, names) ?? names[0]}"`,
      },
    );
  }
  const name = index === 0 ? 'loss' : `loss_${index}`;
  try {
    return { loss: build(output, term, name, axisOfLoss(graph, term, key, options)), weight: term.weight };
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    throw new UsageError('objective-invalid', `${key}: ${error.message.split('\n')[0]}`, {
      fields: { ...error.fields, key },
      remedy: error.remedy,
      cause: error,
    });
  }
}

/** The axis that output and target have their batch on: a target goes with its output, element by element. */
function axisOfLoss(graph: Graph, term: ObjectiveConfig, key: string, { samples, batchAxis }: ObjectiveOptions) {
  const axis = graph.batchAxisOf(term.output);
  const target = 'target' in term ? term.target : undefined;
  const given = target !== undefined && batchAxis && Object.hasOwn(batchAxis, target) ? batchAxis[target] : undefined;
  if (given === undefined) return { batchAxis: axis, samples };
  const rank = graph.outputs.get(term.output)!.rank - (term.kind === 'crossEntropy' || term.kind === 'nll' ? 1 : 0);
  const own = given !== null && given < 0 ? given + rank : given;
  // A target that is said not to be batched is one for a single microbatch; whoever asks for more is told so.
  if (own !== null && own !== axis) {
    throw new UsageError(
      'batch-axis',
      `batchAxis.${target}: output ${term.output} has its batch on axis ${axis}, not ${given}`,
      {
        fields: { key: `batchAxis.${target}`, axis: given, expected: axis, objective: key },
        remedy: 'leave it out',
      },
    );
  }
  return { batchAxis: own, samples };
}

const classLosses = { crossEntropy: losses.crossEntropy, nll: losses.nll };
const valueLosses = { mse: losses.mse, bce: losses.bce, bceWithLogits: losses.bceWithLogits };

function build(
  output: Tensor,
  term: ObjectiveConfig,
  name: string,
  batch: { readonly batchAxis: number | null; readonly samples: number },
): Tensor {
  switch (term.kind) {
    case 'crossEntropy':
    case 'nll':
      return classLosses[term.kind](output, term.target, {
        name,
        ignoreIndex: term.ignoreIndex ?? null,
        ...batch,
      });
    case 'mse':
    case 'bce':
    case 'bceWithLogits':
      return valueLosses[term.kind](output, term.target, { name, ...batch });
    case 'mean':
      return losses.mean(output, { name, ...batch });
    case 'sum':
      return losses.sum(output, { name });
  }
}
