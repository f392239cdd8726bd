import { gelu, relu, sigmoid, tanh } from '../../ops/elementwise.ts';
import { flatten } from '../compose.ts';
import { dropout } from '../dropout.ts';
import { linear } from '../linear.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, either, nonEmptySizes, oneOf, positive, share, sizes } from './config.ts';

export const activations = { relu, gelu, tanh, sigmoid };
export type Activation = keyof typeof activations;
export const activationCheck: Check = oneOf(...Object.keys(activations));

export interface MlpConfig {
  /** Shape of one sample; a number n is [n]. */
  readonly inputs: number | readonly number[];
  /** Widths of the hidden layers. */
  readonly hidden: readonly number[];
  readonly classes: number;
  /** default relu */
  readonly activation?: Activation;
  /** Probability that an element of a hidden layer is dropped in training; default 0. */
  readonly dropout?: number;
}

export const mlpChecks: Readonly<Record<keyof MlpConfig, Check>> = {
  inputs: either(positive, nonEmptySizes),
  hidden: sizes,
  classes: positive,
  activation: activationCheck,
  dropout: share,
};

/**
 * A multilayer perceptron for classes. Input `x` [N, …inputs], target `y` i32 [N], output `logits` [N, classes]. Layers
 * `layer.0`, `layer.1` …, the last one without activation.
 */
export const mlp: ModelBuilder<MlpConfig> = modelBuilder(
  'mlp',
  mlpChecks,
  ['inputs', 'classes', 'hidden'],
  (graph, batch, config, options) => {
    const sample = typeof config.inputs === 'number' ? [config.inputs] : config.inputs;
    const activate = activations[config.activation ?? 'relu'];
    const p = config.dropout ?? 0;
    const x = graph.input('x', { shape: [batch, ...sample] });
    const hidden = config.hidden.reduce(
      (h, width, i) => graph.scope(`layer.${i}`, () => dropout(activate(linear(h, width)), { p })),
      flatten(x),
    );
    const logits = linear(hidden, config.classes, { name: `layer.${config.hidden.length}` });
    return classifier(x, logits, options);
  },
);
