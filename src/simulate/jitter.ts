import { UsageError } from '../core/errors.ts';
import { exp, log } from '../core/portable-math.ts';
import { normal } from '../core/random.ts';

export interface Jitter {
  /** Deviation of an action's time over its mean. */
  readonly variation: number;
  readonly seed: number;
  /** Steps of one seed vary independently. Default 0. */
  readonly step?: number;
}

/** Drawn at once. */
const CHUNK = 256;

/**
 * Factors on the times of a device's actions, lognormal with mean 1: exp(σz − σ²/2) with σ² = log(1 + variation²). The
 * factor of an action depends on seed, step, device and its index alone, not on the order in which things happen.
 */
export function jitterOf({ variation, seed, step = 0 }: Jitter): (device: number) => (index: number) => number {
  if (!(variation >= 0 && variation <= 10)) {
    throw new UsageError(
      'jitter-invalid',
      `jitter: a coefficient of variation is a number from 0 to 10, not ${variation}`,
      {
        fields: { jitter: variation },
        remedy: '0.05 makes times vary by 5 %',
      },
    );
  }
  const variance = log(1 + variation * variation);
  const sigma = Math.sqrt(variance);
  return (device) => {
    let start = -1;
    let drawn: ArrayLike<number> = [];
    return (index) => {
      const wanted = index - (index % CHUNK);
      if (wanted !== start) {
        start = wanted;
        drawn = normal({ seed, stream: `jitter/${step}/${device}` }, CHUNK, start);
      }
      return exp(sigma * drawn[index - start]! - variance / 2);
    };
  };
}
