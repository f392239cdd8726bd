import { GraphError } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import type { Attrs, OpRecord } from '../graph/op-record.ts';
import { callerLine } from '../graph/source-line.ts';

/** Fixes a record's attribute type; the records of all ops are gathered in `ops/index.ts`. */
export const defineOp = <A extends Attrs>(record: OpRecord<A>): OpRecord<A> => record;

/** A tensor, or a number that becomes a scalar constant: i32 where it is whole and stands beside an i32 tensor, else f32. */
export type Operand = Tensor | number;

/** The graph of the first tensor among operands. */
export function graphOf(...operands: Operand[]) {
  const tensor = operands.find((o) => typeof o !== 'number');
  if (tensor === undefined || typeof tensor === 'number') {
    throw new GraphError('no-tensor', `at least one operand must be a tensor, got ${shown(operands)}${callerLine()}`, {
      remedy: 'graph.scalar(1) makes a tensor of a number',
    });
  }
  return tensor.graph;
}

/** Operands as tensors of one graph. */
export function lift(...operands: Operand[]): Tensor[] {
  const graph = graphOf(...operands);
  const integers = operands.some((o) => typeof o !== 'number' && o.dtype === 'i32');
  return operands.map((o) => {
    if (typeof o !== 'number') return o;
    return integers && Number.isInteger(o)
      ? graph.constant({ type: { dtype: 'i32', shape: [] }, data: Int32Array.of(o) }, 'scalar')
      : graph.scalar(o);
  });
}
