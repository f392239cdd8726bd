/** The cases as experiments on their ONNX files: what a user of the command line writes. */
import { fileURLToPath } from 'node:url';
import type { HostTensor } from '../../src/core/types.ts';
import type { Model } from '../../src/optim/model.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { parseExperiment } from '../../src/train/experiment/parse.ts';
import { planRequestOf, prepareExperiment } from '../../src/train/experiment/prepare.ts';
import { Session, type SessionOptions } from '../../src/train/session.ts';
import type { GradientCase, TrainingCase } from './case-files.ts';

const root = fileURLToPath(new URL('cases/', import.meta.url));
export const casePath = (folder: string, file: string): string => `${root}${folder}/${file}`;

const kinds = { cross_entropy: 'crossEntropy', mse: 'mse', sum: 'sum' } as const;

/**
 * The experiment of a case of `gradients/`. A file with a symbolic batch says itself where its batch is; for one with fixed
 * sizes the experiment says it for every tensor, as the case does.
 */
export function gradientExperiment(folder: string, file: string, json: GradientCase): Record<string, unknown> {
  const tensors = [...json.inputs, ...json.targets, ...json.outputs];
  return {
    model: casePath(folder, file),
    data: { file: casePath(folder, 'inputs.safetensors') },
    objective: json.losses.map(({ kind, output, target, weight }) => ({
      kind: kinds[kind],
      output,
      weight,
      ...(kind === 'sum' ? {} : { target }),
    })),
    ...(json.l2 ? { l2: { lambda: json.l2.lambda, parameters: json.l2.parameters } } : {}),
    frozen: json.frozen_initializers.map(({ name }) => name),
    ...(file === 'model_dynamic.onnx'
      ? {}
      : { batchAxis: Object.fromEntries(tensors.map((t) => [t.name, t.batch_axis])) }),
  };
}

export const prepare = (raw: Record<string, unknown>) =>
  prepareExperiment(parseExperiment(raw, 'the case'), { where: 'the case' });

/** The model of a case of `gradients/`, with its objective. */
export const gradientModel = (folder: string, file: string, json: GradientCase): Model =>
  prepare(gradientExperiment(folder, file, json)).model;

/** The experiment of a case of the other folders: output `logits`, mean cross entropy with `targets`. */
export const classifierExperiment = (folder: string, data: string): Record<string, unknown> => ({
  model: casePath(folder, 'model.onnx'),
  data: { file: casePath(folder, data) },
  objective: [{ kind: 'crossEntropy', output: 'logits', target: 'targets' }],
});

/** The experiment of a case of `training/`. */
export const trainingExperiment = (folder: string, { data, ...json }: TrainingCase): Record<string, unknown> => ({
  ...classifierExperiment(folder, 'data.safetensors'),
  steps: data.steps,
  optimizer: optimizerOf(json.optimizer),
  learningRate:
    json.schedule.kind === 'cosine'
      ? { kind: 'cosine', tMax: json.schedule.T_max, etaMin: json.schedule.eta_min }
      : { kind: 'constant' },
  ...(json.clip ? { clip: { globalNorm: json.clip.max_norm } } : {}),
});

/** PyTorch's options under our names. */
function optimizerOf(optimizer: TrainingCase['optimizer']): Record<string, unknown> {
  const { kind, rule: _rule, decays: _decays, decoupled_weight_decay: decoupled, ...options } = optimizer;
  const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return {
    kind: decoupled ? 'adamw' : kind,
    ...Object.fromEntries(Object.entries(options).map(([name, value]) => [camel(name), value])),
  };
}

export const classifier = (folder: string, data: string): Model => prepare(classifierExperiment(folder, data)).model;

/** The results of `partita grad` for an experiment, from one process (`transport: 'local'`) or from threads. */
export async function gradientsOf(
  raw: Record<string, unknown>,
  options: SessionOptions,
): Promise<ReadonlyMap<string, HostTensor>> {
  const prepared = prepare(raw);
  const plan = makePlan(planRequestOf(prepared, 'gradients'));
  await using session = await Session.open(plan, options);
  return (await session.run('gradients', prepared.source!.batchAt(0).tensors)).results;
}
