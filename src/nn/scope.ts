import { type OptionNames, optionProblem } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { refuse, requireTensor } from './refuse.ts';

/** What every layer takes. */
export interface LayerOptions {
  /**
   * Prefix of the layer's parameters and nodes: `fc1` makes `fc1.weight`. Without one they carry the surrounding scope's
   * name only (in `sequential`, the layer's position).
   */
  readonly name?: string;
}

/** Throws GraphError for options that the layer has not, and where what it is like is no tensor. */
export function checkOptions<O>(layer: string, like: Tensor, options: O, names: OptionNames<O>): void {
  requireTensor(layer, like);
  const problem = optionProblem(options, names);
  if (problem) refuse(layer, like, problem.text, problem.remedy);
}

/** A layer: refuses options that it has not, and builds in the scope of its name, if it has one. */
export function scoped<T, O extends LayerOptions>(
  layer: string,
  like: Tensor,
  options: O,
  names: OptionNames<O>,
  build: () => T,
): T {
  checkOptions(layer, like, options, names);
  return options.name === undefined ? build() : like.graph.scope(options.name, build);
}

/** A layer without options; a record of them is refused, and anything else behind the tensor ignored, as by `map`. */
export function plain(layer: string, build: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x, ...rest: readonly unknown[]) => {
    const isRecord = (given: unknown): given is object =>
      typeof given === 'object' && given !== null && Object.getPrototypeOf(given) === Object.prototype;
    checkOptions(layer, x, rest.find(isRecord) ?? {}, {});
    return build(x);
  };
}
