/** Reductions. Their axes are an input since version 13 of ReduceSum and 18 of the others. */
import { type Exporter, type ExportTable, nodes } from './exporter.ts';

type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

const reduction = (opType: string, axesInputSince: number): Exporter<ReduceAttrs> =>
  nodes(({ emit, inputs: [x], opset, integers }, { axes, keepDims }) => {
    // Every reduction of one number is that number, and an empty list of axes would be all of them.
    if (axes.length === 0) return [emit('Identity', [x])];
    const keepdims = keepDims ? 1 : 0;
    return opset >= axesInputSince
      ? [emit(opType, [x, integers(axes)], { keepdims })]
      : [emit(opType, [x], { axes, keepdims })];
  });

export const reduceExporters = {
  logSumExp: reduction('ReduceLogSumExp', 18),
  max: reduction('ReduceMax', 18),
  mean: reduction('ReduceMean', 18),
  min: reduction('ReduceMin', 18),
  prod: reduction('ReduceProd', 18),
  sum: reduction('ReduceSum', 13),
} satisfies Partial<ExportTable>;
