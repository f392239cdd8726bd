/**
 * The table of all ops, by name. Backends' lowering tables, the conformance tests, the documentation and readers of
 * stored graphs go through it; a missing lowering rule does not compile.
 */
import type { OpRecord } from '../graph/op-record.ts';
import { accumulateOp } from './accumulate.ts';
import {
  clipOp,
  eluOp,
  geluTanhOp,
  hardSigmoidOp,
  hardSwishOp,
  leakyReluOp,
  preluOp,
  softplusOp,
  softsignOp,
  thresholdedReluOp,
} from './activations.ts';
import {
  clipGradOp,
  eluGradOp,
  geluTanhGradOp,
  hardSigmoidGradOp,
  hardSwishGradOp,
  leakyReluGradOp,
  softsignGradOp,
  thresholdedReluGradOp,
} from './activations-grad.ts';
import { adadeltaUpdateOp } from './adadelta-update.ts';
import { adagradUpdateOp } from './adagrad-update.ts';
import { adamUpdateOp } from './adam-update.ts';
import { scaledDotProductAttentionGradOp, scaledDotProductAttentionOp } from './attention.ts';
import { avgPoolGradOp, avgPoolOp } from './avg-pool.ts';
import { accumulateMomentsOp, channelMomentsOp, joinMomentsOp, runningMomentsOp } from './batch-moments.ts';
import { batchNormInferenceOp, batchNormInputGradOp, batchNormOp, batchNormWeightGradOp } from './batch-norm.ts';
import { batchNormWithMomentsInputGradOp, batchNormWithMomentsOp } from './batch-norm-moments.ts';
import { addOp, divOp, maximumOp, minimumOp, mulOp, powOp, subOp } from './binary.ts';
import { clipFactorOp } from './clip-factor.ts';
import {
  andOp,
  castOp,
  equalOp,
  greaterEqualOp,
  greaterOp,
  lessEqualOp,
  lessOp,
  notEqualOp,
  notOp,
  orOp,
  whereOp,
  xorOp,
} from './compare.ts';
import { convInputGradOp, convOp, convWeightGradOp } from './conv.ts';
import { cumSumOp } from './cum-sum.ts';
import { detachOp } from './detach.ts';
import { dropoutMaskOp, dropoutOp } from './dropout.ts';
import { fusedOp } from './fused.ts';
import { gatherOp, scatterAddOp } from './gather.ts';
import { gatherElementsOp, scatterElementsOp } from './gather-elements.ts';
import { gatherNDOp, scatterNDOp } from './gather-nd.ts';
import { groupNormInputGradOp, groupNormOp, groupNormWeightGradOp } from './group-norm.ts';
import { gruScanOp } from './gru-scan.ts';
import { gruScanGradOp } from './gru-scan-grad.ts';
import { crossEntropyGradOp, crossEntropyOp } from './loss.ts';
import { lstmScanOp } from './lstm-scan.ts';
import { lstmScanGradOp } from './lstm-scan-grad.ts';
import { matmulOp } from './matmul.ts';
import { maxPoolGatherOp, maxPoolGradOp, maxPoolOp } from './max-pool.ts';
import { layerNormInputGradOp, layerNormOp, layerNormWeightGradOp } from './norm.ts';
import { argMaxOp, argMinOp, topKOp } from './order.ts';
import { padOp } from './pad.ts';
import { logSumExpOp, maxOp, meanOp, minOp, prodOp, sumOfSquaresOp, sumOp } from './reduce.ts';
import { fmodOp, modOp } from './remainder.ts';
import { resampleGradOp, resampleOp } from './resample.ts';
import { rmspropUpdateOp } from './rmsprop-update.ts';
import { rnnScanGradOp, rnnScanOp } from './rnn-scan.ts';
import { ceilOp, floorOp, roundOp, signOp } from './rounding.ts';
import { runningAverageOp } from './running-average.ts';
import { sgdUpdateOp } from './sgd-update.ts';
import { broadcastToOp, concatOp, reshapeOp, sliceOp, sliceScatterOp, transposeOp } from './shape.ts';
import { logSoftmaxGradOp, logSoftmaxOp, softmaxGradOp, softmaxOp } from './softmax.ts';
import {
  acoshOp,
  acosOp,
  asinhOp,
  asinOp,
  atanhOp,
  atanOp,
  coshOp,
  cosOp,
  sinhOp,
  sinOp,
  tanOp,
} from './trigonometry.ts';
import { triluOp } from './trilu.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

export const records = {
  abs: absOp,
  accumulate: accumulateOp,
  accumulateMoments: accumulateMomentsOp,
  acos: acosOp,
  acosh: acoshOp,
  adadeltaUpdate: adadeltaUpdateOp,
  adagradUpdate: adagradUpdateOp,
  adamUpdate: adamUpdateOp,
  add: addOp,
  and: andOp,
  argMax: argMaxOp,
  argMin: argMinOp,
  asin: asinOp,
  asinh: asinhOp,
  atan: atanOp,
  atanh: atanhOp,
  avgPool: avgPoolOp,
  avgPoolGrad: avgPoolGradOp,
  batchNorm: batchNormOp,
  batchNormInference: batchNormInferenceOp,
  batchNormInputGrad: batchNormInputGradOp,
  batchNormWeightGrad: batchNormWeightGradOp,
  batchNormWithMoments: batchNormWithMomentsOp,
  batchNormWithMomentsInputGrad: batchNormWithMomentsInputGradOp,
  broadcastTo: broadcastToOp,
  cast: castOp,
  ceil: ceilOp,
  channelMoments: channelMomentsOp,
  clip: clipOp,
  clipFactor: clipFactorOp,
  clipGrad: clipGradOp,
  concat: concatOp,
  conv: convOp,
  convInputGrad: convInputGradOp,
  convWeightGrad: convWeightGradOp,
  cos: cosOp,
  cosh: coshOp,
  crossEntropy: crossEntropyOp,
  crossEntropyGrad: crossEntropyGradOp,
  cumSum: cumSumOp,
  detach: detachOp,
  div: divOp,
  dropout: dropoutOp,
  dropoutMask: dropoutMaskOp,
  elu: eluOp,
  eluGrad: eluGradOp,
  equal: equalOp,
  erf: erfOp,
  exp: expOp,
  floor: floorOp,
  fmod: fmodOp,
  fused: fusedOp,
  gather: gatherOp,
  gatherElements: gatherElementsOp,
  gatherND: gatherNDOp,
  gelu: geluOp,
  geluGrad: geluGradOp,
  geluTanh: geluTanhOp,
  geluTanhGrad: geluTanhGradOp,
  greater: greaterOp,
  greaterEqual: greaterEqualOp,
  groupNorm: groupNormOp,
  groupNormInputGrad: groupNormInputGradOp,
  groupNormWeightGrad: groupNormWeightGradOp,
  gruScan: gruScanOp,
  gruScanGrad: gruScanGradOp,
  hardSigmoid: hardSigmoidOp,
  hardSigmoidGrad: hardSigmoidGradOp,
  hardSwish: hardSwishOp,
  hardSwishGrad: hardSwishGradOp,
  joinMoments: joinMomentsOp,
  layerNorm: layerNormOp,
  layerNormInputGrad: layerNormInputGradOp,
  layerNormWeightGrad: layerNormWeightGradOp,
  leakyRelu: leakyReluOp,
  leakyReluGrad: leakyReluGradOp,
  less: lessOp,
  lessEqual: lessEqualOp,
  log: logOp,
  logSoftmax: logSoftmaxOp,
  logSoftmaxGrad: logSoftmaxGradOp,
  logSumExp: logSumExpOp,
  lstmScan: lstmScanOp,
  lstmScanGrad: lstmScanGradOp,
  matmul: matmulOp,
  max: maxOp,
  maximum: maximumOp,
  maxPool: maxPoolOp,
  maxPoolGather: maxPoolGatherOp,
  maxPoolGrad: maxPoolGradOp,
  mean: meanOp,
  min: minOp,
  minimum: minimumOp,
  mod: modOp,
  mul: mulOp,
  neg: negOp,
  not: notOp,
  notEqual: notEqualOp,
  or: orOp,
  pad: padOp,
  pow: powOp,
  prelu: preluOp,
  prod: prodOp,
  reciprocal: reciprocalOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  resample: resampleOp,
  resampleGrad: resampleGradOp,
  reshape: reshapeOp,
  rmspropUpdate: rmspropUpdateOp,
  rnnScan: rnnScanOp,
  rnnScanGrad: rnnScanGradOp,
  round: roundOp,
  runningAverage: runningAverageOp,
  runningMoments: runningMomentsOp,
  scaledDotProductAttention: scaledDotProductAttentionOp,
  scaledDotProductAttentionGrad: scaledDotProductAttentionGradOp,
  scatterAdd: scatterAddOp,
  scatterElements: scatterElementsOp,
  scatterND: scatterNDOp,
  sgdUpdate: sgdUpdateOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  sign: signOp,
  sin: sinOp,
  sinh: sinhOp,
  slice: sliceOp,
  sliceScatter: sliceScatterOp,
  softmax: softmaxOp,
  softmaxGrad: softmaxGradOp,
  softplus: softplusOp,
  softsign: softsignOp,
  softsignGrad: softsignGradOp,
  sqrt: sqrtOp,
  sub: subOp,
  sum: sumOp,
  sumOfSquares: sumOfSquaresOp,
  tan: tanOp,
  tanh: tanhOp,
  tanhGrad: tanhGradOp,
  thresholdedRelu: thresholdedReluOp,
  thresholdedReluGrad: thresholdedReluGradOp,
  topK: topKOp,
  transpose: transposeOp,
  trilu: triluOp,
  where: whereOp,
  xor: xorOp,
};

export type OpName = keyof typeof records;

export const isOpName = (name: string): name is OpName => Object.hasOwn(records, name);

/** The record of an op, its attributes' type forgotten. */
export const recordOf = (name: OpName): OpRecord => records[name] as unknown as OpRecord;
