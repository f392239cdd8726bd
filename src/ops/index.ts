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
import { addOp, divOp, maximumOp, minimumOp, mulOp, powOp, subOp } from './binary.ts';
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
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from './conv.ts';
import { gatherOp, scatterAddOp } from './gather.ts';
import { crossEntropyGradOp, crossEntropyOp } from './loss.ts';
import { matmulOp } from './matmul.ts';
import { layerNormInputGradOp, layerNormOp, layerNormWeightGradOp } from './norm.ts';
import { adamUpdateOp, sgdUpdateOp } from './optimizer.ts';
import { avgPool2dGradOp, avgPool2dOp, maxPool2dGatherOp, maxPool2dGradOp, maxPool2dOp } from './pool.ts';
import { maxOp, meanOp, minOp, sumOp } from './reduce.ts';
import { fmodOp, modOp } from './remainder.ts';
import { ceilOp, floorOp, roundOp, signOp } from './rounding.ts';
import { runningAverageOp } from './running-average.ts';
import { broadcastToOp, concatOp, reshapeOp, sliceOp, sliceScatterOp, transposeOp } from './shape.ts';
import { logSoftmaxGradOp, logSoftmaxOp, softmaxGradOp, softmaxOp } from './softmax.ts';
import { cosOp, sinOp, tanOp } from './trigonometry.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

export const records = {
  abs: absOp,
  accumulate: accumulateOp,
  adamUpdate: adamUpdateOp,
  add: addOp,
  and: andOp,
  avgPool2d: avgPool2dOp,
  avgPool2dGrad: avgPool2dGradOp,
  broadcastTo: broadcastToOp,
  cast: castOp,
  ceil: ceilOp,
  clip: clipOp,
  clipGrad: clipGradOp,
  concat: concatOp,
  conv2d: conv2dOp,
  conv2dInputGrad: conv2dInputGradOp,
  conv2dWeightGrad: conv2dWeightGradOp,
  cos: cosOp,
  crossEntropy: crossEntropyOp,
  crossEntropyGrad: crossEntropyGradOp,
  div: divOp,
  elu: eluOp,
  eluGrad: eluGradOp,
  equal: equalOp,
  erf: erfOp,
  exp: expOp,
  floor: floorOp,
  fmod: fmodOp,
  gather: gatherOp,
  gelu: geluOp,
  geluGrad: geluGradOp,
  geluTanh: geluTanhOp,
  geluTanhGrad: geluTanhGradOp,
  greater: greaterOp,
  greaterEqual: greaterEqualOp,
  hardSigmoid: hardSigmoidOp,
  hardSigmoidGrad: hardSigmoidGradOp,
  hardSwish: hardSwishOp,
  hardSwishGrad: hardSwishGradOp,
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
  matmul: matmulOp,
  max: maxOp,
  maximum: maximumOp,
  maxPool2d: maxPool2dOp,
  maxPool2dGather: maxPool2dGatherOp,
  maxPool2dGrad: maxPool2dGradOp,
  mean: meanOp,
  min: minOp,
  minimum: minimumOp,
  mod: modOp,
  mul: mulOp,
  neg: negOp,
  not: notOp,
  notEqual: notEqualOp,
  or: orOp,
  pow: powOp,
  prelu: preluOp,
  reciprocal: reciprocalOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  reshape: reshapeOp,
  round: roundOp,
  runningAverage: runningAverageOp,
  scatterAdd: scatterAddOp,
  sgdUpdate: sgdUpdateOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  sign: signOp,
  sin: sinOp,
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
  tan: tanOp,
  tanh: tanhOp,
  tanhGrad: tanhGradOp,
  thresholdedRelu: thresholdedReluOp,
  thresholdedReluGrad: thresholdedReluGradOp,
  transpose: transposeOp,
  where: whereOp,
  xor: xorOp,
};

export type OpName = keyof typeof records;

export const isOpName = (name: string): name is OpName => Object.hasOwn(records, name);

/** The record of an op, its attributes' type forgotten. */
export const recordOf = (name: OpName): OpRecord => records[name] as unknown as OpRecord;
