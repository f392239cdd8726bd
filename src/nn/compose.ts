import type { Tensor } from '../graph/graph.ts';
import { add } from '../ops/elementwise.ts';
import { flatten as flattenAxes } from '../ops/shape.ts';
import { type LayerOptions, scoped } from './scope.ts';

export type Layer = (x: Tensor) => Tensor;

/**
 * Layers one after the other. Those of a list are named by position, as in PyTorch (`0.weight`, `2.weight`), those of a
 * record by key:
 *
 *     sequential([(x) => linear(x, 64), relu, (x) => linear(x, 10)], { name: 'mlp' })(x)   // mlp.0.weight … mlp.2.bias
 */
export const sequential =
  (layers: readonly Layer[] | Readonly<Record<string, Layer>>, options: LayerOptions = {}): Layer =>
  (x) =>
    scoped(x, options, () =>
      Object.entries(layers).reduce((y, [name, layer]) => scoped(y, { name }, () => layer(y)), x),
    );

/** x + layer(x) */
export const residual =
  (layer: Layer, options: LayerOptions = {}): Layer =>
  (x) =>
    scoped(x, options, () => add(x, layer(x)));

/** All axes but the batch's joined (PyTorch Flatten). */
export const flatten = (x: Tensor): Tensor => flattenAxes(x, { startAxis: 1 });
