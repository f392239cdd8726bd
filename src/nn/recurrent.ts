/**
 * Recurrent layers, stacked and in both directions as PyTorch's LSTM, GRU and RNN: `weight_ih_l0`, `weight_hh_l0`,
 * `bias_ih_l0`, `bias_hh_l0` of the first layer, with `_reverse` behind those of the other direction.
 */

import { GraphError } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import type { OptionNames } from '../core/options.ts';
import { shown } from '../core/options.ts';
import { formatShape, formatType, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { fanInUniform } from '../init/index.ts';
import * as ops from '../ops/recurrent.ts';
import type { RnnActivation } from '../ops/rnn-scan.ts';
import { concat, reshape, slice, transpose } from '../ops/shape.ts';
import type { Layer } from './compose.ts';
import { MOST_LAYERS } from './most-layers.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface RecurrentLayerOptions extends LayerOptions {
  /** Layers one on the other; default 1. */
  readonly numLayers?: number;
  /** Runs both ways and joins the outputs, forward first; default false. */
  readonly bidirectional?: boolean;
  /** x and the output are [N, T, …] instead of [T, N, …]; default false. States are [layers, N, H] either way. */
  readonly batchFirst?: boolean;
  /** default true */
  readonly bias?: boolean;
  /** Initial states [numLayers·directions, N, H]; default 0. */
  readonly h0?: Tensor;
  /** Steps of each sample, if not all (in PyTorch a packed sequence): numbers, or i32 [N]. */
  readonly lengths?: Tensor | readonly number[];
  /** What the output of every layer but the last goes through, [T, N, …]: where PyTorch's layers have their dropout. */
  readonly between?: Layer;
}

export interface LstmLayerOptions extends RecurrentLayerOptions {
  /** Initial cell states [numLayers·directions, N, H]; default 0. */
  readonly c0?: Tensor;
}

export interface RnnLayerOptions extends RecurrentLayerOptions {
  /** default tanh */
  readonly nonlinearity?: RnnActivation;
}

export interface RecurrentLayerResult {
  /** Of the last layer, [T, N, directions·H] or [N, T, directions·H]. */
  readonly output: Tensor;
  /** Final states, [numLayers·directions, N, H]: layer by layer, forward before reverse. */
  readonly hN: Tensor;
}

const layerOptions = {
  name: true,
  numLayers: true,
  bidirectional: true,
  batchFirst: true,
  bias: true,
  h0: true,
  lengths: true,
  between: true,
} as const;
const lstmOptions: OptionNames<LstmLayerOptions> = { ...layerOptions, c0: true };
const rnnOptions: OptionNames<RnnLayerOptions> = { ...layerOptions, nonlinearity: true };

/** One direction of one layer. */
type Run<R> = (x: Tensor, weights: ops.RecurrentWeights, options: ops.RecurrentOptions & { readonly at: number }) => R;

/** Long short-term memory (PyTorch LSTM); gates in its order i, f, g, o. `cN`: final cell states, as hN. */
export function lstm(
  x: Tensor,
  hiddenSize: number,
  options: LstmLayerOptions = {},
): RecurrentLayerResult & { readonly cN: Tensor } {
  const cell = (at: number): Tensor | undefined => options.c0 && stateAt(options.c0, at);
  const { output, runs } = layers(
    'lstm',
    x,
    hiddenSize,
    4,
    options,
    lstmOptions,
    [options?.h0, options?.c0],
    (y, weights, run) => ops.lstm(y, weights, { ...run, c0: cell(run.at) }),
  );
  return { output, hN: states(runs.map((r) => r.hN)), cN: states(runs.map((r) => r.cN)) };
}

/** Gated recurrent unit (PyTorch GRU); gates in its order r, z, n. */
export function gru(x: Tensor, hiddenSize: number, options: RecurrentLayerOptions = {}): RecurrentLayerResult {
  const { output, runs } = layers('gru', x, hiddenSize, 3, options, layerOptions, [options?.h0], ops.gru);
  return { output, hN: states(runs.map((r) => r.hN)) };
}

/** Plain recurrent layer (PyTorch RNN). */
export function rnn(x: Tensor, hiddenSize: number, options: RnnLayerOptions = {}): RecurrentLayerResult {
  const { nonlinearity: activation = 'tanh' } = options ?? {};
  const { output, runs } = layers('rnn', x, hiddenSize, 1, options, rnnOptions, [options?.h0], (y, weights, run) =>
    ops.rnn(y, weights, { ...run, activation }),
  );
  return { output, hN: states(runs.map((r) => r.hN)) };
}

/** [N, H] of the states of all layers. */
const stateAt = (all: Tensor, at: number): Tensor => reshape(slice(all, { 0: [at, at + 1] }), all.shape.slice(1));

/** States of all layers and directions as one [layers, N, H]. */
const states = (list: readonly Tensor[]): Tensor =>
  concat(
    list.map((t) => reshape(t, [1, ...t.shape])),
    { axis: 0 },
  );

function layers<R extends ops.RecurrentResult>(
  kind: string,
  x: Tensor,
  size: number,
  gates: number,
  options: RecurrentLayerOptions,
  names: OptionNames<RecurrentLayerOptions>,
  initial: readonly (Tensor | undefined)[],
  run: Run<R>,
): { readonly output: Tensor; readonly runs: readonly R[] } {
  return scoped(kind, x, options, names, () => {
    const { numLayers = 1, bidirectional = false, batchFirst = false, bias = true, h0, lengths } = options;
    const directions = bidirectional ? [false, true] : [false];
    check(kind, x, size, numLayers, initial, [numLayers * directions.length, x.shape[batchFirst ? 0 : 1]!, size]);
    const exchanged = (t: Tensor): Tensor => (batchFirst ? transpose(t, [1, 0, 2]) : t);
    const runs: R[] = [];
    let y = exchanged(x);
    for (let layer = 0; layer < numLayers; layer++) {
      const of = directions.map((reverse) => {
        const at = runs.length;
        const weights = weightsOf(y, size, gates, bias, `l${layer}${reverse ? '_reverse' : ''}`);
        const result = run(y, weights, { reverse, lengths, h0: h0 && stateAt(h0, at), at });
        runs.push(result);
        return result.output;
      });
      y = of.length === 1 ? of[0]! : concat(of, { axis: 2 });
      if (options.between && layer < numLayers - 1) y = options.between(y);
    }
    return { output: exchanged(y), runs };
  });
}

/** The parameters of one direction of one layer: uniform in ±1/√H, all of them. */
function weightsOf(x: Tensor, size: number, gates: number, bias: boolean, suffix: string): ops.RecurrentWeights {
  const make = (name: string, ...shape: number[]): Tensor =>
    x.graph.parameter(`${name}_${suffix}`, shape, fanInUniform(size));
  const wide = gates * size;
  return {
    weightIh: make('weight_ih', wide, x.shape[2]!),
    weightHh: make('weight_hh', wide, size),
    ...(bias ? { biasIh: make('bias_ih', wide), biasHh: make('bias_hh', wide) } : {}),
  };
}

function check(
  kind: string,
  x: Tensor,
  size: number,
  numLayers: number,
  initial: readonly (Tensor | undefined)[],
  state: readonly number[],
): void {
  const refuse = (reason: string): never => {
    throw new GraphError('recurrent-shape', `${kind}(${formatType(x.type)}): ${reason}${callerLine()}`, {
      fields: { layer: kind, shape: x.shape, reason },
      remedy: `${kind}(x, hidden) with x [T, N, I] and a hidden size of 1 or more`,
    });
  };
  if (x.rank !== 3) refuse(`x must be [T, N, I], or [N, T, I] with batchFirst, got ${formatShape(x.shape)}`);
  if (!Number.isInteger(size) || size < 1) refuse(`the hidden size must be a positive integer, got ${shown(size)}`);
  if (!isOfKind('count', numLayers)) refuse(`numLayers must be a positive integer, got ${shown(numLayers)}`);
  if (numLayers > MOST_LAYERS) refuse(`numLayers must be at most ${MOST_LAYERS}, got ${numLayers}`);
  initial.forEach((t, i) => {
    if (t && !sameShape(t.shape, state)) {
      refuse(`${['h0', 'c0'][i]} must have the shape ${formatShape(state)}, got ${formatShape(t.shape)}`);
    }
  });
}
