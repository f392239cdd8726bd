/**
 * Gathers, scatters, and the order of entries. ONNX's positions are INT64 where it makes them, and often where it takes
 * them.
 */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { mul } from '../../../ops/elementwise.ts';
import { gather, scatterAdd } from '../../../ops/gather.ts';
import { scatterElements } from '../../../ops/gather-elements.ts';
import { sum } from '../../../ops/reduce.ts';
import { filled, type ScatterReduction } from '../../../ops/scatter.ts';
import { broadcastTo, view } from '../../../ops/shape.ts';
import { onnxDTypes } from '../model.ts';
import { type ExportContext, type Exporter, type ExportTable, nodes, parts } from './exporter.ts';

type ArgAttrs = { readonly axis: number; readonly keepDims: boolean; readonly selectLastIndex: boolean };

const argExtremum = (opType: 'ArgMax' | 'ArgMin'): Exporter<ArgAttrs> =>
  nodes(({ emit, inputs }, { axis, keepDims, selectLastIndex }) => {
    const attributes = { axis, keepdims: keepDims ? 1 : 0, select_last_index: selectLastIndex ? 1 : undefined };
    return [emit('Cast', [emit(opType, inputs, attributes)], { to: onnxDTypes.INT32 })];
  });

/** ONNX has add and mul since version 16 of its operators, max and min since 18. */
function reductionOf({ opset, refuse }: ExportContext, reduction: ScatterReduction): string | undefined {
  if (reduction === 'none') return undefined;
  if ((reduction === 'max' || reduction === 'min') && opset < 18) {
    refuse(`a scatter with the reduction ${reduction} needs opset 18 or newer, and ${opset} is asked for`);
  }
  return reduction;
}

/** A sum of the values of equal index: [A…, I…, B…] as rows along one axis, added to zeros one element at a time. */
function scatterAddParts(indices: Tensor, values: Tensor, axis: number, size: number): Tensor {
  const outer = values.shape.slice(0, axis);
  const inner = values.shape.slice(axis + indices.rank);
  const [a, count, b] = [elementCount(outer), elementCount(indices.shape), elementCount(inner)];
  const places = broadcastTo(view(indices, [1, count, 1]), [a, count, b]);
  const zeros = filled(values.graph, 0, [a, size, b]);
  const sums = scatterElements(zeros, places, view(values, [a, count, b]), { axis: 1, reduction: 'add' });
  return view(sums, [...outer, size, ...inner]);
}

/** Weights [m, taps] so that they broadcast with [A…, m, taps, B…]. */
const tapWeights = (weight: Tensor, inner: number): Tensor =>
  view(weight, [...weight.shape, ...new Array<number>(inner).fill(1)]);

export const indexingExporters = {
  argMax: argExtremum('ArgMax'),
  argMin: argExtremum('ArgMin'),
  cumSum: nodes(({ emit, inputs: [x], integer }, { axis, exclusive, reverse }) => [
    emit('CumSum', [x, integer(axis)], { exclusive: exclusive ? 1 : undefined, reverse: reverse ? 1 : undefined }),
  ]),
  gather: nodes(({ emit, inputs }, { axis }) => [emit('Gather', inputs, { axis })]),
  gatherElements: nodes(({ emit, inputs }, { axis }) => [emit('GatherElements', inputs, { axis })]),
  gatherND: nodes(({ emit, inputs: [x, indices] }, { batchDims }) => [
    emit('GatherND', [x, emit('Cast', [indices], { to: onnxDTypes.INT64 })], { batch_dims: batchDims || undefined }),
  ]),
  resample: parts(([x, index, weight], { axis }) => {
    const taps = mul(gather(x!, index!, { axis }), tapWeights(weight!, x!.rank - axis - 1));
    return [sum(taps, { axes: axis + 1 })];
  }),
  resampleGrad: parts(([dy, index, weight], { axis, size }) => {
    const column = view(dy!, dy!.shape.toSpliced(axis + 1, 0, 1));
    return [scatterAdd(index!, mul(column, tapWeights(weight!, dy!.rank - axis - 1)), { axis, size })];
  }),
  scatterAdd: parts(([indices, values], { axis, size }) => [scatterAddParts(indices!, values!, axis, size)]),
  scatterElements: nodes((context, { axis, reduction }) => [
    context.emit('ScatterElements', context.inputs, { axis, reduction: reductionOf(context, reduction) }),
  ]),
  scatterND: nodes((context, { reduction }) => {
    const [data, indices, updates] = context.inputs;
    const places = context.emit('Cast', [indices], { to: onnxDTypes.INT64 });
    return [context.emit('ScatterND', [data, places, updates], { reduction: reductionOf(context, reduction) })];
  }),
  topK: nodes(({ emit, emitAll, inputs: [x], integers, wants }, { axis, k, largest }) => {
    const [values, places] = emitAll('TopK', [x, integers([k])], 2, { axis, largest: largest ? 1 : 0 });
    return [values, wants(1) ? emit('Cast', [places], { to: onnxDTypes.INT32 }) : undefined];
  }),
} satisfies Partial<ExportTable>;
