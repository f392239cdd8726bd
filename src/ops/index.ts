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
import { conv2dInputGradOp, conv2dOp, conv2dWeightGradOp } from './conv.ts';
import { gatherOp, scatterAddOp } from './gather.ts';
import { gatherElementsOp, scatterElementsOp } from './gather-elements.ts';
import { gatherNDOp, scatterNDOp } from './gather-nd.ts';
import { crossEntropyGradOp, crossEntropyOp } from './loss.ts';
import { matmulOp } from './matmul.ts';
import { layerNormInputGradOp, layerNormOp, layerNormWeightGradOp } from './norm.ts';
import { adamUpdateOp, sgdUpdateOp } from './optimizer.ts';
import { argMaxOp, argMinOp, topKOp } from './order.ts';
import { avgPool2dGradOp, avgPool2dOp, maxPool2dGatherOp, maxPool2dGradOp, maxPool2dOp } from './pool.ts';
import { logSumExpOp, maxOp, meanOp, minOp, prodOp, sumOp } from './reduce.ts';
import { cumSumOp } from './scan.ts';
import { broadcastToOp, concatOp, reshapeOp, sliceOp, sliceScatterOp, transposeOp } from './shape.ts';
import { logSoftmaxGradOp, logSoftmaxOp, softmaxGradOp, softmaxOp } from './softmax.ts';
import { triluOp } from './trilu.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

export const records = {
  abs: absOp,
  accumulate: accumulateOp,
  adamUpdate: adamUpdateOp,
  add: addOp,
  and: andOp,
  argMax: argMaxOp,
  argMin: argMinOp,
  avgPool2d: avgPool2dOp,
  avgPool2dGrad: avgPool2dGradOp,
  broadcastTo: broadcastToOp,
  cast: castOp,
  concat: concatOp,
  conv2d: conv2dOp,
  conv2dInputGrad: conv2dInputGradOp,
  conv2dWeightGrad: conv2dWeightGradOp,
  crossEntropy: crossEntropyOp,
  crossEntropyGrad: crossEntropyGradOp,
  cumSum: cumSumOp,
  div: divOp,
  equal: equalOp,
  erf: erfOp,
  exp: expOp,
  gather: gatherOp,
  gatherElements: gatherElementsOp,
  gatherND: gatherNDOp,
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
  logSumExp: logSumExpOp,
  matmul: matmulOp,
  max: maxOp,
  maximum: maximumOp,
  maxPool2d: maxPool2dOp,
  maxPool2dGather: maxPool2dGatherOp,
  maxPool2dGrad: maxPool2dGradOp,
  mean: meanOp,
  min: minOp,
  minimum: minimumOp,
  mul: mulOp,
  neg: negOp,
  not: notOp,
  notEqual: notEqualOp,
  or: orOp,
  pow: powOp,
  prod: prodOp,
  reciprocal: reciprocalOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  reshape: reshapeOp,
  scatterAdd: scatterAddOp,
  scatterElements: scatterElementsOp,
  scatterND: scatterNDOp,
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
  topK: topKOp,
  transpose: transposeOp,
  trilu: triluOp,
  where: whereOp,
};

export type OpName = keyof typeof records;

export const isOpName = (name: string): name is OpName => Object.hasOwn(records, name);

/** The record of an op, its attributes' type forgotten. */
export const recordOf = (name: OpName): OpRecord => records[name] as unknown as OpRecord;
