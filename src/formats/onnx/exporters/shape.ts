/** The same elements under another shape, in another order or number. */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { padOp } from '../../../ops/pad.ts';
import { flip, reshape, slice, sliceScatter } from '../../../ops/shape.ts';
import { onnxDTypes } from '../model.ts';
import { choice, type ExportTable, nodes, parts } from './exporter.ts';

/** Beyond both ends of every axis: what is cut off there follows the axis, whatever its size. */
const [beyondStart, beyondEnd] = [-(2 ** 31), 2 ** 31 - 1];

/** x with `gap` zeros behind every entry of an axis but the last. */
function spread(x: Tensor, axis: number, gap: number): Tensor {
  const size = x.shape[axis]!;
  const column = reshape(x, x.shape.toSpliced(axis, 1, size, 1));
  const zeros = column.shape.map(() => 0);
  const wide = x.graph.add(padOp, [column], { before: zeros, after: zeros.with(axis + 1, gap), value: 0 })[0]!;
  const joined = reshape(wide, x.shape.with(axis, size * (gap + 1)));
  return slice(joined, { [axis]: [0, size * (gap + 1) - gap] });
}

/** A scatter with steps as flips, gaps between the entries, and padding. */
function scatterBySteps(
  x: Tensor,
  { shape, starts, steps }: { shape: readonly number[]; starts: readonly number[]; steps: readonly number[] },
): Tensor {
  let y = x;
  const first = [...starts];
  steps.forEach((step, axis) => {
    const last = (x.shape[axis]! - 1) * step;
    if (step < 0) {
      y = flip(y, { axes: axis });
      first[axis] = starts[axis]! + last;
    }
    if (Math.abs(step) > 1 && x.shape[axis]! > 1) y = spread(y, axis, Math.abs(step) - 1);
  });
  return sliceScatter(y, { shape, starts: first });
}

const positive = (list: readonly number[]): boolean => list.every((n) => n > 0);

export const shapeExporters = {
  broadcastTo: nodes(({ emit, inputs: [x], inputTypes, sizes }, { shape }) => [
    emit('Expand', [x, sizes(shape, { expand: inputTypes[0]!.shape })]),
  ]),
  concat: nodes(({ emit, inputs }, { axis }) => [emit('Concat', inputs, { axis })]),
  // An Identity would let gradients through again when the file is read.
  detach: { kind: 'function', name: 'Detach', build: ([x]) => [x] },
  pad: nodes(({ emit, inputs: [x], inputTypes, integers, constant }, { before, after, value }) => {
    const { dtype } = inputTypes[0]!;
    const number = [Number(value)];
    const data =
      dtype === 'f32' ? Float32Array.from(number) : dtype === 'i32' ? Int32Array.from(number) : Uint8Array.from(number);
    return [emit('Pad', [x, integers([...before, ...after]), constant({ type: { dtype, shape: [] }, data })])];
  }),
  reshape: nodes(({ emit, inputs: [x], sizes }, { shape }) => [emit('Reshape', [x, sizes(shape, 'reshape')])]),
  slice: nodes(({ emit, inputs: [x], inputTypes, integers }, { starts, ends, steps }) => {
    const { shape } = inputTypes[0]!;
    const axes = [...shape.keys()].filter(
      (axis) => !(starts[axis] === 0 && ends[axis] === shape[axis] && steps[axis] === 1),
    );
    if (axes.length === 0) return [emit('Identity', [x])];
    // An end that is the axis's own is said without its size; −1 would be its last entry.
    const from = axes.map((axis) =>
      steps[axis]! < 0 && starts[axis] === shape[axis]! - 1 ? beyondEnd : starts[axis]!,
    );
    const to = axes.map((axis) =>
      ends[axis] === -1 ? beyondStart : ends[axis] === shape[axis] ? beyondEnd : ends[axis]!,
    );
    const by = axes.map((axis) => steps[axis]!);
    const each = by.some((step) => step !== 1) ? integers(by) : undefined;
    return [emit('Slice', [x, integers(from), integers(to), integers(axes), each])];
  }),
  // Steps of axes with one entry say nothing.
  sliceScatter: choice(({ inputTypes: [x] }, { steps }) =>
    positive(steps) && steps.every((step, axis) => step === 1 || x!.shape[axis] === 1)
      ? nodes(({ emit, inputs, inputTypes, integers }, { shape, starts }) => {
          const own = inputTypes[0]!.shape;
          const after = shape.map((size, axis) => size - starts[axis]! - own[axis]!);
          return [emit('Pad', [...inputs, integers([...starts, ...after])])];
        })
      : parts(([v], attrs) => [scatterBySteps(v!, attrs)]),
  ),
  // A list without numbers counts as missing in ONNX.
  transpose: nodes(({ emit, inputs }, { perm }) => [
    perm.length === 0 ? emit('Identity', inputs) : emit('Transpose', inputs, { perm }),
  ]),
  // The operator takes INT64 and floats in every runtime, other types in few.
  trilu: nodes(({ emit, inputs: [x], inputTypes, integer }, { upper, k }) => {
    const { dtype, shape } = inputTypes[0]!;
    // Diagonals beyond the corners all are the same.
    const most = elementCount(shape);
    const diagonal = integer(Math.min(Math.max(k, -most), most));
    const triangle = (v: typeof x) => emit('Trilu', [v, diagonal], { upper: upper ? 1 : 0 });
    if (dtype === 'f32') return [triangle(x)];
    return [
      emit('Cast', [triangle(emit('Cast', [x], { to: onnxDTypes.INT64 }))], {
        to: dtype === 'i32' ? onnxDTypes.INT32 : onnxDTypes.BOOL,
      }),
    ];
  }),
} satisfies Partial<ExportTable>;
