// Every kernel of the WebAssembly backend; the rules of the ABI are in README.md.
export {
  neg,
  exp,
  log,
  sqrt,
  tanh,
  sigmoid,
  relu,
  gelu,
  erf,
  abs,
  reciprocal,
  reluGrad,
  tanhGrad,
  sigmoidGrad,
  geluGrad,
  accumulate,
} from './elementwise';
export {
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  equal,
  notEqual,
  less,
  lessEqual,
  greater,
  greaterEqual,
  equalI32,
  lessI32,
} from './binary';
export {
  where,
  not,
  and,
  or,
  castBoolF32,
  castBoolI32,
  castI32F32,
  castF32I32,
  castF32Bool,
  castI32Bool,
} from './logic';
export { fill32, fill8, copyBytes, copy32, copy8, copyInto32, copyInto8 } from './copy';
export { reduceSum, reduceMax, reduceMin } from './reduce';
export { gemm, gemmBatched, gemmWorkspace } from './gemm';
export { conv, convInputGrad, convWeightGrad, convWorkspace } from './conv';
export { maxPool, maxPoolGrad, maxPoolGather, avgPool, avgPoolGrad } from './pool';
export { resample, resampleGrad } from './resample';
export { softmax, softmaxGrad, logSoftmax, logSoftmaxGrad } from './softmax';
export { layerNorm, layerNormInputGrad, layerNormWeightGrad } from './norm';
export { gatherRows, scatterAddRows } from './gather';
export { crossEntropy, crossEntropyGrad } from './loss';
export { sgd, adam } from './optim';
export { peakMulAdd, peakMulAddChained } from './peak';
