// nllLoss and crossEntropyLoss against their formulas, written once more in plain loops, for every mix of options.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { uniform } from '../../src/core/random.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { crossEntropyLoss, nllLoss, type Reduction } from '../../src/ops/class-loss.ts';
import { sum } from '../../src/ops/reduce.ts';

const [n, classes, places] = [3, 4, 2];
const scores = uniform({ seed: 1, stream: 'scores' }, n * classes * places).map((u) => 4 * u - 2);
const weights = [0.5, 2, 0, 1.5];
/** [N, places] */
const targets = [0, 3, 1, 1, 2, 3];

/** log softmax along the class axis of [N, C, places]. */
function logProbabilities(x: ArrayLike<number>): number[] {
  const at = (i: number, c: number, p: number) => (i * classes + c) * places + p;
  const out = new Array<number>(x.length);
  for (let i = 0; i < n; i++) {
    for (let p = 0; p < places; p++) {
      let total = 0;
      for (let c = 0; c < classes; c++) total += Math.exp(x[at(i, c, p)]!);
      for (let c = 0; c < classes; c++) out[at(i, c, p)] = x[at(i, c, p)]! - Math.log(total);
    }
  }
  return out;
}

interface Options {
  readonly weighted: boolean;
  readonly ignoreIndex: number | null;
  readonly reduction: Reduction;
}

function formula(log: ArrayLike<number>, labels: readonly number[], options: Options): number[] {
  let [total, all] = [0, 0];
  const each = labels.map((label, k) => {
    if (label === options.ignoreIndex) return 0;
    const [i, p] = [Math.floor(k / places), k % places];
    const weight = options.weighted ? weights[label]! : 1;
    const loss = -weight * log[(i * classes + label) * places + p]!;
    total += loss;
    all += weight;
    return loss;
  });
  if (options.reduction === 'none') return each;
  return [options.reduction === 'sum' ? total : total / all];
}

function computed(loss: typeof nllLoss, labels: readonly number[], { weighted, ...options }: Options) {
  const graph = new Graph();
  const x = graph.input('x', { shape: [n, classes, places] });
  const target = graph.input('target', { dtype: 'i32', shape: [n, places] });
  const weight = graph.input('weight', { shape: [classes], batchAxis: null });
  const y = loss(x, target, weighted ? { ...options, weight } : options);
  const feeds = new Map<Tensor, RefTensor>([
    [x, { type: x.type, data: scores }],
    [target, { type: target.type, data: Float64Array.from(labels) }],
    [weight, { type: weight.type, data: Float64Array.from(weights) }],
  ]);
  const [dx] = gradients([{ tensor: sum(y), cotangent: graph.scalar(1) }], [x]);
  const [value, slope] = evaluate([y, dx!], feeds).map((v) => [...v.data]);
  return { value: value!, slope: slope!, ops: graph.nodes.map((node) => node.op?.name) };
}

const close = (a: number, b: number): boolean => Object.is(a, b) || Math.abs(a - b) <= 1e-7 + 1e-6 * Math.abs(b);

const mixes = [true, false].flatMap((weighted) =>
  [null, 1, -100].flatMap((ignoreIndex) =>
    (['none', 'sum', 'mean'] as const).map((reduction): Options => ({ weighted, ignoreIndex, reduction })),
  ),
);

describe.each(mixes)('weighted: $weighted, ignoreIndex: $ignoreIndex, $reduction', (options) => {
  const labels = options.ignoreIndex === -100 ? targets.with(2, -100) : targets;
  it.each([
    ['nllLoss', nllLoss, (x: ArrayLike<number>) => x],
    ['crossEntropyLoss', crossEntropyLoss, logProbabilities],
  ] as const)('%s', (_, loss, log) => {
    const { value, slope } = computed(loss, labels, options);
    const expected = formula(log(scores), labels, options);
    expect(value.length).toBe(expected.length);
    expect(value.every((v, i) => close(v, expected[i]!))).toBe(true);
    const total = (x: ArrayLike<number>) => formula(log(x), labels, options).reduce((a, b) => a + b, 0);
    const step = 1e-5;
    slope.forEach((d, i) => {
      const difference =
        (total(scores.with(i, scores[i]! + step)) - total(scores.with(i, scores[i]! - step))) / 2 / step;
      expect(Math.abs(d - difference)).toBeLessThan(1e-6);
    });
  });
});

describe('class losses', () => {
  const plain: Options = { weighted: false, ignoreIndex: null, reduction: 'mean' };

  it('cross entropy without weights is the fused op', () => {
    for (const reduction of ['mean', 'sum'] as const) {
      const { ops } = computed(crossEntropyLoss, targets, { ...plain, reduction });
      expect(ops.filter((op) => op === 'crossEntropy')).toEqual(['crossEntropy']);
      expect(ops).not.toContain('logSoftmax');
    }
  });

  it.each([-1, classes])('a target of %i, which is no class, never passes', (label) => {
    const wrong = targets.with(1, label);
    expect(computed(nllLoss, wrong, plain).value).toEqual([Number.NaN]);
    expect(computed(nllLoss, wrong, { ...plain, weighted: true }).value).toEqual([Number.NaN]);
    expect(computed(crossEntropyLoss, wrong, { ...plain, weighted: true }).value).toEqual([Number.NaN]);
    expect(() => computed(crossEntropyLoss, wrong, plain)).toThrow(`target ${label} is not one of 4 classes`);
  });

  it('a mean of nothing is NaN, as PyTorch has it', () => {
    const none = targets.map(() => -100);
    const options: Options = { ...plain, ignoreIndex: -100 };
    expect(computed(nllLoss, none, options).value).toEqual([Number.NaN]);
    expect(computed(crossEntropyLoss, none, options).value).toEqual([Number.NaN]);
  });

  it('takes vectors of classes without a batch', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4], batchAxis: null });
    const target = graph.input('t', { dtype: 'i32', shape: [], batchAxis: null });
    const feeds = new Map<Tensor, RefTensor>([
      [x, { type: x.type, data: Float64Array.of(-1, -2, -3, -4) }],
      [target, { type: target.type, data: Float64Array.of(2) }],
    ]);
    expect([...evaluate([nllLoss(x, target)], feeds)[0]!.data]).toEqual([3]);
  });
});
