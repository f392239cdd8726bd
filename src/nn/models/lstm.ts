import { GraphError } from '../../core/errors.ts';
import type { Tensor } from '../../graph/graph.ts';
import { transpose } from '../../ops/shape.ts';
import { dropout } from '../dropout.ts';
import { embedding } from '../embedding.ts';
import { linear } from '../linear.ts';
import { gru, lstm as lstmLayer, rnn } from '../recurrent.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, either, flag, layerCount, nonEmptySizes, oneOf, positive, share } from './config.ts';

export interface LstmConfig {
  /** Tokens there are, where the data are tokens. */
  readonly vocab?: number;
  /** Features of one step, where the data are numbers; then there is no embedding. One of `vocab` and `inputs`. */
  readonly inputs?: number;
  /** Steps of one sequence. */
  readonly context: number;
  /** Values of one step's output; default `vocab`. */
  readonly classes?: number;
  /** default lstm */
  readonly cell?: 'lstm' | 'gru' | 'rnn';
  /** Size of a token's vector; default that of the first hidden layer. */
  readonly embedding?: number;
  /** Hidden units of each layer, or one number for all. */
  readonly hidden: number | readonly number[];
  /** Recurrent layers; default as many as `hidden` lists, so 1 for a number. */
  readonly numLayers?: number;
  /** Between layers, in training; default 0. */
  readonly dropout?: number;
  /** Each layer reads the sequence in both directions: of no use where the next step is to be foretold. Default false. */
  readonly bidirectional?: boolean;
}

export const lstmChecks: Readonly<Record<keyof LstmConfig, Check>> = {
  vocab: positive,
  inputs: positive,
  context: positive,
  classes: positive,
  cell: oneOf('lstm', 'gru', 'rnn'),
  embedding: positive,
  hidden: either(positive, nonEmptySizes),
  numLayers: layerCount,
  dropout: share,
  bidirectional: flag,
};

/** Hidden units layer by layer; undefined where `numLayers` says otherwise. */
export function hiddenSizes({ hidden, numLayers }: Pick<LstmConfig, 'hidden' | 'numLayers'>): number[] | undefined {
  const listed = typeof hidden === 'number' ? [hidden] : hidden;
  if (listed.length === 1) return Array.from({ length: numLayers ?? 1 }, () => listed[0]!);
  return numLayers === undefined || numLayers === listed.length ? [...listed] : undefined;
}

/**
 * A recurrent network with an output at every step (Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; Mikolov et
 * al., "Recurrent neural network based language model", 2010). Input `x`: tokens i32 [N, context], or with `inputs`
 * numbers f32 [N, context, inputs]; target `y` i32 [N, context]; output `logits` [N, context, classes]. Layers `embedding`
 * (of tokens), `layer.0`, `layer.1` … with the parameters of PyTorch's one-layer LSTM, GRU or RNN, and `head`.
 */
export const lstm: ModelBuilder<LstmConfig> = modelBuilder(
  'lstm',
  lstmChecks,
  ['context', 'hidden'],
  (graph, batch, config, options) => {
    const { vocab, inputs, context, cell = 'lstm', dropout: p = 0, bidirectional } = config;
    const { classes = vocab } = config;
    const sizes = hiddenSizes(config);
    if ((vocab === undefined) === (inputs === undefined) || classes === undefined) {
      throw new GraphError('lstm-inputs', 'an lstm reads tokens (vocab) or numbers (inputs, with classes)', {
        fields: { vocab, inputs, classes },
        remedy: 'give vocab, or inputs and classes',
      });
    }
    if (!sizes) {
      throw new GraphError('lstm-layers', `hidden [${config.hidden}] does not list ${config.numLayers} layers`, {
        fields: { hidden: config.hidden, numLayers: config.numLayers },
        remedy: 'leave numLayers out, or give one number for all layers',
      });
    }
    const layer = { lstm: lstmLayer, gru, rnn }[cell];
    // Recurrent layers run over [T, N, …]; the exchange costs least on the input and in front of the output.
    const x = vocab
      ? graph.input('x', { dtype: 'i32', shape: [batch, context] })
      : graph.input('x', { shape: [batch, context, inputs!] });
    let h: Tensor = transpose(x, vocab ? [1, 0] : [1, 0, 2]);
    if (vocab) h = embedding(h, { rows: vocab, dim: config.embedding ?? sizes[0]!, name: 'embedding' });
    sizes.forEach((size, i) => {
      h = layer(h, size, { bidirectional, name: `layer.${i}` }).output;
      if (i < sizes.length - 1) h = dropout(h, { p, axis: 1, name: `layer.${i}` });
    });
    const logits = linear(transpose(h, [1, 0, 2]), classes, { name: 'head' });
    return classifier(x, logits, options);
  },
);
