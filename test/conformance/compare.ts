import type { HostTensor } from '../../src/core/types.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';

/** The first element with |a − r| > atol + rtol·|r| as a sentence, or undefined. NaN and infinities must agree. */
export function firstDifference(
  actual: ArrayLike<number>,
  reference: ArrayLike<number>,
  { atol, rtol }: { atol: number; rtol: number },
): string | undefined {
  if (actual.length !== reference.length) return `${actual.length} values instead of ${reference.length}`;
  for (let i = 0; i < actual.length; i++) {
    const [a, r] = [actual[i]!, reference[i]!];
    if (Object.is(a, r) || a === r || (Number.isNaN(a) && Number.isNaN(r))) continue;
    if (Math.abs(a - r) <= atol + rtol * Math.abs(r) && Number.isFinite(r)) continue;
    return `element ${i} is ${a} instead of ${r} (atol ${atol}, rtol ${rtol})`;
  }
  return undefined;
}

export const norm = (values: Iterable<number>): number => {
  let sum = 0;
  for (const v of values) sum += v * v;
  return Math.sqrt(sum);
};

/** The bytes a reference result has once it is stored. */
export function stored({ type, data }: RefTensor): HostTensor {
  if (type.dtype === 'f32') return { type, data: Float32Array.from(data) };
  return { type, data: type.dtype === 'i32' ? Int32Array.from(data) : Uint8Array.from(data) };
}
