/** Ready models by configuration: `(graph, batch, config) => { inputs, outputs, objective }`. */

import { nearest, UsageError } from '../../core/errors.ts';
import { checkOptions, requireKinds, shown } from '../../core/options.ts';
import { Graph, type GraphMode } from '../../graph/graph.ts';
import type { Objective } from '../../losses/index.ts';
import type { ModelOptions } from './built.ts';
import { checkConfig } from './config.ts';
import { type GptConfig, gpt, gptChecks } from './gpt.ts';
import { type LenetConfig, lenet, lenetChecks } from './lenet.ts';
import { type LstmConfig, lstm, lstmChecks } from './lstm.ts';
import { type MlpConfig, mlp, mlpChecks } from './mlp.ts';
import { type ResnetConfig, resnet, resnetChecks } from './resnet.ts';
import { type UnetConfig, unet, unetChecks } from './unet.ts';

export type { BuiltModel, ModelBuilder, ModelOptions } from './built.ts';
export { type GptConfig, gpt } from './gpt.ts';
export { type LenetConfig, lenet } from './lenet.ts';
export { type LstmConfig, lstm } from './lstm.ts';
export { type Activation, type MlpConfig, mlp } from './mlp.ts';
export { type ResnetConfig, resnet } from './resnet.ts';
export { type UnetConfig, unet } from './unet.ts';

/** `model` of an experiment file. */
export type ModelConfig =
  | ({ readonly kind: 'mlp' } & MlpConfig)
  | ({ readonly kind: 'lenet' } & LenetConfig)
  | ({ readonly kind: 'resnet' } & ResnetConfig)
  | ({ readonly kind: 'unet' } & UnetConfig)
  | ({ readonly kind: 'gpt' } & GptConfig)
  | ({ readonly kind: 'lstm' } & LstmConfig);

const kinds = {
  mlp: { build: mlp, checks: mlpChecks, required: ['inputs', 'classes', 'hidden'] },
  lenet: { build: lenet, checks: lenetChecks, required: ['size', 'classes'] },
  resnet: { build: resnet, checks: resnetChecks, required: ['size', 'classes'] },
  unet: { build: unet, checks: unetChecks, required: ['size', 'classes'] },
  gpt: { build: gpt, checks: gptChecks, required: ['vocab', 'context', 'layers', 'heads', 'width'] },
  lstm: { build: lstm, checks: lstmChecks, required: ['context', 'hidden'] },
};

/** The kinds of ready models. */
export const modelKinds = Object.keys(kinds) as ModelConfig['kind'][];

/** Checks a configuration that came from outside. Throws UsageError naming the key and the nearest valid one. */
export function checkModel(config: Readonly<Record<string, unknown>>): ModelConfig {
  requireKinds('a model', { config: ['record', config] });
  const { kind, ...rest } = config;
  const found = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind as ModelConfig['kind']] : undefined;
  if (!found) {
    const near = typeof kind === 'string' ? nearest(kind, modelKinds) : undefined;
    throw new UsageError(
      'unknown-model',
      `no model is of the kind ${shown(kind)}${near ? `; did you mean ${near}?` : ''}`,
      {
        fields: { key: 'model.kind', nearest: near ?? null, known: modelKinds },
        remedy: `kind: '${near ?? modelKinds[0]}'`,
      },
    );
  }
  checkConfig(kind as string, rest, found.checks, found.required);
  return config as unknown as ModelConfig;
}

/** A ready model as a function of the batch size, from a configuration: each call makes a graph of its own. */
export function modelOf(config: ModelConfig, options: ModelOptions = {}) {
  checkOptions('modelOf', options, { objective: 'flag' });
  const { kind, ...sizes } = checkModel(config as Readonly<Record<string, unknown>> & ModelConfig);
  // The union of kinds pairs each builder with its own sizes; checkModel has made sure of it.
  const build = kinds[kind].build as (
    graph: Graph,
    batch: number,
    sizes: object,
    options: ModelOptions,
  ) => ReturnType<typeof mlp>;
  return {
    name: kind,
    build(batch: number, mode?: GraphMode): { readonly graph: Graph; readonly objective: Objective } {
      const graph = new Graph(mode === undefined ? {} : { mode });
      return { graph, objective: build(graph, batch, sizes, options).objective ?? [] };
    },
  };
}
