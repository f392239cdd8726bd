/**
 * Recurrent layers as ordinary ops, step by step: what the fused scans do not cover. Any functions in the cells, values
 * before them clipped, input and forget gates coupled, sequences of several lengths that run in reverse from a state.
 */
import type { Tensor } from '../graph/graph.ts';
import { clip } from './activations.ts';
import { add, mul, sub } from './binary.ts';
import { activate, type CellActivationOption } from './cell-activation.ts';
import { greater, where } from './compare.ts';
import { type GruGates, gruBlocks, type LstmGates, lstmBlocks } from './gates.ts';
import type { GruReset } from './gru-scan-grad.ts';
import { matmul } from './matmul.ts';
import { blocks, stack, timesOf, unstack } from './scan.ts';
import { reshape, slice, transpose } from './shape.ts';

export interface UnrollOptions {
  readonly reverse: boolean;
  /** Steps of each sample, i32 [N]. */
  readonly lengths: Tensor | undefined;
  /** Bound of what enters the functions of gates and candidates; as in onnxruntime, not of what leaves an LSTM's cell. */
  readonly clip: number | undefined;
}

/** A state is a list of [N, H]; its first is the output. */
interface Unrolled<S> {
  /** [T, N, H] */
  readonly output: Tensor;
  readonly final: S;
}

/**
 * Plays a cell over the steps of x. Behind a sequence's end the output is 0 and the state stays as it is: forward that
 * leaves each sample's last state as the final one, in reverse it makes each sample start at its own end.
 */
function unroll<S extends readonly Tensor[]>(
  x: Tensor,
  initial: S,
  { reverse, lengths }: UnrollOptions,
  cell: (x: Tensor, state: S) => S,
): Unrolled<S> {
  const inputs = unstack(x);
  const outputs = new Array<Tensor>(inputs.length);
  const ends = lengths && reshape(lengths, [lengths.shape[0]!, 1]);
  let state = initial;
  for (const t of timesOf(inputs.length, reverse)) {
    const next = cell(inputs[t]!, state);
    if (ends) {
      const runs = greater(ends, t);
      outputs[t] = where(runs, next[0]!, 0);
      state = next.map((value, i) => where(runs, value, state[i]!)) as unknown as S;
    } else {
      outputs[t] = next[0]!;
      state = next;
    }
  }
  return { output: stack(outputs), final: state };
}

/** f of x, held within the bounds first. */
const through = (x: Tensor, f: CellActivationOption, options: UnrollOptions): Tensor =>
  activate(options.clip === undefined ? x : clip(x, { low: -options.clip, high: options.clip }), f);

/** [H, …] from a recurrent weight, once: it is one use of the weight, with one gradient, however many steps there are. */
const columnsOf = (weight: Tensor): Tensor => transpose(weight);

export interface UnrollLstmOptions extends UnrollOptions {
  readonly gates: LstmGates;
  /** Of the gates, of the candidate, of the cell state on its way out. */
  readonly activations: Readonly<Record<'f' | 'g' | 'h', CellActivationOption>>;
  /** The forget gate is 1 − the input gate. */
  readonly coupled: boolean;
}

export function unrollLstm(
  x: Tensor,
  weights: { readonly r: Tensor; readonly peepholes?: Tensor },
  initial: { readonly h: Tensor; readonly c: Tensor },
  options: UnrollLstmOptions,
): Unrolled<readonly [h: Tensor, c: Tensor]> {
  const weight = columnsOf(weights.r);
  const block = lstmBlocks[options.gates];
  const [pI, pO, pF] = weights.peepholes ? blocks(weights.peepholes, 3) : [];
  const { f, g, h } = options.activations;
  const seen = (gate: Tensor, p: Tensor | undefined, cell: Tensor): Tensor => (p ? add(gate, mul(cell, p)) : gate);
  return unroll(x, [initial.h, initial.c] as const, options, (now, [hBefore, cBefore]) => {
    const parts = blocks(add(now, matmul(hBefore, weight)), 4);
    const input = through(seen(parts[block.i]!, pI, cBefore), f, options);
    const forget = options.coupled ? sub(1, input) : through(seen(parts[block.f]!, pF, cBefore), f, options);
    const candidate = through(parts[block.g]!, g, options);
    const c = add(mul(forget, cBefore), mul(input, candidate));
    const out = through(seen(parts[block.o]!, pO, c), f, options);
    return [mul(out, activate(c, h)), c] as const;
  });
}

export interface UnrollGruOptions extends UnrollOptions {
  readonly gates: GruGates;
  readonly reset: GruReset;
  /** Of the gates, of the candidate. */
  readonly activations: Readonly<Record<'f' | 'g', CellActivationOption>>;
}

/** `bias` [H]: of the candidate's product, where the reset gate acts behind it. */
export function unrollGru(
  x: Tensor,
  weights: { readonly r: Tensor; readonly bias?: Tensor },
  initial: Tensor,
  options: UnrollGruOptions,
): Unrolled<readonly [h: Tensor]> {
  const size = initial.shape[1]!;
  const weight = columnsOf(weights.r);
  const [gateWeight, candidateWeight] = [slice(weight, { 1: [0, 2 * size] }), slice(weight, { 1: [2 * size, null] })];
  const block = gruBlocks[options.gates];
  const { f, g } = options.activations;
  return unroll(x, [initial] as const, options, (now, [before]) => {
    const pair = blocks(add(slice(now, { 1: [0, 2 * size] }), matmul(before, gateWeight)), 2);
    const z = through(pair[block.z]!, f, options);
    const r = through(pair[block.r]!, f, options);
    const product = (of: Tensor): Tensor => matmul(of, candidateWeight);
    const shifted = (y: Tensor): Tensor => (weights.bias ? add(y, weights.bias) : y);
    const recurrent = options.reset === 'after' ? mul(r, shifted(product(before))) : product(mul(r, before));
    const n = through(add(slice(now, { 1: [2 * size, null] }), recurrent), g, options);
    return [add(mul(sub(1, z), n), mul(z, before))] as const;
  });
}

export interface UnrollRnnOptions extends UnrollOptions {
  readonly activation: CellActivationOption;
}

export function unrollRnn(
  x: Tensor,
  r: Tensor,
  initial: Tensor,
  options: UnrollRnnOptions,
): Unrolled<readonly [h: Tensor]> {
  const weight = columnsOf(r);
  return unroll(x, [initial] as const, options, (now, [before]) => [
    through(add(now, matmul(before, weight)), options.activation, options),
  ]);
}
