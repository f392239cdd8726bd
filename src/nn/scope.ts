import { type OptionNames, optionProblem } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { type Kind, kindProblem } from '../ops/kinds.ts';
import { refuse, requireTensor } from './refuse.ts';

/** What every layer takes. */
export interface LayerOptions {
  /**
   * Prefix of the layer's parameters and nodes: `fc1` makes `fc1.weight`. Without one they carry the surrounding scope's
   * name only (in `sequential`, the layer's position).
   */
  readonly name?: string;
}

/** Options that mean the same to every layer that has them; what a layer looks at by itself is not here. */
const kindOf: Readonly<Record<string, Kind>> = {
  name: 'text?',
  affine: 'flag?',
  alignCorners: 'flag?',
  attnMask: 'tensor?',
  batchFirst: 'flag?',
  bias: 'flag?',
  bidirectional: 'flag?',
  c0: 'tensor?',
  causal: 'flag?',
  dim: 'number?',
  dimFeedforward: 'number?',
  dropout: 'number?',
  elementwiseAffine: 'flag?',
  endAxis: 'number?',
  eps: 'number?',
  fused: 'flag?',
  groups: 'number?',
  h0: 'tensor?',
  heads: 'number?',
  key: 'tensor?',
  keyPaddingMask: 'tensor?',
  layerNormEps: 'number?',
  maxVal: 'number?',
  memoryKeyPaddingMask: 'tensor?',
  memoryMask: 'tensor?',
  minVal: 'number?',
  mlpRatio: 'number?',
  mode: 'text?',
  negativeSlope: 'number?',
  nonlinearity: 'text?',
  norm: 'flag?',
  normFirst: 'flag?',
  normalizedShape: 'perAxis?',
  numLayers: 'number?',
  numParameters: 'number?',
  paddingIdx: 'number?',
  paddingMode: 'text?',
  rows: 'number?',
  scaleFactor: 'perAxis?',
  size: 'perAxis?',
  srcKeyPaddingMask: 'tensor?',
  srcMask: 'tensor?',
  startAxis: 'number?',
  tgtKeyPaddingMask: 'tensor?',
  tgtMask: 'tensor?',
  trackRunningStats: 'flag?',
  value: 'tensor?',
  weight: 'tensor?',
};

/** The first option that is not of its kind, and what it must be; undefined where there is none. */
export function kindOfOptionProblem(options: object): { readonly text: string; readonly remedy: string } | undefined {
  for (const [name, value] of Object.entries(options)) {
    const problem = kindProblem(kindOf[name] ?? 'other', value);
    if (problem !== undefined)
      return { text: `${name} ${problem}`, remedy: `leave out ${name}, or give it as its type says` };
  }
  return undefined;
}

/** Throws GraphError for options that the layer has not or that are of another kind, and where what it is like is no tensor. */
export function checkOptions<O>(layer: string, like: Tensor, options: O, names: OptionNames<O>): void {
  requireTensor(layer, like);
  const problem = optionProblem(options, names) ?? kindOfOptionProblem(options as object);
  if (problem) refuse(layer, like, problem.text, problem.remedy);
}

/** A layer: refuses options that it has not, and builds in the scope of its name, if it has one; all of it or nothing. */
export function scoped<T, O extends LayerOptions>(
  layer: string,
  like: Tensor,
  options: O,
  names: OptionNames<O>,
  build: () => T,
): T {
  checkOptions(layer, like, options, names);
  const { graph } = like;
  return graph.whole(() => (options.name === undefined ? build() : graph.scope(options.name, build)));
}

/** A layer without options; a record of them is refused, and anything else behind the tensor ignored, as by `map`. */
export function plain(layer: string, build: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x, ...rest: readonly unknown[]) => {
    const isRecord = (given: unknown): given is object =>
      typeof given === 'object' && given !== null && Object.getPrototypeOf(given) === Object.prototype;
    checkOptions(layer, x, rest.find(isRecord) ?? {}, {});
    return x.graph.whole(() => build(x));
  };
}
