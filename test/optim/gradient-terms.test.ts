// Terms and roundings of gradients, counted by hand. That the bounds hold: test/train/compare-gradients.test.ts.
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, div, mul, sub } from '../../src/ops/elementwise.ts';
import * as ops from '../../src/ops/functions.ts';
import { gradientTermsModel, gradientTermsOf } from '../../src/optim/gradient-terms.ts';
import type { Model } from '../../src/optim/model.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';

const B = 6;
const init = { kind: 'uniform', low: -1, high: 1 } as const;
type Parameter = (name: string, shape: readonly number[]) => Tensor;

/** The objective is Σ y·t: the cotangent of y is t, one value a sample. */
const modelOf = (
  build: (x: Tensor, parameter: Parameter, batch: number) => Tensor,
  shape: readonly number[],
): Model => ({
  name: 'counted',
  build: (batch) => {
    const graph = new Graph();
    const y = build(
      graph.input('x', { shape: [batch, ...shape] }),
      (name, of) => graph.parameter(name, of, init),
      batch,
    );
    const t = graph.input('t', { shape: y.shape, batchAxis: y.shape[0] === batch ? 0 : null });
    return { graph, objective: [{ loss: ops.sum(mul(y, t)), weight: 1 }] };
  },
});

const termsOf = (model: Model) =>
  gradientTermsOf(model, B).map(({ parameter, count, roundings }) => [parameter, count, roundings]);

describe('terms and roundings of a gradient', () => {
  const scaled = (by: (w: Tensor) => Tensor): Model => modelOf((x, p) => mul(x, by(p('w', [4]))), [4]);

  it.each<[string, Model, [string, number, number][]]>([
    // A rounding each for products and sums of B; the product of a sample's own values is exact, as all compute it alike.
    ['a product', modelOf((x, p) => ops.matmul(x, p('w', [4, 3])), [4]), [['w', B, B]]],
    ['a sum over samples', scaled((w) => w), [['w', B, B - 1]]],
    ['a sum over samples and places', modelOf((x, p) => add(x, p('b', [4])), [5, 4]), [['b', 5 * B, 5 * B - 1]]],
    ['times what is the same for all', scaled((w) => mul(w, 3)), [['w', B, B - 1 + 1]]],
    [
      // The gradient of a is a sum times b, that of b is a times a sum.
      'times another parameter, on either side',
      modelOf((x, p) => ops.matmul(x, ops.matmul(p('a', [4, 5]), p('b', [5, 3]))), [4]),
      [
        ['a', 3 * B, B + 3],
        ['b', 4 * B, B + 4],
      ],
    ],
    [
      // Of four sums over samples; a rounding for the division and one for the factor.
      'a mean of sums',
      modelOf((x, p) => mul(p('w', [4]), ops.mean(ops.sum(x, { axes: 0 }))), [4]),
      [['w', 4 * B, B - 1 + 3 + 1 + 1]],
    ],
    ['divided by it', scaled((w) => div(w, ops.reshape(w.graph.scalar(3), [1]))), [['w', B, B - 1 + 1]]],
    ['moved', scaled((w) => ops.reshape(ops.transpose(ops.reshape(w, [2, 2]), [1, 0]), [4])), [['w', B, B - 1]]],
    [
      'added of two uses in front of the sum over microbatches',
      modelOf((x, p) => ((v) => sub(mul(x, v), mul(ops.tanh(x), v)))(mul(p('w', [4]), 3)), [4]),
      [['w', 2 * B, B - 1 + 1 + 1]],
    ],
    [
      'added of three uses behind it',
      modelOf((x, p) => ((w) => add(add(mul(x, w), ops.matmul(x, ops.reshape(w, [4, 1]))), w))(p('w', [4])), [4]),
      // The product's own cotangent is the sum of a sample's four.
      [['w', 3 * B, B + 2]],
    ],
    [
      'of a convolution',
      modelOf((x, p) => ops.conv2d(x, p('w', [3, 2, 2, 2])), [2, 4, 4]),
      [['w', 3 * 3 * B, 3 * 3 * B]],
    ],
    [
      'of rows that indices name',
      modelOf((x, p) => ops.gather(p('w', [5, 3]), ops.cast(x, 'i32'), { axis: 0 }), [2]),
      [['w', 2 * B, 2 * B - 1]],
    ],
    [
      // h = (x − mean)·rstd and its product with dy: three roundings more.
      'of a normalisation',
      modelOf((x, p) => ops.layerNorm(x, p('gamma', [4]), p('beta', [4])), [3, 4]),
      [
        ['gamma', 3 * B, 3 * B - 1 + 3],
        ['beta', 3 * B, 3 * B - 1 + 3],
      ],
    ],
  ])('%s', (_, model, expected) => {
    expect(termsOf(model)).toEqual(expected);
  });

  it.each<[string, (x: Tensor, w: Tensor, batch: number) => Tensor, string]>([
    ['two sums are multiplied', (x, w) => mul(mul(w, ops.sum(x)), ops.sum(x)), 'multiplies two sums over the batch'],
    ['a sum divides', (x, w) => div(w, ops.sum(x)), 'divides by a sum over the batch'],
    [
      'a sum is normalised',
      (x, w) => {
        const row = { type: { dtype: 'f32', shape: [1, 4] } as const, data: Float32Array.of(1, 2, 4, 8) };
        return mul(x, ops.layerNorm(x.graph.constant(row), w));
      },
      'is not linear in its sums',
    ],
    ['samples meet each other', (x, w) => mul(ops.matmul(x, x, { transB: true }), ops.sum(w)), 'on several axes'],
    ['an op has no rule', (x, w) => mul(x, ops.tanh(w)), 'no rule for op tanhGrad'],
    [
      'the graph is another one for another size',
      (x, w, batch) => mul(x, batch === B ? add(w, 1) : w),
      'the graph is another one for another batch size',
    ],
  ])('are not known where %s', (_, build, why) => {
    const [terms] = gradientTermsOf(
      modelOf((x, p, batch) => build(x, p('w', [4]), batch), [4]),
      B,
    );
    expect(terms).toMatchObject({ parameter: 'w', count: 0 });
    expect(terms!.unknown).toContain(why);
  });
});

describe('Σ|terms|', () => {
  /** terms/w and grad/w in f64. */
  function played(model: Model): { terms: number[]; gradient: number[] } {
    const graph = buildTrainingGraph(gradientTermsModel(model, () => {}).build(B, 'training'), {
      fetch: { gradients: true },
    });
    const feeds = new Map(
      [...graph.sources('input'), ...graph.parameters].map((t, k) => {
        const size = t.shape.reduce((a, b) => a * b, 1);
        return [t, { type: t.type, data: Float64Array.from({ length: size }, (_, i) => Math.sin(7 * k + 3 * i + 1)) }];
      }),
    );
    const [terms, gradient] = evaluate([graph.outputs.get('terms/w')!, graph.outputs.get('grad/w')!], feeds);
    return { terms: [...terms!.data], gradient: [...gradient!.data] };
  }

  it.each<[string, (x: Tensor, w: Tensor) => Tensor]>([
    ['sums', (x, w) => mul(x, w)],
    ['negated and scaled', (x, w) => mul(x, ops.neg(mul(w, -3)))],
    ['differences', (x, w) => ((v) => sub(mul(x, v), mul(ops.abs(x), v)))(mul(w, 3))],
    ['normalised', (x, w) => ops.layerNorm(x, w)],
  ])('of %s has no smaller an element than the gradient, nor a negative one', (_, build) => {
    const { terms, gradient } = played(modelOf((x, p) => build(x, p('w', [4])), [4]));
    expect(Math.max(...gradient.map(Math.abs))).toBeGreaterThan(0.1);
    terms.forEach((sum, i) => {
      expect(sum).toBeGreaterThan(1.01 * Math.abs(gradient[i]!));
    });
  });

  it('is the sum of their absolute values', () => {
    const { terms } = played(modelOf((x, p) => ((v) => sub(mul(x, v), mul(ops.abs(x), v)))(mul(p('w', [4]), -3)), [4]));
    const value = (k: number, i: number) => Math.sin(7 * k + 3 * i + 1);
    for (let c = 0; c < 4; c++) {
      let sum = 0;
      for (let s = 0; s < B; s++) sum += 2 * 3 * Math.abs(value(0, 4 * s + c) * value(1, 4 * s + c));
      expect(terms[c]).toBeCloseTo(sum, 12);
    }
  });
});
