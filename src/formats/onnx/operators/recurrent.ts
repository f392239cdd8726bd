/**
 * LSTM, GRU and RNN (operator sets 7, 14, 22; `layout` came with 14). Weights hold one block a direction; the gates of an
 * LSTM stand in the order i, o, f, c, those of a GRU in the order z, r, h.
 */
import type { Tensor } from '../../../graph/graph.ts';
import {
  type CellActivation,
  type CellFunction,
  type CellFunctionName,
  cellFunctions,
} from '../../../ops/cell-activation.ts';
import { gru, lstm, type RecurrentOptions, type RecurrentWeights, rnn } from '../../../ops/recurrent.ts';
import { concat, reshape, slice, transpose } from '../../../ops/shape.ts';
import { isTensor, type OperatorContext, type OperatorRule, type OperatorTable } from '../operator.ts';

/** Positions of the inputs that all three have. */
const at = { x: 0, w: 1, r: 2, b: 3, lengths: 4, h0: 5 } as const;

/** What all three have in common, with the parts of each direction. */
interface Layer {
  /** [T, N, I] */
  readonly x: Tensor;
  readonly directions: readonly Direction[];
  /** Results of the directions, as the operator's output `i`; undefined where nobody wants it. */
  readonly sequences: (i: number, states: readonly Tensor[]) => Tensor | undefined;
  readonly finals: (i: number, states: readonly Tensor[]) => Tensor | undefined;
}

interface Direction {
  readonly weights: RecurrentWeights;
  readonly options: RecurrentOptions;
  readonly activations: readonly CellActivation[];
  /** The direction's part of another input, one block a direction along its first axis. */
  readonly part: (input: number) => Tensor | undefined;
  /** The direction's part of a state, which `layout` lays out. */
  readonly state: (input: number) => Tensor | undefined;
}

/** Names of the directions' runs: whether each goes from the last step to the first. */
const directions: Readonly<Record<string, readonly boolean[]>> = {
  forward: [false],
  reverse: [true],
  bidirectional: [false, true],
};

function layerOf(context: OperatorContext, activationsWhenMissing: readonly string[]): Layer {
  const { invalid } = context;
  const direction = context.string('direction', 'forward');
  const reverses = directions[direction] ?? invalid(`direction ${direction} is not forward, reverse or bidirectional`);
  const layout = context.int('layout', 0);
  if (layout !== 0 && layout !== 1) invalid(`layout ${layout} is neither 0 nor 1`);
  const batchFirst = layout === 1;
  const x = context.float(at.x);
  const size = context.float(at.r).shape[2];
  const count = reverses.length;
  for (const [input, name] of [[at.w, 'W'] as const, [at.r, 'R'] as const]) {
    const { shape } = context.float(input);
    if (shape.length !== 3 || shape[0] !== count) {
      invalid(`${name} must be [${count}, …, …] for direction ${direction}, got [${shape.join(', ')}]`);
    }
  }
  if (context.has('hidden_size') && context.int('hidden_size') !== size) {
    invalid(`hidden_size is ${context.int('hidden_size')}, R has ${size}`);
  }
  const functions = activationsOf(context, activationsWhenMissing, count);
  const clip = context.has('clip') ? context.floatAttr('clip') : undefined;
  if (clip !== undefined && !(clip > 0)) invalid(`clip ${clip} is not positive`);
  const lengths = context.optional(at.lengths);

  /** Of a tensor with one block a direction along an axis, which goes. */
  const select = (tensor: Tensor, axis: number, d: number): Tensor =>
    reshape(
      count === 1 ? tensor : slice(tensor, { [axis]: [d, d + 1] }),
      tensor.shape.filter((_, i) => i !== axis),
    );
  const optional = (input: number): Tensor | undefined =>
    context.optional(input) === undefined ? undefined : context.float(input);
  const parts = reverses.map((reverse, d): Direction => {
    const part = (input: number): Tensor | undefined => {
      const tensor = optional(input);
      return tensor && select(tensor, 0, d);
    };
    const state = (input: number): Tensor | undefined => {
      const tensor = optional(input);
      return tensor && select(tensor, batchFirst ? 1 : 0, d);
    };
    const biases = part(at.b);
    const half = biases && biases.shape[0]! / 2;
    return {
      weights: {
        weightIh: part(at.w)!,
        weightHh: part(at.r)!,
        biasIh: biases && slice(biases, { 0: [0, half] }),
        biasHh: biases && slice(biases, { 0: [half, null] }),
      },
      options: {
        reverse,
        clip,
        h0: state(at.h0),
        lengths: lengths && (isTensor(lengths) ? lengths : [...lengths.data]),
      },
      activations: functions[d]!,
      part,
      state,
    };
  });

  /** The directions' results side by side along a new axis. */
  const join = (axis: number, results: readonly Tensor[]): Tensor => {
    const split = results.map((t) => reshape(t, t.shape.toSpliced(axis, 0, 1)));
    return split.length === 1 ? split[0]! : concat(split, { axis });
  };
  /** Exchanges time and batch where the batch is first: in and out. */
  const exchanged = (t: Tensor): Tensor => (batchFirst ? transpose(t, [1, 0, 2]) : t);
  return {
    x: exchanged(x),
    directions: parts,
    sequences: (i, states) => (context.wants(i) ? join(batchFirst ? 2 : 1, states.map(exchanged)) : undefined),
    finals: (i, states) => (context.wants(i) ? join(batchFirst ? 1 : 0, states) : undefined),
  };
}

/** ONNX's names, in lower case: files differ in it. */
const functionNames: ReadonlyMap<string, CellFunctionName> = new Map(
  (Object.keys(cellFunctions) as CellFunctionName[]).map((name) => [name.toLowerCase(), name]),
);

/**
 * Functions of the cells by direction. `activation_alpha` and `activation_beta` hold the parameters of those functions
 * that have one, in order; where a list ends, defaults follow.
 */
function activationsOf(
  context: OperatorContext,
  whenMissing: readonly string[],
  count: number,
): readonly (readonly CellActivation[])[] {
  const each = whenMissing.length;
  const names = context.strings('activations', Array.from({ length: count }, () => whenMissing).flat());
  if (names.length !== count * each) {
    context.invalid(`activations must name ${count * each} functions, got ${names.length}`);
  }
  const alphas = [...context.floats('activation_alpha', [])];
  const betas = [...context.floats('activation_beta', [])];
  const all = names.map((name): CellActivation => {
    const kind = functionNames.get(name.toLowerCase()) ?? context.unsupported(`the activation ${name}`);
    const has: CellFunction = cellFunctions[kind];
    const alpha = has.alpha === undefined ? undefined : alphas.shift();
    const beta = has.beta === undefined ? undefined : betas.shift();
    return { kind, ...(alpha === undefined ? {} : { alpha }), ...(beta === undefined ? {} : { beta }) };
  });
  return Array.from({ length: count }, (_, d) => all.slice(d * each, (d + 1) * each));
}

const lstmRule: OperatorRule = (context) => {
  const [c0, peepholes] = [6, 7];
  const layer = layerOf(context, ['Sigmoid', 'Tanh', 'Tanh']);
  const coupled = context.int('input_forget', 0) !== 0;
  const runs = layer.directions.map(({ weights, options, activations: [f, g, h], part, state }) =>
    lstm(layer.x, weights, {
      ...options,
      c0: state(c0),
      peepholes: part(peepholes),
      gates: 'iofc',
      activations: { f: f!, g: g!, h: h! },
      coupled,
    }),
  );
  return [
    layer.sequences(
      0,
      runs.map((run) => run.output),
    ),
    layer.finals(
      1,
      runs.map((run) => run.hN),
    ),
    layer.finals(
      2,
      runs.map((run) => run.cN),
    ),
  ];
};

const gruRule: OperatorRule = (context) => {
  const layer = layerOf(context, ['Sigmoid', 'Tanh']);
  const reset = context.int('linear_before_reset', 0) === 0 ? 'before' : 'after';
  const runs = layer.directions.map(({ weights, options, activations: [f, g] }) =>
    gru(layer.x, weights, { ...options, gates: 'zrh', reset, activations: { f: f!, g: g! } }),
  );
  return statesOf(layer, runs);
};

const rnnRule: OperatorRule = (context) => {
  const layer = layerOf(context, ['Tanh']);
  const runs = layer.directions.map(({ weights, options, activations: [f] }) =>
    rnn(layer.x, weights, { ...options, activation: f! }),
  );
  return statesOf(layer, runs);
};

const statesOf = (
  layer: Layer,
  runs: readonly { readonly output: Tensor; readonly hN: Tensor }[],
): readonly (Tensor | undefined)[] => [
  layer.sequences(
    0,
    runs.map((run) => run.output),
  ),
  layer.finals(
    1,
    runs.map((run) => run.hN),
  ),
];

export const recurrent: OperatorTable = { GRU: gruRule, LSTM: lstmRule, RNN: rnnRule };
