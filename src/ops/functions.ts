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
export { type ScaledDotProductAttentionOptions, scaledDotProductAttention } from './attention.ts';
export { avgPool1d, avgPool2d, avgPool3d } from './avg-pool.ts';
export { batchNorm, batchNormInference } from './batch-norm.ts';
export { crossEntropyLoss, nllLoss } from './class-loss.ts';
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
export { conv1d, conv2d, conv3d } from './conv.ts';
export { convTranspose1d, convTranspose2d, convTranspose3d } from './conv-transpose.ts';
export { cumSum } from './cum-sum.ts';
export { detach } from './detach.ts';
export { dropout } from './dropout.ts';
export { einsum } from './einsum.ts';
export * from './elementwise.ts';
export { gather, scatterAdd } from './gather.ts';
export { gatherElements, scatterElements } from './gather-elements.ts';
export { gatherND, scatterND } from './gather-nd.ts';
export { groupNorm, instanceNorm } from './group-norm.ts';
export { matmul } from './matmul.ts';
export { maxPool1d, maxPool2d, maxPool3d } from './max-pool.ts';
export { layerNorm } from './norm.ts';
export { oneHot, oneHotMask } from './one-hot.ts';
export { argMax, argMin, topK } from './order.ts';
export { pad } from './pad.ts';
export { gru, lstm, rnn } from './recurrent.ts';
export { logSumExp, max, mean, min, prod, sum, sumOfSquares } from './reduce.ts';
export { resample } from './resample.ts';
export { resize } from './resize.ts';
export { broadcastTo, concat, flatten, flip, reshape, slice, squeeze, transpose, unsqueeze } from './shape.ts';
export { logSoftmax, softmax } from './softmax.ts';
export { depthToSpace, pixelShuffle, pixelUnshuffle, spaceToDepth } from './space-depth.ts';
export { trilu } from './trilu.ts';
export { vectorNorm } from './vector-norm.ts';
