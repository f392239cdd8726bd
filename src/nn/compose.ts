import { isRecord } from '../core/kinds.ts';
import { shown } from '../core/options.ts';
import { formatType, sameShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { add } from '../ops/elementwise.ts';
import { flatten as flattenAxes } from '../ops/shape.ts';
import { refuse } from './refuse.ts';
import { checkOptions, type LayerOptions, plain, scoped } from './scope.ts';

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
    scoped('sequential', x, options, { name: true }, () =>
      layersOf(x, layers).reduce((y, [name, layer]) => y.graph.scope(name, () => layer(y)), x),
    );

/** Layers by name. Refuses what holds anything but functions. */
function layersOf(x: Tensor, layers: Parameters<typeof sequential>[0]): [string, Layer][] {
  const isGiven = Array.isArray(layers) || isRecord(layers);
  const named = isGiven ? Object.entries(layers) : [];
  const wrong = named.find(([, layer]) => typeof layer !== 'function');
  if (isGiven && wrong === undefined) return named;
  const what = wrong ? `layer ${wrong[0]} is ${shown(wrong[1])}` : `got ${shown(layers)}`;
  return refuse('sequential', x, `takes a list of functions, ${what}`, 'sequential([(x) => linear(x, 64), relu])');
}

export interface ResidualOptions extends LayerOptions {
  /** What x goes through beside the layer: a projection where the layer changes the shape. Default none. */
  readonly shortcut?: Layer;
}

/** layer(x) + x, or layer(x) + shortcut(x) (He et al., "Deep Residual Learning for Image Recognition", 2015). */
export const residual =
  (layer: Layer, options: ResidualOptions = {}): Layer =>
  (x) =>
    scoped('residual', x, options, { name: true, shortcut: true }, () => {
      for (const part of [layer, options.shortcut ?? layer]) {
        if (typeof part !== 'function') {
          refuse('residual', x, `takes functions, got ${shown(part)}`, 'residual((x) => linear(x, 4))');
        }
      }
      const y = layer(x);
      const beside = options.shortcut ? options.shortcut(x) : x;
      // Broadcasting would add them all the same.
      if (!sameShape(y.shape, beside.shape)) {
        const what = options.shortcut ? 'the shortcut' : 'x';
        refuse(
          'residual',
          x,
          `the layer gives ${formatType(y.type)} and ${what} is ${formatType(beside.type)}`,
          'give a shortcut that projects x to the shape of the layer, such as a convolution with kernel 1',
        );
      }
      return add(y, beside);
    });

/** x itself (PyTorch Identity). */
export const identity: Layer = plain('identity', (x) => x);

/** All axes but the batch's joined (PyTorch Flatten); other axes by startAxis and endAxis. */
export const flatten = (
  x: Tensor,
  options: { readonly startAxis?: number; readonly endAxis?: number } = {},
): Tensor => {
  checkOptions('flatten', x, options, { startAxis: true, endAxis: true });
  return flattenAxes(x, { startAxis: 1, ...options });
};
