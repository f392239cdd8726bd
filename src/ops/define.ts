import type { Tensor } from '../graph/graph.ts';
import type { Attrs, OpRecord } from '../graph/op-record.ts';

/** Fixes a record's attribute type; the records of all ops are gathered in `ops/index.ts`. */
export const defineOp = <A extends Attrs>(record: OpRecord<A>): OpRecord<A> => record;

/** A tensor, or a number that becomes an f32 scalar constant. */
export type Operand = Tensor | number;

/** The graph of the first tensor among operands. */
export function graphOf(...operands: Operand[]) {
  const tensor = operands.find((o) => typeof o !== 'number');
  if (tensor === undefined || typeof tensor === 'number') throw new TypeError('at least one operand must be a tensor');
  return tensor.graph;
}

/** Operands as tensors of one graph. */
export function lift(...operands: Operand[]): Tensor[] {
  const graph = graphOf(...operands);
  return operands.map((o) => (typeof o === 'number' ? graph.scalar(o) : o));
}
