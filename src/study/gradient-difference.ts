/** The gradient of a batch in one piece against the same batch in M microbatches: bits, units in the last place, and size. */
import type { HostTensor } from '../core/types.ts';
import { makePlan } from '../plan/plan.ts';
import { type PreparedExperiment, planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import { Session } from '../train/session.ts';
import { onOneDevice } from './one-device.ts';

export interface GradientDifference {
  readonly microbatches: number;
  readonly parameter: string;
  readonly elements: number;
  /** Elements whose 32 bits are the same. */
  readonly equalBits: number;
  /** Largest distance in representable f32 numbers. */
  readonly maxUlps: number;
  /** max |g₁ − g_M|, and the same over max |g₁| (0 where both are 0). */
  readonly maxDifference: number;
  readonly relativeDifference: number;
  /** The most that another order of the same additions can change; null where that is not known. */
  readonly bound: number | null;
  readonly within: boolean | null;
}

/** Compares each count of microbatches with one piece: the first batch of the data, first values by the seed. */
export async function compareGradients(
  { experiment }: PreparedExperiment,
  counts: readonly number[],
  signal?: AbortSignal,
): Promise<GradientDifference[]> {
  const whole = await gradientsOf(experiment, 1, signal);
  const rows: GradientDifference[] = [];
  for (const microbatches of counts) {
    if (microbatches === 1) continue;
    const cut = await gradientsOf(experiment, microbatches, signal);
    for (const [parameter, a] of whole) rows.push({ microbatches, parameter, ...differenceOf(a, cut.get(parameter)!) });
  }
  return rows;
}

async function gradientsOf(
  experiment: PreparedExperiment['experiment'],
  microbatches: number,
  signal: AbortSignal | undefined,
): Promise<Map<string, Float32Array>> {
  const prepared = prepareExperiment({ ...onOneDevice(experiment), microbatches }, { where: 'gradients' });
  const plan = makePlan({ ...planRequestOf(prepared, 'gradients'), inputGradients: false });
  await using session = await Session.open(plan, { seed: experiment.seed, transport: 'local', audit: false });
  const { results } = await session.run('gradients', prepared.source!.batchAt(0).tensors, { signal });
  return new Map(
    [...results].flatMap(([name, t]) => (name.startsWith('grad/') ? [[name.slice(5), floats(t)] as const] : [])),
  );
}

const floats = ({ data }: HostTensor): Float32Array => data as Float32Array;

/** Element by element. */
export function differenceOf(a: Float32Array, b: Float32Array): Omit<GradientDifference, 'microbatches' | 'parameter'> {
  const [bitsA, bitsB] = [a, b].map((x) => new Int32Array(x.buffer, x.byteOffset, x.length)) as [
    Int32Array,
    Int32Array,
  ];
  let [equalBits, maxUlps, maxDifference, largest] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    if (bitsA[i] === bitsB[i]) equalBits++;
    maxUlps = Math.max(maxUlps, Math.abs(rank(bitsA[i]!) - rank(bitsB[i]!)));
    maxDifference = Math.max(maxDifference, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(a[i]!));
  }
  const relativeDifference = maxDifference === 0 ? 0 : maxDifference / largest;
  return { elements: a.length, equalBits, maxUlps, maxDifference, relativeDifference, bound: null, within: null };
}

/** The number of an f32 in their order: neighbours differ by 1, and −0 is +0. */
const rank = (bits: number): number => (bits < 0 ? -(bits & 0x7fffffff) : bits);
