/** Reductions. Their axes are an input since version 13 of ReduceSum and 18 of the others. */
import { type Exporter, type ExportTable, nodes } from './exporter.ts';

type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

/** `ofOne`: of a scalar, where an empty list of axes would be all of them. */
const reduction = (
  opType: string,
  axesInputSince: number,
  ofOne: 'the number' | 'its square' = 'the number',
): Exporter<ReduceAttrs> =>
  nodes(({ emit, inputs: [x], opset, integers }, { axes, keepDims }) => {
    if (axes.length === 0) return [ofOne === 'the number' ? emit('Identity', [x]) : emit('Mul', [x, x])];
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
  sumOfSquares: reduction('ReduceSumSquare', 18, 'its square'),
} satisfies Partial<ExportTable>;
