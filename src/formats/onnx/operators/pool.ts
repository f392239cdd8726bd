import { elementCount, type Shape, stridesOf } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { globalAvgPool, globalMaxPool } from '../../../ops/adaptive-pool.ts';
import { avgPool } from '../../../ops/avg-pool.ts';
import { cast, equal, where } from '../../../ops/compare.ts';
import { abs, add, div, mul, pow, sqrt } from '../../../ops/elementwise.ts';
import { scatterElements } from '../../../ops/gather-elements.ts';
import { maxPool } from '../../../ops/max-pool.ts';
import { pad } from '../../../ops/pad.ts';
import type { PoolAttrs } from '../../../ops/pool-windows.ts';
import { sum } from '../../../ops/reduce.ts';
import { mod } from '../../../ops/remainder.ts';
import { filled } from '../../../ops/scatter.ts';
import { view } from '../../../ops/shape.ts';
import { slide, spanOf } from '../../../ops/window.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';
import { explicit, imageOf, perAxisInts, slidingOf } from './window.ts';

/** Input 0 and the windows over it. */
function pooling(context: OperatorContext): { readonly x: Tensor; readonly size: Shape; readonly attrs: PoolAttrs } {
  const { x, size } = imageOf(context);
  const kernel = perAxisInts(context, 'kernel_shape', size.length);
  return { x, size, attrs: { ...slidingOf(context, size, kernel), ceilMode: context.int('ceil_mode', 0) !== 0 } };
}

const averagePool: OperatorRule = (context) => {
  const { x, attrs } = pooling(context);
  return [avgPool(x, { ...attrs, countIncludePad: context.int('count_include_pad', 0) !== 0 })];
};

/** An i32 constant. */
const integers = (like: Tensor, shape: Shape, data: readonly number[]): Tensor =>
  like.graph.constant({ type: { dtype: 'i32', shape }, data: Int32Array.from(data) }, 'places');

const integer = (like: Tensor, value: number): Tensor => integers(like, [], [value]);

/** Places in a channel counted with the first axis fastest instead of the last (`storage_order` 1). */
function columnMajor(places: Tensor, size: Shape): Tensor {
  const strides = stridesOf(size);
  let turned: Tensor | undefined;
  let fast = 1;
  for (const [axis, n] of size.entries()) {
    const along = mod(div(places, integer(places, strides[axis]!)), integer(places, n));
    const part = mul(along, integer(places, fast));
    turned = turned ? add(turned, part) : part;
    fast *= n;
  }
  return turned!;
}

/** ONNX counts places over the whole tensor x of the whole batch, the op over one channel of one sample. */
function inWholeTensor(context: OperatorContext, places: Tensor, x: Tensor): Tensor {
  const [n, c, ...size] = x.shape as [number, number, ...number[]];
  const plane = elementCount(size);
  const ones = size.map(() => 1);
  const channels = integers(
    x,
    [c, ...ones],
    Array.from({ length: c }, (_, i) => i * plane),
  );
  const batched = context.batchAxisOf(x) === 0;
  const samples = batched
    ? x.graph.sampleIndices(n)
    : integers(
        x,
        [n],
        Array.from({ length: n }, (_, i) => i),
      );
  const firsts = mul(view(samples, [n, 1, ...ones]), integer(x, c * plane));
  return add(add(places, channels), firsts);
}

const maxPooling: OperatorRule = (context) => {
  const { x, size, attrs } = pooling(context);
  const [largest, places] = maxPool(x, attrs);
  // Integers pool as floats, which hold 8-bit ones, all that ONNX allows, exactly.
  const { dtype } = context.tensor(0);
  const y = dtype === 'f32' ? largest : cast(largest, dtype);
  if (!context.wants(1)) return [y];
  const ordered = context.int('storage_order', 0) === 0 ? places : columnMajor(places, size);
  return [y, inWholeTensor(context, ordered, x)];
};

/** (Σ|x|^p)^(1/p), whose gradient at a window of zeros is taken as 0. */
function rooted(total: Tensor, p: number): Tensor {
  if (p === 1) return total;
  const zero = equal(total, 0);
  const safe = where(zero, 1, total);
  return where(zero, 0, p === 2 ? sqrt(safe) : pow(safe, 1 / p));
}

const powered = (x: Tensor, p: number): Tensor => (p === 1 ? abs(x) : p === 2 ? mul(x, x) : pow(abs(x), p));

function exponentOf(context: OperatorContext): number {
  const p = context.int('p', 2);
  return p >= 1 ? p : context.invalid(`p must be at least 1, got ${p}`);
}

const lpPool: OperatorRule = (context) => {
  const { x, size, attrs } = pooling(context);
  const p = exponentOf(context);
  const { kernel, stride, padding, dilation } = attrs;
  // With as much padding behind as the last windows need, every mean is of all taps, and the sum is that many times it.
  const behind = slide(size, attrs).map(
    (out, axis) => (out - 1) * stride[axis]! + spanOf(kernel[axis]!, dilation[axis]!) - size[axis]! - padding[axis]!,
  );
  const whole = [...padding.slice(0, size.length), ...behind.map((n) => Math.max(0, n))];
  const means = avgPool(powered(x, p), { ...attrs, padding: whole, ceilMode: false, countIncludePad: true });
  return [rooted(mul(means, elementCount(kernel)), p)];
};

const globalLpPool: OperatorRule = (context) => {
  const { x, size } = imageOf(context);
  const p = exponentOf(context);
  return [rooted(sum(powered(x, p), { axes: size.map((_, i) => i + 2), keepDims: true }), p)];
};

/**
 * MaxUnpool: values at the places where MaxPool found them, zeros elsewhere. Places count over the whole tensor; what a
 * stated shape has more stands behind.
 */
const maxUnpool: OperatorRule = (context) => {
  const { x, size } = imageOf(context);
  const rank = size.length;
  const kernel = perAxisInts(context, 'kernel_shape', rank);
  const stride = perAxisInts(context, 'strides', rank, 1);
  const pads = explicit(context, rank);
  const own = size.map((n, axis) => (n - 1) * stride[axis]! + kernel[axis]! - pads[axis]! - pads[axis + rank]!);
  const [n, c] = x.shape as [number, number];
  const shape = context.optionalIntegers(2, 'the shape') ?? [n, c, ...own];
  if (shape.length !== rank + 2 || shape[0] !== n || shape[1] !== c) {
    context.invalid(`the shape [${shape.join(', ')}] must begin with [${n}, ${c}] and have ${rank + 2} axes`);
  }
  const stated = shape.slice(2);
  const more = own.map((n, axis) => (stated[axis] ?? 0) - n);
  if (own.some((n) => n < 1) || more.some((n) => n < 0)) {
    context.invalid(`the output [${stated.join(', ')}] is smaller than what is unpooled, [${own.join(', ')}]`);
  }
  const plane = elementCount(own);
  const rows = (t: Tensor): Tensor => view(t, [n, c, elementCount(size)]);
  const places = mod(rows(cast(context.tensor(1), 'i32')), integer(x, plane));
  const y = scatterElements(filled(x.graph, 0, [n, c, plane]), places, rows(x), { axis: 2, reduction: 'none' });
  return [pad(view(y, [n, c, ...own]), Object.fromEntries(more.map((by, axis) => [axis + 2, [0, by] as const])))];
};

/** Poolings over one to three spatial axes. */
export const poolOperators: OperatorTable = {
  AveragePool: averagePool,
  GlobalAveragePool: (context) => [globalAvgPool(imageOf(context).x)],
  GlobalLpPool: globalLpPool,
  GlobalMaxPool: (context) => [globalMaxPool(imageOf(context).x)],
  LpPool: lpPool,
  MaxPool: maxPooling,
  MaxUnpool: maxUnpool,
};
