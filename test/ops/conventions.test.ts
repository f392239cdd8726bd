// Where a derivative is a matter of convention (kinks, ties, 0·∞), PyTorch's choice is pinned here by value.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import {
  abs,
  ceil,
  celu,
  clip,
  elu,
  floor,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  maximum,
  minimum,
  mul,
  pow,
  prelu,
  relu,
  round,
  sign,
  softsign,
  thresholdedRelu,
} from '../../src/ops/elementwise.ts';
import { erf as erf64 } from '../../src/ops/erf.ts';
import { scatterElements } from '../../src/ops/gather-elements.ts';
import { topK } from '../../src/ops/order.ts';
import { logSumExp, max, min, prod, sum } from '../../src/ops/reduce.ts';
import type { ScatterReduction } from '../../src/ops/scatter.ts';
import { slice } from '../../src/ops/shape.ts';
import { vectorNorm } from '../../src/ops/vector-norm.ts';

/** Value and gradients of Σ weight·f(xs), weights 1, 2, 3 … */
function differentiate(f: (...xs: Tensor[]) => Tensor, ...xs: number[][]) {
  const graph = new Graph();
  const feeds = new Map<Tensor, RefTensor>();
  const leaves = xs.map((x, i) => {
    const tensor = graph.input(`x${i}`, { shape: [x.length], batchAxis: null });
    feeds.set(tensor, { type: tensor.type, data: Float64Array.from(x) });
    return tensor;
  });
  const y = f(...leaves);
  const n = y.shape[0] ?? 1;
  const data = Float32Array.from({ length: n }, (_, i) => i + 1);
  const found = gradients([{ tensor: y, cotangent: graph.constant({ type: y.type, data }) }], leaves);
  const zero = (i: number) => xs[i]!.map(() => 0);
  return found.map((g, i) => (g ? evaluate([g], feeds).map((v) => [...v.data].map((d) => d + 0))[0]! : zero(i)));
}

describe('kinks and ties', () => {
  it('relu′(0) = 0', () => {
    expect(differentiate(relu, [-1, 0, 1])).toEqual([[0, 0, 3]]);
  });
  it('abs′(0) = 0', () => {
    expect(differentiate(abs, [-1, 0, 1])).toEqual([[-1, 0, 3]]);
  });
  it('maximum and minimum: half to each side', () => {
    expect(differentiate(maximum, [1, 2, 3], [1, 5, 0])).toEqual([
      [0.5, 0, 3],
      [0.5, 2, 0],
    ]);
    expect(differentiate(minimum, [1, 2, 3], [1, 5, 0])).toEqual([
      [0.5, 2, 0],
      [0.5, 0, 3],
    ]);
  });
  it('max and min: shared evenly among ties', () => {
    expect(differentiate((x) => max(x), [1, 4, 4, 4])).toEqual([[0, 1 / 3, 1 / 3, 1 / 3]]);
    expect(differentiate((x) => min(x), [1, 4, 1, 4])).toEqual([[0.5, 0, 0.5, 0]]);
  });
});

describe('kinks of activations', () => {
  it('clip passes the gradient at its bounds', () => {
    expect(differentiate((x) => clip(x, { low: -1, high: 1 }), [-1.5, -1, 0, 1, 1.5])).toEqual([[0, 2, 3, 4, 0]]);
  });
  it('clip: f32 elements are compared with f32 bounds', () => {
    const x = [Math.fround(0.1), Math.fround(0.7)];
    expect(differentiate((t) => clip(t, { low: 0.1, high: 0.7 }), x)).toEqual([[1, 2]]);
  });
  it('elu, celu, leakyRelu, prelu: the side of the negative numbers at 0', () => {
    expect(differentiate((x) => elu(x, { alpha: 0.5, scale: 3 }), [0])).toEqual([[1.5]]);
    expect(differentiate((x) => celu(x, { alpha: 0.5 }), [0])).toEqual([[1]]);
    expect(differentiate((x) => leakyRelu(x, { slope: 0.25 }), [0])).toEqual([[0.25]]);
    expect(differentiate(prelu, [0, -2, 2], [0.25, 0.25, 0.25])).toEqual([
      [0.25, 0.5, 3],
      [0, -4, 0],
    ]);
  });
  it('hardSigmoid, thresholdedRelu: 0 at the kinks; hardSwish: 0 and 1', () => {
    expect(differentiate((x) => hardSigmoid(x, { alpha: 0.25, beta: 0.5 }), [-2, 0, 2])).toEqual([[0, 0.5, 0]]);
    expect(differentiate((x) => thresholdedRelu(x, { alpha: 1 }), [0, 1, 2])).toEqual([[0, 0, 3]]);
    expect(differentiate(hardSwish, [-3, 0, 3])).toEqual([[0, 1, 3]]);
    expect(differentiate(softsign, [0])).toEqual([[1]]);
  });
  it('floor, ceil, round and sign: 0, and what is beside them keeps its gradient', () => {
    for (const f of [floor, ceil, round, sign]) {
      expect(differentiate(f, [-0.5, 0, 1.25])).toEqual([[0, 0, 0]]);
      expect(differentiate((x) => mul(x, f(x)), [1.25])).toEqual([f === ceil ? [2] : [1]]);
    }
  });
});

describe('bounds of clip', () => {
  const attrsOf = (bounds: { low?: number; high?: number }, dtype: 'f32' | 'i32' = 'f32') =>
    clip(new Graph().input('x', { shape: [2], dtype }), bounds).node.attrs;
  it('left out, infinite or beyond the dtype: none', () => {
    expect(attrsOf({})).toEqual({ low: null, high: null });
    expect(attrsOf({ low: -Infinity, high: 6 })).toEqual({ low: null, high: 6 });
    expect(attrsOf({ low: -1e39, high: Infinity })).toEqual({ low: null, high: null });
    expect(attrsOf({ low: -(2 ** 40), high: 2 ** 31 - 1 }, 'i32')).toEqual({ low: null, high: null });
  });
  it('NaN is refused', () => {
    expect(() => attrsOf({ low: Number.NaN })).toThrow('low must be finite or null');
  });
});

describe('vectorNorm', () => {
  it('has gradient 0 at a vector of zeros, to second order', () => {
    for (const ord of [1, 2, Infinity] as const) {
      const slope = (x: Tensor) => vectorNorm(x, { ord });
      expect(differentiate(slope, [0, 0])).toEqual([[0, 0]]);
      const curvature = (x: Tensor) => sum(gradients([{ tensor: slope(x), cotangent: x.graph.scalar(1) }], [x])[0]!);
      expect(differentiate(curvature, [0, 0])).toEqual([[0, 0]]);
    }
  });
  it('elsewhere x/‖x‖, the signs, the largest by magnitude', () => {
    expect(differentiate((x) => vectorNorm(x), [3, -4])[0]![1]).toBeCloseTo(-0.8, 12);
    expect(differentiate((x) => vectorNorm(x, { ord: 1 }), [3, -4, 0])).toEqual([[1, -1, 0]]);
    expect(differentiate((x) => vectorNorm(x, { ord: Infinity }), [3, -4, 4])).toEqual([[0, -0.5, 0.5]]);
  });
});

describe('prod', () => {
  it('with one factor of 0: only that one has a derivative; with two: none', () => {
    expect(differentiate((x) => prod(x), [2, 0, 3])).toEqual([[0, 6, 0]]);
    expect(differentiate((x) => prod(x), [2, 0, 3, 0])).toEqual([[0, 0, 0, 0]]);
  });
  it('with two factors of 0: the mixed derivative of these two is the product of the others', () => {
    const first = (i: number) => (x: Tensor) =>
      slice(gradients([{ tensor: prod(x), cotangent: x.graph.scalar(1) }], [x])[0]!, { 0: [i, i + 1] });
    expect(differentiate(first(1), [2, 0, 3, 0])).toEqual([[0, 0, 0, 6]]);
    expect(differentiate(first(3), [2, 0, 3, 0])).toEqual([[0, 6, 0, 0]]);
  });
});

describe('logSumExp', () => {
  it('of nothing but −∞ has gradient 0', () => {
    expect(differentiate((x) => logSumExp(x), [-Infinity, -Infinity])).toEqual([[0, 0]]);
    expect(differentiate((x) => logSumExp(x), [-Infinity, 5])).toEqual([[0, 1]]);
  });
});

describe('scatters', () => {
  const into = (reduction: ScatterReduction, places: number[]) => (data: Tensor, updates: Tensor) => {
    const type = { dtype: 'i32', shape: [places.length] } as const;
    const indices = data.graph.constant({ type, data: Int32Array.from(places) });
    return scatterElements(data, indices, updates, { axis: 0, reduction });
  };
  it('none: the last update of a place has all of its gradient', () => {
    expect(differentiate(into('none', [1, 1, 0]), [5, 5, 5], [1, 2, 3])).toEqual([
      [0, 0, 3],
      [0, 2, 1],
    ]);
  });
  it('max and min: shared evenly among the data and the updates that attain it', () => {
    expect(differentiate(into('max', [0, 0, 0, 1]), [4, 1], [4, 3, 4, 0])).toEqual([
      [1 / 3, 2],
      [1 / 3, 0, 1 / 3, 0],
    ]);
    expect(differentiate(into('min', [1, -1, 1]), [4, 1], [1, 0, 0])).toEqual([
      [1, 0],
      [0, 1, 1],
    ]);
  });
  it('mul: the product of the others, also where factors are 0', () => {
    expect(differentiate(into('mul', [0, 0, 1]), [0, 5], [2, 3, 0])).toEqual([
      [6, 0],
      [0, 0, 10],
    ]);
    expect(differentiate(into('mul', [0, 0, 0]), [5], [2, 0, 0])).toEqual([[0], [0, 0, 0]]);
  });
  it('mul: second derivatives are exact with one update of 0, and never silently wrong with several', () => {
    const curvature = (places: number[]) => (data: Tensor, updates: Tensor) => {
      const y = into('mul', places)(data, updates);
      const cotangent = y.graph.constant({ type: y.type, data: new Float32Array(data.shape[0]!).fill(1) });
      return sum(gradients([{ tensor: y, cotangent }], [updates])[0]!);
    };
    // y = 5·a·b·c, and Σ of its derivatives 5·(ab + ac + bc): by a at (2, 0, 3) it is 5·(b + c).
    const [, byUpdates] = differentiate(curvature([0, 0, 0]), [5], [2, 0, 3]);
    for (const [i, d] of [15, 25, 10].entries()) expect(byUpdates![i]).toBeCloseTo(d, 12);
    const [, byZeros] = differentiate(curvature([0, 0, 0]), [5], [0, 0, 3]);
    expect(byZeros!.slice(0, 2).some(Number.isFinite)).toBe(false);
  });
});

it('topK: of equal entries the first has the gradient', () => {
  expect(differentiate((x) => topK(x, { k: 2 }).values, [1, 3, 3, 3])).toEqual([[0, 1, 2, 0]]);
});

describe('pow at a = 0', () => {
  it('by the base: b·0^(b−1), and 0 where b = 0', () => {
    expect(differentiate(pow, [0, 0, 0], [0, 1, 2])[0]).toEqual([0, 2, 0]);
    expect(differentiate(pow, [0], [0.5])[0]).toEqual([Number.POSITIVE_INFINITY]);
  });
  it('by the exponent: 0 where b ≥ 0', () => {
    expect(differentiate(pow, [0, 0, 0], [0, 1, 2])[1]).toEqual([0, 0, 0]);
  });
  it('constant exponents 0, 1, 2 and 3', () => {
    expect(differentiate((a) => pow(a, 0), [0, 2])).toEqual([[0, 0]]);
    expect(differentiate((a) => pow(a, 1), [0, 2])).toEqual([[1, 2]]);
    expect(differentiate((a) => pow(a, 2), [0, -2])).toEqual([[0, -8]]);
    expect(differentiate((a) => pow(a, 3), [0, -2])).toEqual([[0, 24]]);
  });
  it('keeps the mixed derivative ∂²(aᵇ)/∂a∂b = 1/a at b = 0', () => {
    const mixed = differentiate(
      (a, b) => gradients([{ tensor: sum(pow(a, b)), cotangent: a.graph.scalar(1) }], [a])[0]!,
      [2],
      [0],
    );
    expect(mixed[1]).toEqual([0.5]);
  });
});

// Abramowitz and Stegun, Handbook of Mathematical Functions, table 7.1.
it.each([
  [0.5, 0.5204998778],
  [1, 0.8427007929],
  [1.5, 0.9661051465],
  [2, 0.995322265],
])('erf %d = %d', (x, value) => {
  expect(erf64(x)).toBeCloseTo(value, 10);
  expect(erf64(-x)).toBe(-erf64(x));
});
it('erf saturates', () => {
  expect([erf64(0), erf64(7), erf64(-7), erf64(Number.POSITIVE_INFINITY)]).toEqual([0, 1, -1, 1]);
  expect(erf64(Number.NaN)).toBeNaN();
});
