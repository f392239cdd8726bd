/** The ops as users call them: PyTorch's names in camelCase, options last. */
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  globalAvgPool,
  globalMaxPool,
} from './adaptive-pool.ts';
export {
  and,
  cast,
  equal,
  greater,
  greaterEqual,
  less,
  lessEqual,
  not,
  notEqual,
  or,
  where,
} from './compare.ts';
export { conv1d, conv2d, conv3d } from './conv.ts';
export { convTranspose1d, convTranspose2d, convTranspose3d } from './conv-transpose.ts';
export * from './elementwise.ts';
export { gather, scatterAdd } from './gather.ts';
export { matmul } from './matmul.ts';
export { layerNorm } from './norm.ts';
export { pad } from './pad.ts';
export { avgPool1d, avgPool2d, avgPool3d, maxPool1d, maxPool2d, maxPool3d } from './pool.ts';
export { max, mean, min, sum } from './reduce.ts';
export { resample } from './resample.ts';
export { resize } from './resize.ts';
export { broadcastTo, concat, flatten, reshape, slice, squeeze, transpose, unsqueeze } from './shape.ts';
export { logSoftmax, softmax } from './softmax.ts';
export { depthToSpace, pixelShuffle, pixelUnshuffle, spaceToDepth } from './space-depth.ts';
