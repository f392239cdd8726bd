import { normal, uniform } from '../core/random.ts';
import { allocate, elementCount, type HostTensor, type TensorType } from '../core/types.ts';
import type { ParameterInit } from '../graph/graph.ts';

/**
 * First values of a parameter: from its own counter-based stream, keyed by (seed, name), so that they depend neither on
 * the partition nor on other parameters.
 */
export function initialValue(type: TensorType, init: ParameterInit, seed: number, name: string): HostTensor {
  const data = allocate(type);
  const n = elementCount(type.shape);
  const key = { seed, stream: `init/${name}` };
  switch (init.kind) {
    case 'zeros':
      break;
    case 'ones':
      data.fill(1);
      break;
    case 'constant':
      data.fill(init.value);
      break;
    case 'uniform':
      data.set(uniform(key, n).map((u) => init.low + (init.high - init.low) * u));
      break;
    case 'normal':
      data.set(normal(key, n).map((z) => init.mean + init.std * z));
      break;
    case 'data':
      data.set(init.data);
      break;
    case 'zeroRow': {
      const width = elementCount(type.shape.slice(1));
      data.set(initialValue(type, init.of, seed, name).data);
      data.fill(0, init.row * width, (init.row + 1) * width);
    }
  }
  return { type, data };
}
