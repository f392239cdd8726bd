/**
 * Recurrent layers of one direction, as users call them. The product of all inputs is one matmul; the recurrence is one
 * fused scan, or, where a cell is asked for that the scan does not have, ordinary ops step by step.
 */
import { GraphError } from '../core/errors.ts';
import { type OptionNames, shown } from '../core/options.ts';
import { formatShape, formatType, sameShape } from '../core/types.ts';
import { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { add } from './binary.ts';
import { type CellActivationOption, plainActivation, requireActivation } from './cell-activation.ts';
import { type GruGates, gruBlocks, type LstmGates, lstmBlocks } from './gates.ts';
import { gruScan } from './gru-scan.ts';
import type { GruReset } from './gru-scan-grad.ts';
import { lstmScan } from './lstm-scan.ts';
import { matmul } from './matmul.ts';
import { requireOptions, requireWord } from './options.ts';
import { held, hold, stateAtEnd, whileRunning } from './recurrent-lengths.ts';
import { unrollGru, unrollLstm, unrollRnn } from './recurrent-unrolled.ts';
import { rnnScan } from './rnn-scan.ts';
import { lastState } from './scan.ts';
import { broadcastTo, slice, sliceScatter } from './shape.ts';

/** Weights of one direction with G gates (LSTM 4, GRU 3, RNN 1), as PyTorch's layers have them. */
export interface RecurrentWeights {
  /** Of the inputs, [G·H, I]. */
  readonly weightIh: Tensor;
  /** Of the state, [G·H, H]. */
  readonly weightHh: Tensor;
  /** [G·H]; default none */
  readonly biasIh?: Tensor | undefined;
  readonly biasHh?: Tensor | undefined;
}

export interface RecurrentOptions {
  /** From the last step to the first; outputs stay at their own times. */
  readonly reverse?: boolean;
  /** Initial state [N, H]; default 0. */
  readonly h0?: Tensor | undefined;
  /**
   * Steps of each sample, if not all: numbers, or i32 [N]. Behind a sequence's end the output is 0; the final state is
   * that at the end (the initial one where there is no step), and the reverse direction starts there.
   */
  readonly lengths?: Tensor | readonly number[] | undefined;
  /** Holds what enters the functions of gates and candidates within ±clip. */
  readonly clip?: number | undefined;
}

export interface RecurrentResult {
  /** States of all steps, [T, N, H]. */
  readonly output: Tensor;
  /** State after the last step computed, [N, H]. */
  readonly hN: Tensor;
}

export interface LstmOptions extends RecurrentOptions {
  /** Initial cell state [N, H]; default 0. */
  readonly c0?: Tensor | undefined;
  /** Order of the gates in weights and biases; default PyTorch's `ifgo`. */
  readonly gates?: LstmGates;
  /** Weights from the cell state to the input, output and forget gate, [3·H] in this order. */
  readonly peepholes?: Tensor | undefined;
  /** Of the gates (f, default sigmoid), of the candidate (g, tanh), of the cell state on its way out (h, tanh). */
  readonly activations?: Partial<Readonly<Record<'f' | 'g' | 'h', CellActivationOption>>>;
  /** The forget gate is 1 − the input gate; default false. */
  readonly coupled?: boolean;
}

/** Long short-term memory over x [T, N, I] (PyTorch LSTM, ONNX LSTM); `cN` [N, H] is the final cell state. */
export function lstm(
  x: Tensor,
  weights: RecurrentWeights,
  options: LstmOptions = {},
): RecurrentResult & { readonly cN: Tensor } {
  const setup = prepare('lstm', 4, x, weights, options);
  requireActivations('lstm', x, options.activations, { f: true, g: true, h: true });
  const { gates = 'ifgo', peepholes, coupled = false } = options;
  requireWord('lstm', x, 'gates', gates, Object.keys(lstmBlocks));
  const { f = 'sigmoid', g = 'tanh', h = 'tanh' } = options.activations ?? {};
  const pre = project(x, weights.weightIh, sum(weights.biasIh, weights.biasHh));
  const parts = { r: weights.weightHh, ...(peepholes ? { peepholes } : {}) };
  const initial = { h: setup.initial(options.h0, 'h0'), c: setup.initial(options.c0, 'c0') };
  const known = plainActivation(f, 'sigmoid') && plainActivation(g, 'tanh') && plainActivation(h, 'tanh');
  if (known && !coupled && setup.fused('h is lost')) {
    const scan = lstmScan(setup.hold(pre, held.lstm(gates)), parts, initial, { gates, reverse: setup.reverse });
    return { ...setup.results(scan.h, 'h is lost'), cN: lastState(scan.c, setup.reverse) };
  }
  const { output, final } = unrollLstm(pre, parts, initial, { ...setup, gates, coupled, activations: { f, g, h } });
  return { output, hN: final[0], cN: final[1] };
}

function requireActivations<A extends Readonly<Record<string, CellActivationOption>>>(
  op: string,
  x: Tensor,
  activations: Partial<A> | undefined,
  places: OptionNames<Partial<A>>,
): void {
  if (activations === undefined) return;
  requireOptions(op, x, activations, places, 'activations');
  for (const [place, option] of Object.entries<CellActivationOption | undefined>(activations)) {
    if (option !== undefined) requireActivation(op, x, option, `activations.${place}`);
  }
}

export interface GruOptions extends RecurrentOptions {
  /** Order of the gates in weights and biases; default PyTorch's `rzn`. */
  readonly gates?: GruGates;
  /** The reset gate acts on the state before its product, or after, on the product; default PyTorch's `after`. */
  readonly reset?: GruReset;
  /** Of the gates (f, default sigmoid), of the candidate (g, tanh). */
  readonly activations?: Partial<Readonly<Record<'f' | 'g', CellActivationOption>>>;
}

/** Gated recurrent unit over x [T, N, I] (PyTorch GRU, ONNX GRU). */
export function gru(x: Tensor, weights: RecurrentWeights, options: GruOptions = {}): RecurrentResult {
  const setup = prepare('gru', 3, x, weights, options);
  requireActivations('gru', x, options.activations, { f: true, g: true });
  const { gates = 'rzn', reset = 'after' } = options;
  requireWord('gru', x, 'gates', gates, Object.keys(gruBlocks));
  requireWord('gru', x, 'reset', reset, ['after', 'before']);
  const { f = 'sigmoid', g = 'tanh' } = options.activations ?? {};
  const { biasIh, biasHh, weightHh } = weights;
  const { size, reverse } = setup;
  // Behind the product the reset gate acts on the candidate's bias too, which then cannot go with the inputs'.
  const outer = biasHh && reset === 'after' ? gateBiases(biasHh, size) : biasHh;
  const pre = project(x, weights.weightIh, sum(biasIh, outer));
  const initial = setup.initial(options.h0, 'h0');
  const bias = biasHh && slice(biasHh, { 0: [2 * size, null] });
  if (plainActivation(f, 'sigmoid') && plainActivation(g, 'tanh') && setup.fused('h is kept')) {
    const added = bias ?? broadcastTo(x.graph.scalar(0), [size]);
    const parts = reset === 'after' ? { r: weightHh, bias: added } : { r: weightHh };
    const { h } = gruScan(setup.hold(pre, held.gru(gates)), parts, initial, { gates, reset, reverse });
    return setup.results(h, 'h is kept');
  }
  const parts = reset === 'after' && bias ? { r: weightHh, bias } : { r: weightHh };
  const { output, final } = unrollGru(pre, parts, initial, { ...setup, gates, reset, activations: { f, g } });
  return { output, hN: final[0] };
}

export interface RnnOptions extends RecurrentOptions {
  /** default tanh */
  readonly activation?: CellActivationOption;
}

/** Plain recurrent layer over x [T, N, I] (PyTorch RNN, ONNX RNN). */
export function rnn(x: Tensor, weights: RecurrentWeights, options: RnnOptions = {}): RecurrentResult {
  const setup = prepare('rnn', 1, x, weights, options);
  const { activation = 'tanh' } = options;
  requireActivation('rnn', x, activation, 'activation');
  const pre = project(x, weights.weightIh, sum(weights.biasIh, weights.biasHh));
  const initial = setup.initial(options.h0, 'h0');
  const known = plainActivation(activation, 'tanh', 'relu');
  if (known && setup.fused('h is lost')) {
    const input = setup.hold(pre, held.rnn(known));
    const states = rnnScan(input, weights.weightHh, initial, { activation: known, reverse: setup.reverse });
    return setup.results(states, 'h is lost');
  }
  const { output, final } = unrollRnn(pre, weights.weightHh, initial, { ...setup, activation });
  return { output, hN: final[0] };
}

/** x·weightᵀ + bias for all steps at once. */
function project(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const y = matmul(x, weight, { transB: true });
  return bias ? add(y, bias) : y;
}

const sum = (a: Tensor | undefined, b: Tensor | undefined): Tensor | undefined => (a && b ? add(a, b) : (a ?? b));

/** A GRU's bias [3·H] with zeros for the candidate. */
const gateBiases = (bias: Tensor, size: number): Tensor =>
  sliceScatter(slice(bias, { 0: [0, 2 * size] }), { shape: [3 * size], starts: [0] });

/** What becomes of a fused scan's h behind the end of a sequence. */
type BehindEnd = 'h is kept' | 'h is lost';

/** What the layers have in common: sizes and operands checked, defaults filled in. */
function prepare(op: string, gates: number, x: Tensor, weights: RecurrentWeights, options: RecurrentOptions) {
  const refuse = (reason: string): never => {
    throw new GraphError('recurrent-shape', `${op}(${formatType(x.type)}): ${reason}${callerLine()}`, {
      fields: { op, shape: x.shape, reason },
      remedy: `${op}(x, weights) with x [T, N, I], weightIh [${gates}·H, I] and weightHh [${gates}·H, H]`,
    });
  };
  const demand = (name: string, tensor: Tensor | undefined, shape: readonly number[]): void => {
    if (tensor && !sameShape(tensor.shape, shape)) {
      refuse(`${name} must have the shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
    }
  };
  if (x.rank !== 3) refuse(`x must be [T, N, I], got ${formatShape(x.shape)}`);
  const [steps, batch, width] = x.shape as [number, number, number];
  const size = weights.weightHh.shape.at(-1) ?? 0;
  demand('weightHh', weights.weightHh, [gates * size, size]);
  demand('weightIh', weights.weightIh, [gates * size, width]);
  demand('biasIh', weights.biasIh, [gates * size]);
  demand('biasHh', weights.biasHh, [gates * size]);
  const { clip, reverse = false } = options;
  if (clip !== undefined && !(clip > 0)) refuse(`clip must be positive, got ${clip}`);
  const lengths = lengthsOf(x, options.lengths, steps, batch, refuse);
  return {
    size,
    reverse,
    clip,
    lengths,
    /**
     * Whether a fused scan has all that is asked for: where it does not keep h behind the ends, a reverse scan can start
     * from no state but 0.
     */
    fused: (behind: BehindEnd): boolean =>
      clip === undefined && (lengths === undefined || behind === 'h is kept' || !reverse || options.h0 === undefined),
    /** What enters a fused scan, made to keep the state behind the ends. */
    hold: (pre: Tensor, values: readonly number[]): Tensor => (lengths ? hold(pre, lengths, values) : pre),
    /** Output and final state of a fused scan. */
    results: (states: Tensor, behind: BehindEnd): RecurrentResult => {
      if (!lengths) return { output: states, hN: lastState(states, reverse) };
      const ends = behind === 'h is lost' && !reverse;
      return {
        output: whileRunning(states, lengths, 0),
        hN: ends ? stateAtEnd(states, lengths, options.h0) : lastState(states, reverse),
      };
    },
    initial: (given: Tensor | undefined, name: string): Tensor => {
      demand(name, given, [batch, size]);
      return given ?? broadcastTo(x.graph.scalar(0), [batch, size]);
    },
  };
}

/** Lengths as i32 [N]; undefined where every sample has all steps. */
function lengthsOf(
  x: Tensor,
  lengths: RecurrentOptions['lengths'],
  steps: number,
  batch: number,
  refuse: (reason: string) => never,
): Tensor | undefined {
  if (lengths === undefined) return undefined;
  if (lengths instanceof Tensor) {
    if (lengths.dtype === 'i32' && sameShape(lengths.shape, [batch])) return lengths;
    return refuse(`lengths must be i32[${batch}], got ${formatType(lengths.type)}`);
  }
  if (!Array.isArray(lengths)) return refuse(`lengths must be a list or a tensor, got ${shown(lengths)}`);
  if (lengths.length !== batch) refuse(`${lengths.length} lengths for ${batch} samples`);
  const odd = lengths.find((n) => !Number.isInteger(n) || n < 0 || n > steps);
  if (odd !== undefined) refuse(`length ${odd} is not one of 0 … ${steps}`);
  if (lengths.every((n) => n === steps)) return undefined;
  return x.graph.constant({ type: { dtype: 'i32', shape: [batch] }, data: Int32Array.from(lengths) }, 'lengths');
}
