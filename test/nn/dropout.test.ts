import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { GraphError } from '../../src/core/errors.ts';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type GraphMode, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { reshape } from '../../src/ops/shape.ts';
import { ref } from './helpers.ts';

const key = [5, 0, 2, 0];
const layers = { dropout1d: nn.dropout1d, dropout2d: nn.dropout2d, dropout3d: nn.dropout3d };

/** What `layer` makes of ones, of samples `from`, `from` + 1 … of the batch. */
function ofOnes(
  shape: readonly number[],
  layer: (x: Tensor) => Tensor,
  options: { from?: number; step?: number } = {},
) {
  const graph = new Graph();
  const x = graph.input('x', { shape });
  const y = layer(x);
  const [, dx] = [y, gradients([{ tensor: y, cotangent: y }], [x])[0]!];
  const feeds = new Map([[x, ref(x, new Array(elementCount(shape)).fill(1))]]);
  for (const t of graph.sources('input')) {
    const kind = t.node.source!.feed!.kind;
    if (kind === 'randomKey') feeds.set(t, ref(t, key.with(2, options.step ?? 2)));
    if (kind === 'sampleIndices')
      feeds.set(
        t,
        ref(
          t,
          Array.from({ length: shape[0]! }, (_, i) => i + (options.from ?? 0)),
        ),
      );
  }
  return evaluate([y, dx], feeds).map((v) => [...v.data]) as [number[], number[]];
}

const share = (values: readonly number[]): number => values.filter((v) => v === 0).length / values.length;

describe('dropout', () => {
  it.each([undefined, 0.1, 0.75])('drops a share of p %s and scales the rest; the gradient has the same mask', (p) => {
    const [y, dx] = ofOnes([40, 100], (x) => nn.dropout(x, p === undefined ? {} : { p }));
    const wanted = p ?? 0.5;
    // Five standard deviations of the mean of 4,000 draws.
    expect(Math.abs(share(y) - wanted)).toBeLessThan(5 * Math.sqrt((wanted * (1 - wanted)) / 4000));
    for (const v of y) if (v !== 0) expect(v).toBeCloseTo(1 / (1 - wanted), 6);
    dx.forEach((v, i) => {
      expect(v).toBeCloseTo(y[i]! / (1 - wanted), 5);
    });
  });

  it('is the identity in evaluation, and without a probability: no node, no fed key', () => {
    for (const [mode, p] of [
      ['evaluation', 0.5],
      ['training', 0],
    ] as [GraphMode, number][]) {
      const graph = new Graph({ mode });
      const x = graph.input('x', { shape: [2, 3, 4, 4] });
      expect(nn.dropout(x, { p, name: 'drop' })).toBe(x);
      expect(nn.dropout2d(x, { p })).toBe(x);
      expect(graph.nodes).toHaveLength(1);
    }
  });

  it('drops all for p = 1', () => {
    expect(share(ofOnes([2, 3], (x) => nn.dropout(x, { p: 1 }))[0])).toBe(1);
  });

  it('draws a mask by sample and layer: the same for any cut of the batch, another for another name or step', () => {
    const draw = (shape: number[], options: { from?: number; step?: number; name?: string } = {}) =>
      ofOnes(shape, (x) => nn.dropout(x, { name: options.name ?? 'drop' }), options)[0];
    const whole = draw([6, 8]);
    expect([...draw([4, 8]), ...draw([2, 8], { from: 4 })]).toEqual(whole);
    expect(draw([6, 8], { step: 3 })).not.toEqual(whole);
    expect(draw([6, 8], { name: 'other' })).not.toEqual(whole);
  });

  it('finds the samples in an axis that joins the batch with others', () => {
    const joined = (x: Tensor): Tensor => reshape(nn.dropout(reshape(x, [x.shape[0]! * 3, 4])), x.shape);
    const plain = ofOnes([5, 3, 4], (x) => nn.dropout(x))[0];
    expect(ofOnes([5, 3, 4], joined)[0]).toEqual(plain);
  });

  it('has one mask for all microbatches where x is not batched', () => {
    const graph = new Graph();
    const weight = graph.parameter('weight', [3, 4], { kind: 'ones' });
    nn.dropout(weight, { axis: null });
    expect(graph.sources('input').map((t) => t.name)).toEqual(['random/key']);
  });

  it.each([
    ['dropout1d', [20, 30, 4]],
    ['dropout2d', [20, 30, 2, 3]],
    ['dropout3d', [20, 30, 2, 1, 2]],
  ] as const)('%s drops whole channels', (name, shape) => {
    const [y] = ofOnes(shape, (x) => layers[name](x, { p: 0.3 }));
    const places = elementCount(shape.slice(2));
    const channels = Array.from({ length: 600 }, (_, c) => y.slice(c * places, (c + 1) * places));
    for (const channel of channels) expect(new Set(channel).size).toBe(1);
    expect(Math.abs(share(channels.map(([v]) => v!)) - 0.3)).toBeLessThan(5 * Math.sqrt(0.21 / 600));
  });

  it('says what does not fit', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4, 6] });
    const wrong: [() => unknown, string][] = [
      [() => nn.dropout(x, { p: 1.5 }), 'p must lie between 0 and 1, got 1.5'],
      [() => nn.dropout(x, { axis: 1 }), 'axis 1 does not hold 4 samples'],
      [() => nn.dropout(x, { axis: 2 }), 'there is no axis 2'],
      [() => nn.dropout2d(x), 'takes [N, C, H, W]'],
    ];
    for (const [make, message] of wrong) {
      expect(make).toThrow(GraphError);
      expect(make).toThrow(message);
    }
  });
});
