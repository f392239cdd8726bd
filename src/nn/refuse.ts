import { GraphError } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import { formatType } from '../core/types.ts';
import { shownTensor, Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';

/** Throws GraphError: what a layer cannot do with its input or options, and how to get what was meant. */
export function refuse(layer: string, x: Tensor, reason: string, remedy?: string): never {
  throw new GraphError('layer-options', `${layer}(${formatType(x.type)}): ${reason}${callerLine()}`, {
    fields: { layer, shape: x.shape, reason },
    remedy,
  });
}

/** Refuses a number that is not in [0, 1]. */
export function requireShare(layer: string, x: Tensor, option: string, value: number): void {
  if (!(typeof value === 'number' && value >= 0 && value <= 1)) {
    refuse(layer, x, `${option} must lie between 0 and 1, got ${shown(value)}`);
  }
}

/** Refuses what is no tensor where a layer takes one: a program in JavaScript may give anything. */
export function requireTensor(
  layer: string,
  x: unknown,
  remedy = `${layer}(x, …) with a tensor x of a graph`,
): asserts x is Tensor {
  if (x instanceof Tensor) return;
  throw new GraphError('layer-options', `${layer}: takes a tensor, got ${shownTensor(x)}${callerLine()}`, {
    fields: { layer, shape: null, reason: 'no tensor' },
    remedy,
  });
}
