/** Lowering of gathers, scatters, scans, orderings and triangles to the WebAssembly kernels. */
import { byteSize, bytesPerElement, elementCount, type Shape, stridesOf, type TensorType } from '../../core/types.ts';
import type { CumSumAttrs } from '../../ops/cum-sum.ts';
import type { GatherAttrs, ScatterAddAttrs } from '../../ops/gather.ts';
import type { GatherElementsAttrs, ScatterElementsAttrs } from '../../ops/gather-elements.ts';
import type { GatherNDAttrs, ScatterNDAttrs } from '../../ops/gather-nd.ts';
import { axisLayout } from '../../ops/indices.ts';
import type { ArgExtremumAttrs, TopKAttrs } from '../../ops/order.ts';
import type { ScatterReduction } from '../../ops/scatter.ts';
import type { TriluAttrs } from '../../ops/trilu.ts';
import { call, input, type KernelCall, type Lowered, type LowerRule, output, workspace } from '../kernel-call.ts';
import { coalesce, offsetsOf, padFront, shifted } from './strided.ts';

/** [outer, size, inner] around an axis, as the kernels take it. */
const around = (shape: Shape, axis: number): [number, number, number] => {
  const { outer, size, inner } = axisLayout(shape, axis);
  return [outer, size, inner];
};

const bits = ({ dtype }: TensorType): 8 | 32 => (bytesPerElement[dtype] === 1 ? 8 : 32);

const gather: LowerRule = ({ inputs, attrs }) => {
  const [x, indices] = inputs as [TensorType, TensorType];
  const sizes = around(x.shape, (attrs as GatherAttrs).axis);
  return call(`gather${bits(x)}`, ...sizes, elementCount(indices.shape), input(0), input(1), output(0));
};

const scatterAdd: LowerRule = ({ inputs, outputs, attrs }) => {
  const sizes = around(outputs[0]!.shape, (attrs as ScatterAddAttrs).axis);
  return call('scatterAdd', ...sizes, elementCount(inputs[0]!.shape), input(0), input(1), output(0));
};

/**
 * gatherElements, scatterElements, gatherND and scatterND go in two steps: their indices (input 1) become numbers of rows in
 * the workspace, i32, and those rows are moved.
 */
interface Rows {
  readonly offsets: readonly KernelCall[];
  /** Rows that are moved, rows that there are, elements of a row. */
  readonly count: number;
  readonly rows: number;
  readonly width: number;
}

const moveRows = ({ offsets, count }: Rows, ...moves: KernelCall[]): Lowered => ({
  calls: [...offsets, ...moves],
  workspaceBytes: 4 * count,
});

const gatherRows = (rows: Rows, x: TensorType): Lowered =>
  moveRows(rows, {
    kernel: `gather${bits(x)}`,
    args: [1, rows.rows, rows.width, rows.count, input(0), workspace(), output(0)],
  });

const scatterNames: Readonly<Record<Exclude<ScatterReduction, 'none'>, string>> = {
  add: 'scatterAdd',
  mul: 'scatterMul',
  max: 'scatterMax',
  min: 'scatterMin',
};

function scatterRows(rows: Rows, data: TensorType, reduction: ScatterReduction): Lowered {
  const kernel =
    reduction === 'none' ? `scatter${bits(data)}` : `${scatterNames[reduction]}${data.dtype === 'f32' ? 'F32' : 'I32'}`;
  return moveRows(
    rows,
    { kernel: 'copyBytes', args: [byteSize(data), input(0), output(0)] },
    { kernel, args: [rows.count, rows.rows, rows.width, workspace(), input(2), output(0)] },
  );
}

const walkDims = 4;

/** Every element of x is a row; walks of more than four dimensions take one call for each step of the outer ones. */
function elementRows(x: Shape, indices: Shape, axis: number): Rows {
  const strides = stridesOf(x);
  const walk = coalesce(indices, [strides.map((s, i) => (i === axis ? 0 : s))]);
  const steps = walk.strides[0]!;
  const outer = Math.max(0, walk.dims.length - walkDims);
  const inner = walk.dims.slice(outer);
  const sizes = [...padFront(inner, walkDims, 1), ...padFront(steps.slice(outer), walkDims, 0)];
  const offsets = offsetsOf(walk.dims.slice(0, outer), steps.slice(0, outer)).map((start, i): KernelCall => {
    const bytes = 4 * i * elementCount(inner);
    const args = [...sizes, start, x[axis]!, strides[axis]!, shifted(input(1), bytes), shifted(workspace(), bytes)];
    return { kernel: 'elementOffsets', args };
  });
  return { offsets, count: elementCount(indices), rows: elementCount(x), width: 1 };
}

/** Every slice of x is a row; one call for each coordinate of the index vectors. */
function sliceRows(x: Shape, indices: Shape, batchDims: number): Rows {
  const depth = indices.at(-1)!;
  const count = elementCount(indices) / depth;
  const perBatch = count / elementCount(x.slice(0, batchDims));
  const offsets = Array.from({ length: depth }, (_, c): KernelCall => {
    const sizes = [count, depth, c === 0 ? 1 : 0, perBatch, x[batchDims + c]!];
    return { kernel: 'sliceOffsets', args: [...sizes, input(1, 4 * c), workspace()] };
  });
  const end = batchDims + depth;
  return { offsets, count, rows: elementCount(x.slice(0, end)), width: elementCount(x.slice(end)) };
}

const suffix = ({ dtype }: TensorType): '' | 'I32' => (dtype === 'i32' ? 'I32' : '');

const argExtremum =
  (kernel: 'argMax' | 'argMin'): LowerRule =>
  ({ inputs, attrs }) => {
    const { axis, selectLastIndex } = attrs as ArgExtremumAttrs;
    const x = inputs[0]!;
    return call(`${kernel}${suffix(x)}`, ...around(x.shape, axis), selectLastIndex ? 1 : 0, input(0), output(0));
  };

const cumSum: LowerRule = ({ inputs, attrs }) => {
  const { axis, exclusive, reverse } = attrs as CumSumAttrs;
  const x = inputs[0]!;
  const flags = [exclusive ? 1 : 0, reverse ? 1 : 0];
  return call(`cumSum${suffix(x)}`, ...around(x.shape, axis), ...flags, input(0), output(0));
};

const topK: LowerRule = ({ inputs, attrs }) => {
  const { axis, k, largest } = attrs as TopKAttrs;
  const x = inputs[0]!;
  return call(`topK${suffix(x)}`, ...around(x.shape, axis), k, largest ? 1 : 0, input(0), output(0), output(1));
};

const trilu: LowerRule = ({ inputs, attrs }) => {
  const { upper, k } = attrs as TriluAttrs;
  const x = inputs[0]!;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  // Diagonals beyond the corners leave all or nothing, as the corners' do.
  const diagonal = Math.max(-rows, Math.min(k, columns));
  const sizes = [elementCount(x.shape) / (rows * columns), rows, columns];
  return call(`trilu${bits(x)}`, ...sizes, upper ? 1 : 0, diagonal, input(0), output(0));
};

export const indexingRules = {
  argMax: argExtremum('argMax'),
  argMin: argExtremum('argMin'),
  cumSum,
  gather,
  gatherElements: (({ inputs, attrs }) => {
    const [x, indices] = inputs as [TensorType, TensorType];
    return gatherRows(elementRows(x.shape, indices.shape, (attrs as GatherElementsAttrs).axis), x);
  }) as LowerRule,
  gatherND: (({ inputs, attrs }) => {
    const [x, indices] = inputs as [TensorType, TensorType];
    return gatherRows(sliceRows(x.shape, indices.shape, (attrs as GatherNDAttrs).batchDims), x);
  }) as LowerRule,
  scatterAdd,
  scatterElements: (({ inputs, attrs }) => {
    const [data, indices] = inputs as [TensorType, TensorType];
    const { axis, reduction } = attrs as ScatterElementsAttrs;
    return scatterRows(elementRows(data.shape, indices.shape, axis), data, reduction);
  }) as LowerRule,
  scatterND: (({ inputs, attrs }) => {
    const [data, indices] = inputs as [TensorType, TensorType];
    return scatterRows(sliceRows(data.shape, indices.shape, 0), data, (attrs as ScatterNDAttrs).reduction);
  }) as LowerRule,
  topK,
  trilu,
} satisfies Readonly<Record<string, LowerRule>>;
