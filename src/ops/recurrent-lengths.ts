/**
 * Sequences of several lengths in one fused scan. Behind a sequence's end, what enters the gates is replaced by values that
 * keep the state: an input gate of −∞ is closed and a forget gate of ∞ open, to the last bit, and their slopes are 0. So
 * nothing behind the end reaches a result or a gradient, and in reverse each sample starts at its own end.
 *
 *   LSTM: c stays, h is 0.   GRU: h stays.   RNN: h is 0 with relu; with tanh it stays where it is 0.
 */
import type { Tensor } from '../graph/graph.ts';
import { add } from './binary.ts';
import { equal, greater, where } from './compare.ts';
import { type GruGates, gruBlocks, type LstmGates, lstmBlocks } from './gates.ts';
import { sum } from './reduce.ts';
import type { RnnActivation } from './rnn-scan.ts';
import { reshape } from './shape.ts';

/** What holds the state, a value for each block of the gates' axis. */
export const held = {
  lstm: (gates: LstmGates): number[] => {
    const { i, o, f } = lstmBlocks[gates];
    return placed(4, { [i]: -Infinity, [f]: Infinity, [o]: -Infinity });
  },
  gru: (gates: GruGates): number[] => placed(3, { [gruBlocks[gates].z]: Infinity }),
  rnn: (activation: RnnActivation): number[] => [activation === 'relu' ? -Infinity : 0],
};

const placed = (count: number, values: Readonly<Record<number, number>>): number[] =>
  Array.from({ length: count }, (_, block) => values[block] ?? 0);

/** The times of x as i32 [T, 1, 1], counted from `first`. */
function times(x: Tensor, first: number): Tensor {
  const steps = x.shape[0]!;
  const data = Int32Array.from({ length: steps }, (_, t) => t + first);
  return x.graph.constant({ type: { dtype: 'i32', shape: [steps, 1, 1] }, data }, 'times');
}

/** x [T, N, …] where its sample still runs; elsewhere `behind`, a scalar or [width]. */
export const whileRunning = (x: Tensor, lengths: Tensor, behind: Tensor | number): Tensor =>
  where(greater(reshape(lengths, [1, lengths.shape[0]!, 1]), times(x, 0)), x, behind);

/** What enters the gates, [T, N, gates·H], with values that keep the state behind each sample's end. */
export function hold(x: Tensor, lengths: Tensor, values: readonly number[]): Tensor {
  const width = x.shape[2]!;
  const data = Float32Array.from({ length: width }, (_, i) => values[Math.floor((i * values.length) / width)]!);
  return whileRunning(x, lengths, x.graph.constant({ type: { dtype: 'f32', shape: [width] }, data }, 'held'));
}

/** The state [N, H] at each sample's end, of a scan from the first step on; `h0` where there is no step. */
export function stateAtEnd(states: Tensor, lengths: Tensor, h0: Tensor | undefined): Tensor {
  const batch = lengths.shape[0]!;
  const last = equal(reshape(lengths, [1, batch, 1]), times(states, 1));
  const end = sum(where(last, states, 0), { axes: 0 });
  return h0 ? add(end, where(equal(reshape(lengths, [batch, 1]), 0), h0, 0)) : end;
}
