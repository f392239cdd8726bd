import { normal, uniform } from '../core/random.ts';
import { allocate, elementCount, type HostTensor, type TensorData, type TensorType } from '../core/types.ts';
import type { ParameterInit } from '../graph/source.ts';

/** First values of a parameter, as `fillInitial` writes them. */
export function initialValue(type: TensorType, init: ParameterInit, seed: number, name: string): HostTensor {
  const data = allocate(type);
  fillInitial(data, type, init, seed, name);
  return { type, data };
}

/** Numbers drawn at once: what is drawn in f64 stays small beside a large parameter. */
const DRAWN = 2 ** 14;

/**
 * First values of a parameter: from its own counter-based stream, keyed by (seed, name), so that they depend neither on
 * the partition nor on other parameters. Writes all of `data`.
 */
export function fillInitial(data: TensorData, type: TensorType, init: ParameterInit, seed: number, name: string): void {
  const key = { seed, stream: `init/${name}` };
  const inParts = (draw: (n: number, start: number) => Float64Array): void => {
    for (let at = 0; at < data.length; at += DRAWN) data.set(draw(Math.min(DRAWN, data.length - at), at), at);
  };
  switch (init.kind) {
    case 'zeros':
      data.fill(0);
      break;
    case 'ones':
      data.fill(1);
      break;
    case 'constant':
      data.fill(init.value);
      break;
    case 'uniform':
      inParts((n, start) => uniform(key, n, start).map((u) => init.low + (init.high - init.low) * u));
      break;
    case 'normal':
      inParts((n, start) => normal(key, n, start).map((z) => init.mean + init.std * z));
      break;
    case 'data':
      data.set(init.data);
      break;
    case 'zeroRow': {
      const width = elementCount(type.shape.slice(1));
      fillInitial(data, type, init.of, seed, name);
      data.fill(0, init.row * width, (init.row + 1) * width);
    }
  }
}
