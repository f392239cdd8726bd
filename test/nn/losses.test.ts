import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as losses from '../../src/losses/index.ts';
import { sigmoid } from '../../src/ops/elementwise.ts';
import { logSoftmax } from '../../src/ops/softmax.ts';
import { generator, inputOf, valuesOf } from './helpers.ts';

const next = generator(11);
const draw = (n: number): number[] => Array.from({ length: n }, () => 2 * next());

/** A loss of `x`, its value and its gradient for x. */
function evaluateLoss(
  shape: number[],
  build: (x: Tensor) => Tensor,
  feeds: Record<string, readonly number[]>,
): { loss: number; gradient: number[] } {
  const graph = new Graph();
  const x = graph.input('x', { shape });
  const loss = build(x);
  const [gradient] = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], [x]);
  const [value, slope] = valuesOf([loss, gradient!], feeds);
  return { loss: value![0]!, gradient: [...slope!] };
}

describe('crossEntropy', () => {
  const x = draw(12);
  const logit = (r: number, c: number): number => x[r * 4 + c]!;
  const rowLoss = (r: number, label: number): number =>
    Math.log([0, 1, 2, 3].reduce((s, c) => s + Math.exp(logit(r, c)), 0)) - logit(r, label);

  it('is the mean over the targets that count', () => {
    const all = evaluateLoss([3, 4], (t) => losses.crossEntropy(t, 'y'), { x, y: [0, 3, 1], 'scale/y': [1 / 3] });
    expect(all.loss).toBeCloseTo((rowLoss(0, 0) + rowLoss(1, 3) + rowLoss(2, 1)) / 3, 12);
    const some = evaluateLoss([3, 4], (t) => losses.crossEntropy(t, 'y', { ignoreIndex: -100 }), {
      x,
      y: [0, -100, 1],
      'scale/y/ignore=-100': [1 / 2],
    });
    expect(some.loss).toBeCloseTo((rowLoss(0, 0) + rowLoss(2, 1)) / 2, 12);
    expect(some.gradient.slice(4, 8)).toEqual([0, 0, 0, 0]);
  });

  it('asks to be fed 1 / (targets of the whole batch that count)', () => {
    const graph = new Graph();
    losses.crossEntropy(graph.input('x', { shape: [3, 4] }), 'y', { ignoreIndex: 2 });
    expect(inputOf(graph, 'scale/y/ignore=2').node.source!.feed).toEqual({
      kind: 'inverseCount',
      target: 'y',
      ignoreIndex: 2,
    });
    expect(inputOf(graph, 'y').type).toEqual({ dtype: 'i32', shape: [3] });
  });

  it('agrees with nll of logSoftmax, gradient included', () => {
    for (const ignoreIndex of [null, 1, -7]) {
      const y = [3, ignoreIndex === -7 ? -7 : 1, 0];
      const feeds = { x, y, [ignoreIndex === null ? 'scale/y' : `scale/y/ignore=${ignoreIndex}`]: [1 / 2] };
      const fused = evaluateLoss([3, 4], (t) => losses.crossEntropy(t, 'y', { ignoreIndex }), feeds);
      const plain = evaluateLoss([3, 4], (t) => losses.nll(logSoftmax(t), 'y', { ignoreIndex }), feeds);
      expect(plain.loss).toBeCloseTo(fused.loss, 12);
      plain.gradient.forEach((g, i) => {
        expect(g).toBeCloseTo(fused.gradient[i]!, 12);
      });
    }
  });

  it('a target that is no class is an error, or NaN in nll', () => {
    const feeds = { x, y: [0, 4, 1], 'scale/y': [1 / 3] };
    expect(() => evaluateLoss([3, 4], (t) => losses.crossEntropy(t, 'y'), feeds)).toThrow(
      'target 4 is not one of 4 classes',
    );
    expect(evaluateLoss([3, 4], (t) => losses.nll(logSoftmax(t), 'y'), feeds).loss).toBeNaN();
  });

  it('refuses a target that is not an input', () => {
    const graph = new Graph();
    const logits = graph.input('x', { shape: [1, 2] });
    const y = graph.constant({ type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(0) });
    expect(() => losses.crossEntropy(logits, y)).toThrow('must be an input of the graph');
  });
});

describe('means over elements', () => {
  it('mse', () => {
    const x = draw(6);
    const t = draw(6);
    const { loss, gradient } = evaluateLoss([2, 3], (o) => losses.mse(o, 't'), { x, t, 'scale/elements/3': [1 / 6] });
    expect(loss).toBeCloseTo(x.reduce((s, v, i) => s + (v - t[i]!) ** 2, 0) / 6, 12);
    gradient.forEach((g, i) => {
      expect(g).toBeCloseTo((2 * (x[i]! - t[i]!)) / 6, 12);
    });
  });

  it('mean and sum; another batch axis; no batch axis', () => {
    const x = draw(6);
    const total = x.reduce((s, v) => s + v, 0);
    expect(evaluateLoss([2, 3], (o) => losses.sum(o), { x }).loss).toBeCloseTo(total, 12);
    expect(evaluateLoss([2, 3], (o) => losses.mean(o), { x, 'scale/elements/3': [1 / 6] }).loss).toBeCloseTo(
      total / 6,
      12,
    );
    const other = evaluateLoss([2, 3], (o) => losses.mean(o, { batchAxis: 1 }), { x, 'scale/elements/2': [1 / 6] });
    expect(other.loss).toBeCloseTo(total / 6, 12);
    expect(evaluateLoss([2, 3], (o) => losses.mean(o, { batchAxis: null }), { x }).loss).toBeCloseTo(total / 6, 6);
  });

  it('bce of sigmoid is bceWithLogits', () => {
    const x = [...draw(5), 0];
    const t = [0, 1, 0.25, 1, 0, 1];
    const feeds = { x, t, 'scale/elements/3': [1 / 6] };
    const logits = evaluateLoss([2, 3], (o) => losses.bceWithLogits(o, 't'), feeds);
    const probabilities = evaluateLoss([2, 3], (o) => losses.bce(sigmoid(o), 't'), feeds);
    expect(probabilities.loss).toBeCloseTo(logits.loss, 12);
    logits.gradient.forEach((g, i) => {
      expect(g).toBeCloseTo((1 / (1 + Math.exp(-x[i]!)) - t[i]!) / 6, 12);
      expect(probabilities.gradient[i]).toBeCloseTo(g, 12);
    });
  });

  it('saturated: bceWithLogits stays finite, bce counts log 0 as −100', () => {
    const logits = evaluateLoss([1, 2], (o) => losses.bceWithLogits(o, 't'), {
      x: [800, -800],
      t: [0, 0],
      'scale/elements/2': [1],
    });
    expect(logits.loss).toBeCloseTo(800, 9);
    const cut = evaluateLoss([1, 2], (o) => losses.bce(o, 't'), { x: [0, 1], t: [1, 1], 'scale/elements/2': [1] });
    expect(cut.loss).toBeCloseTo(100, 4);
    expect(cut.gradient.every(Number.isFinite)).toBe(true);
  });

  it('refuses a target of another shape', () => {
    const graph = new Graph();
    const output = graph.input('x', { shape: [2, 3] });
    expect(() => losses.mse(output, graph.input('t', { shape: [2, 1] }))).toThrow('the target must be f32[2, 3]');
  });

  it('refuses an axis that is none, and samples that it cannot hold', () => {
    const x = new Graph().input('x', { shape: [6, 2] });
    for (const batchAxis of [0.5, '0', Number.NaN, 2, {}]) {
      expect(() => losses.mean(x, { batchAxis } as never)).toThrow(
        expect.objectContaining({ code: 'loss-batch-axis' }),
      );
    }
    for (const samples of [0, -3, 1.5, 5, '3', Number.NaN]) {
      expect(() => losses.mean(x, { samples } as never)).toThrow(expect.objectContaining({ code: 'loss-samples' }));
    }
  });
});
