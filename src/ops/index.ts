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
import { matmulOp } from './matmul.ts';
import { maxOp, meanOp, minOp, sumOp } from './reduce.ts';
import { broadcastToOp, concatOp, reshapeOp, sliceOp, sliceScatterOp, transposeOp } from './shape.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

export const records = {
  abs: absOp,
  accumulate: accumulateOp,
  add: addOp,
  and: andOp,
  broadcastTo: broadcastToOp,
  cast: castOp,
  concat: concatOp,
  div: divOp,
  equal: equalOp,
  erf: erfOp,
  exp: expOp,
  gelu: geluOp,
  geluGrad: geluGradOp,
  greater: greaterOp,
  greaterEqual: greaterEqualOp,
  less: lessOp,
  lessEqual: lessEqualOp,
  log: logOp,
  matmul: matmulOp,
  max: maxOp,
  maximum: maximumOp,
  mean: meanOp,
  min: minOp,
  minimum: minimumOp,
  mul: mulOp,
  neg: negOp,
  not: notOp,
  notEqual: notEqualOp,
  or: orOp,
  pow: powOp,
  reciprocal: reciprocalOp,
  relu: reluOp,
  reluGrad: reluGradOp,
  reshape: reshapeOp,
  sigmoid: sigmoidOp,
  sigmoidGrad: sigmoidGradOp,
  slice: sliceOp,
  sliceScatter: sliceScatterOp,
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
