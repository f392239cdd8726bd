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
  floor,
  ceil,
  round,
  sign,
  softplus,
  softsign,
  hardSwish,
  geluTanh,
  reluGrad,
  tanhGrad,
  sigmoidGrad,
  geluGrad,
  geluTanhGrad,
  softsignGrad,
  hardSwishGrad,
  accumulate,
  runningAverage,
} from './elementwise';
export {
  elu,
  leakyRelu,
  hardSigmoid,
  clip,
  thresholdedRelu,
  eluGrad,
  leakyReluGrad,
  hardSigmoidGrad,
  clipGrad,
  thresholdedReluGrad,
} from './activations';
export { sin, cos, tan } from './trig';
export {
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  mod,
  fmod,
  prelu,
  equal,
  notEqual,
  less,
  lessEqual,
  greater,
  greaterEqual,
} from './binary';
export {
  addI32,
  subI32,
  mulI32,
  divI32,
  modI32,
  fmodI32,
  powI32,
  maximumI32,
  minimumI32,
  equalI32,
  lessI32,
  negI32,
  absI32,
  signI32,
  clipI32,
} from './integers';
export {
  where,
  not,
  and,
  or,
  xor,
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
export { conv2d, conv2dInputGrad, conv2dWeightGrad, conv2dWorkspace } from './conv';
export { maxPool2d, maxPool2dGrad, maxPool2dGather, avgPool2d, avgPool2dGrad } from './pool';
export { softmax, softmaxGrad, logSoftmax, logSoftmaxGrad } from './softmax';
export { layerNorm, layerNormInputGrad, layerNormWeightGrad } from './norm';
export { gatherRows, scatterAddRows } from './gather';
export { crossEntropy, crossEntropyGrad } from './loss';
export { sgd, adam } from './optim';
export { peakMulAdd, peakMulAddChained } from './peak';
