/** The ops as users call them: PyTorch's names in camelCase, options last. */
export {
  and,
  cast,
  equal,
  greater,
  greaterEqual,
  isInf,
  isNan,
  less,
  lessEqual,
  not,
  notEqual,
  or,
  where,
  xor,
} from './compare.ts';
export { conv2d } from './conv.ts';
export * from './elementwise.ts';
export { gather, scatterAdd } from './gather.ts';
export { matmul } from './matmul.ts';
export { layerNorm } from './norm.ts';
export { avgPool2d, maxPool2d } from './pool.ts';
export { max, mean, min, sum } from './reduce.ts';
export { broadcastTo, concat, flatten, reshape, slice, squeeze, transpose, unsqueeze } from './shape.ts';
export { logSoftmax, softmax } from './softmax.ts';
