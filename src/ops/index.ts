/**
 * The table of all ops, by name. Backends' lowering tables, the conformance tests, the documentation and readers of
 * stored graphs go through it; a missing lowering rule does not compile.
 */
import type { OpRecord } from '../graph/op-record.ts';
import { accumulateOp } from './accumulate.ts';
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
} from './compare.ts';
import { convInputGradOp, convOp, convWeightGradOp } from './conv.ts';
import { gatherOp, scatterAddOp } from './gather.ts';
import { crossEntropyGradOp, crossEntropyOp } from './loss.ts';
import { matmulOp } from './matmul.ts';
import { layerNormInputGradOp, layerNormOp, layerNormWeightGradOp } from './norm.ts';
import { adamUpdateOp, sgdUpdateOp } from './optimizer.ts';
import { padOp } from './pad.ts';
import { avgPoolGradOp, avgPoolOp, maxPoolGatherOp, maxPoolGradOp, maxPoolOp } from './pool.ts';
import { maxOp, meanOp, minOp, sumOp } from './reduce.ts';
import { resampleGradOp, resampleOp } from './resample.ts';
import { broadcastToOp, concatOp, reshapeOp, sliceOp, sliceScatterOp, transposeOp } from './shape.ts';
import { logSoftmaxGradOp, logSoftmaxOp, softmaxGradOp, softmaxOp } from './softmax.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

export const records = {
  abs: absOp,
  accumulate: accumulateOp,
  adamUpdate: adamUpdateOp,
  add: addOp,
  and: andOp,
  avgPool: avgPoolOp,
  avgPoolGrad: avgPoolGradOp,
  broadcastTo: broadcastToOp,
  cast: castOp,
  concat: concatOp,
  conv: convOp,
  convInputGrad: convInputGradOp,
  convWeightGrad: convWeightGradOp,
  crossEntropy: crossEntropyOp,
  crossEntropyGrad: crossEntropyGradOp,
  div: divOp,
  equal: equalOp,
  erf: erfOp,
  exp: expOp,
  gather: gatherOp,
  gelu: geluOp,
  geluGrad: geluGradOp,
  greater: greaterOp,
  greaterEqual: greaterEqualOp,
  layerNorm: layerNormOp,
  layerNormInputGrad: layerNormInputGradOp,
  layerNormWeightGrad: layerNormWeightGradOp,
  less: lessOp,
  lessEqual: lessEqualOp,
  log: logOp,
  logSoftmax: logSoftmaxOp,
  logSoftmaxGrad: logSoftmaxGradOp,
  matmul: matmulOp,
  max: maxOp,
  maximum: maximumOp,
  maxPool: maxPoolOp,
  maxPoolGather: maxPoolGatherOp,
  maxPoolGrad: maxPoolGradOp,
  mean: meanOp,
  min: minOp,
  minimum: minimumOp,
  mul: mulOp,
  neg: negOp,
  not: notOp,
  notEqual: notEqualOp,
  or: orOp,
  pad: padOp,
  pow: powOp,
  reciprocal: reciprocalOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  resample: resampleOp,
  resampleGrad: resampleGradOp,
  reshape: reshapeOp,
  scatterAdd: scatterAddOp,
  sgdUpdate: sgdUpdateOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  slice: sliceOp,
  sliceScatter: sliceScatterOp,
  softmax: softmaxOp,
  softmaxGrad: softmaxGradOp,
  sqrt: sqrtOp,
  sub: subOp,
  sum: sumOp,
  tanh: tanhOp,
  tanhGrad: tanhGradOp,
  transpose: transposeOp,
  where: whereOp,
};

export type OpName = keyof typeof records;

export const isOpName = (name: string): name is OpName => Object.hasOwn(records, name);

/** The record of an op, its attributes' type forgotten. */
export const recordOf = (name: OpName): OpRecord => records[name] as unknown as OpRecord;
