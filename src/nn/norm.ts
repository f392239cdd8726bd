import type { Tensor } from '../graph/graph.ts';
import { ones, zeros } from '../init/index.ts';
import { layerNorm as normalize } from '../ops/norm.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface LayerNormOptions extends LayerOptions {
  /** default 1e-5 */
  readonly eps?: number;
}

/** Layer normalisation of the last axis (PyTorch LayerNorm). weight and bias [D]. */
export const layerNorm = (x: Tensor, options: LayerNormOptions = {}): Tensor =>
  scoped(x, options, () => {
    const shape = x.shape.slice(-1);
    const weight = x.graph.parameter('weight', shape, ones);
    const bias = x.graph.parameter('bias', shape, zeros);
    return normalize(x, weight, bias, { eps: options.eps });
  });
