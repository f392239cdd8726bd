// Convolutions of few channels a group against sums in the order that the kernels state, to the bit, and in f64.
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { conv2d } from '../../src/nn/conv.ts';
import { relu } from '../../src/ops/elementwise.ts';
import { Session } from '../../src/train/session.ts';
import { f32 as batchOf, planOf, squaredError } from '../support/models.ts';
import { type Arg, expectClose, f32, kernels, normal, run } from './harness.ts';

type Triple = readonly [number, number, number];

interface Case {
  N: number;
  groups: number;
  /** Channels and outputs a group, 1 unless given. */
  c?: number;
  o?: number;
  size: Triple;
  k: Triple;
  s?: Triple;
  p?: Triple;
  /** Padding behind. */
  e?: Triple;
  d?: Triple;
  /** Rows and columns of outputs whose products with dy are added before the others, all unless given. */
  band?: readonly [number, number];
}

const { fround } = Math;
const product = (t: readonly number[]) => t.reduce((a, b) => a * b);
const plane = (h: number, w: number): Triple => [1, h, w];

/** Row-major positions of a volume. */
function* positions([d, h, w]: Triple, from: Triple = [0, 0, 0]): Generator<Triple> {
  for (let i = 0; i < d; i++)
    for (let j = 0; j < h; j++) for (let l = 0; l < w; l++) yield [from[0] + i, from[1] + j, from[2] + l];
}

/** Element of plane `n` of volumes of a size, 0 outside. */
function element(data: Float32Array, n: number, [D, H, W]: Triple, [i, j, l]: Triple): number {
  const isInside = i >= 0 && i < D && j >= 0 && j < H && l >= 0 && l < W;
  return isInside ? data[((n * D + i) * H + j) * W + l]! : 0;
}

/** A sum in f32, in order, and in f64. */
class Sum {
  single = 0;
  double = 0;
  add(a: number, b: number): void {
    this.single = fround(this.single + fround(a * b));
    this.double += a * b;
  }
}

function setUp({ N, groups, c = 1, o = 1, size, k, s = [1, 1, 1], p = [0, 0, 0], e = p, d = [1, 1, 1], band }: Case) {
  const out = size.map(
    (n, a) => Math.floor((n + p[a]! + e[a]! - d[a]! * (k[a]! - 1) - 1) / s[a]!) + 1,
  ) as unknown as Triple;
  const [C, O] = [groups * c, groups * o];
  const ints = [N, C, ...size, O, ...k, ...s, ...p, ...d, groups, ...out];
  const x = normal(N * C * product(size), 1);
  const weight = normal(O * c * product(k), 2);
  const dy = normal(N * O * product(out), 3);
  const bias = normal(O, 4);
  const from = (q: Triple, t: Triple) => q.map((v, a) => v * s[a]! - p[a]! + t[a]! * d[a]!) as unknown as Triple;
  const weightAt = (output: number, i: number, t: Triple) => element(weight, output * c + i, k, t);
  const [rows, columns] = band ?? [out[1], out[2]];

  function outputs(): Sum[] {
    const sums: Sum[] = [];
    for (let n = 0; n < N; n++)
      for (let output = 0; output < O; output++)
        for (const q of positions(out)) {
          const sum = new Sum();
          const first = n * C + Math.floor(output / o) * c;
          for (let i = 0; i < c; i++)
            for (const t of positions(k)) sum.add(weightAt(output, i, t), element(x, first + i, size, from(q, t)));
          sums.push(sum);
        }
    return sums;
  }
  function inputGrad(): Sum[] {
    const sums: Sum[] = [];
    for (let n = 0; n < N; n++)
      for (let channel = 0; channel < C; channel++)
        for (const q of positions(size)) {
          const sum = new Sum();
          const first = Math.floor(channel / c) * o;
          for (let i = first; i < first + o; i++)
            for (const t of positions(k)) {
              const steps = q.map((v, a) => (v + p[a]! - t[a]! * d[a]!) / s[a]!);
              if (!steps.every(Number.isInteger)) continue;
              sum.add(weightAt(i, channel % c, t), element(dy, n * O + i, out, steps as unknown as Triple));
            }
          sums.push(sum);
        }
    return sums;
  }
  /** Of each band of a slice of a sample, 256 pixels at most from zero. */
  function weightGrad(): Sum[] {
    const sums: Sum[] = [];
    for (let output = 0; output < O; output++)
      for (let i = 0; i < c; i++)
        for (const t of positions(k)) {
          const total = new Sum();
          for (let n = 0; n < N; n++)
            for (let z = 0; z < out[0]; z++)
              for (let j = 0; j < out[1]; j += rows)
                for (let l = 0; l < out[2]; l += columns) {
                  const [high, wide] = [Math.min(rows, out[1] - j), Math.min(columns, out[2] - l)];
                  const few = Math.max(1, Math.floor(256 / wide));
                  for (let r = 0; r < high; r += few)
                    for (let m = 0; m < wide; m += 256) {
                      const sum = new Sum();
                      const some: Triple = [1, Math.min(few, high - r), Math.min(256, wide - m)];
                      for (const q of positions(some, [z, j + r, l + m])) {
                        const channel = n * C + Math.floor(output / o) * c + i;
                        sum.add(element(dy, n * O + output, out, q), element(x, channel, size, from(q, t)));
                      }
                      total.single = fround(total.single + sum.single);
                      total.double += sum.double;
                    }
                }
          sums.push(total);
        }
    return sums;
  }
  const call = (kind: number, name: string, length: number, ...rest: Arg[]) =>
    run(name, ...ints, ...rest, f32(length), { ws: kernels.convWorkspace!(kind, ...ints) })[0] as Float32Array;
  const conv = (image = x, b: Arg = { in: bias }) => call(0, 'conv', dy.length, { in: image }, { in: weight }, b);
  const convInputGrad = (cotangent = dy) => call(1, 'convInputGrad', x.length, { in: cotangent }, { in: weight });
  const convWeightGrad = (cotangent = dy) => call(2, 'convWeightGrad', weight.length, { in: x }, { in: cotangent });
  return { x, dy, bias, out, outputs, inputGrad, weightGrad, conv, convInputGrad, convWeightGrad };
}

function check(c: Case): void {
  const { bias, dy, outputs, inputGrad, weightGrad, conv, convInputGrad, convWeightGrad } = setUp(c);
  const compare = (actual: Float32Array, sums: Sum[], products = 0) => {
    expect([...actual]).toEqual(sums.map(({ single }) => single));
    const doubles = Float64Array.from(sums, ({ double }) => double);
    // Partial sums of more products are larger, and so is what their rounding leaves where they cancel.
    expectClose(actual, doubles, 1e-5, 2e-5 * Math.sqrt(Math.max(1, products / 1024)));
  };
  const y = outputs();
  compare(conv(undefined, -1), y);
  const volume = dy.length / c.N / bias.length;
  expect([...conv()]).toEqual(y.map(({ single }, i) => fround(single + bias[Math.floor(i / volume) % bias.length]!)));
  if ((c.o ?? 1) > 4) return; // gradients of so many outputs a group go by products of matrices
  compare(convInputGrad(), inputGrad());
  compare(convWeightGrad(), weightGrad(), dy.length / bias.length);
}

describe('few channels a group are added tap by tap, channel after channel, and no more than 256 pixels of a band from zero', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 19])('rows of %i', (width) => {
    for (const [height, stride] of [
      [1, 1],
      [2, 2],
      [3, 1],
      [5, 1],
      [6, 2],
      [7, 3],
    ] as const)
      check({ N: 2, groups: 4, size: plane(height, width), k: plane(2, 3), s: plane(stride, stride), p: [0, 1, 1] });
  });

  it.each([2, 3, 4, 5, 7, 8])('%i groups', (groups) => {
    check({ N: 3, groups, size: plane(4, 5), k: plane(3, 3), p: [0, 1, 1] });
    check({
      N: 1,
      groups,
      c: groups < 4 ? 1 : 2,
      o: 3,
      size: plane(5, 5),
      k: plane(3, 2),
      s: plane(2, 1),
      p: [0, 1, 0],
      e: [0, 0, 1],
    });
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 17])('rows of %i taps', (taps) => {
    for (const high of [1, 2, 3, 4]) check({ N: 2, groups: 4, size: plane(5, 20), k: plane(high, taps), p: [0, 0, 1] });
    check({ N: 1, groups: 4, c: 2, size: plane(3, 36), k: plane(2, taps), s: plane(1, 2), d: plane(1, 2) });
  });

  it.each<Case>([
    { N: 2, groups: 5, c: 4, o: 4, size: plane(6, 7), k: plane(3, 3), p: [0, 1, 1] },
    { N: 2, groups: 3, o: 6, size: plane(5, 6), k: plane(3, 3), p: [0, 1, 1] },
    { N: 2, groups: 4, o: 2, size: plane(7, 7), k: plane(3, 3), s: plane(2, 2), p: [0, 1, 1] },
    { N: 2, groups: 4, c: 3, size: plane(5, 4), k: plane(1, 1), p: [0, 1, 0] },
    { N: 2, groups: 4, c: 3, size: plane(5, 6), k: plane(2, 3), p: [0, 1, 1] }, // rows of taps by three, of two channels
    { N: 1, groups: 4, size: plane(9, 9), k: plane(2, 2), s: plane(3, 4) }, // elements that no window reaches
    { N: 1, groups: 4, size: plane(2, 1), k: plane(2, 2), p: [0, 4, 5] }, // windows of padding alone
    { N: 1, groups: 4, size: plane(7, 8), k: plane(3, 3), s: plane(2, 3), p: [0, 2, 2], d: plane(3, 2) },
    { N: 1, groups: 4, size: plane(6, 7), k: plane(3, 3), s: plane(2, 2), p: [0, 0, 1], d: plane(2, 2) },
    { N: 1, groups: 4, size: [4, 6, 7], k: [2, 3, 2], p: [1, 0, 1], d: [1, 2, 2] },
    { N: 2, groups: 5, c: 2, o: 2, size: [5, 4, 5], k: [3, 3, 3], s: [2, 1, 2], p: [1, 1, 1] },
    { N: 1, groups: 4, size: [5, 2, 3], k: [1, 2, 2], s: [3, 1, 1], p: [2, 0, 0] },
    { N: 1, groups: 4, size: plane(1, 9), k: plane(1, 4), p: [0, 0, 3], e: [0, 0, 0] }, // causal
  ])('%j', check);

  it.each<Case>([
    { N: 2, groups: 3, size: plane(70, 40), k: plane(3, 3), p: [0, 1, 1], band: [24, 40] },
    { N: 1, groups: 4, size: plane(61, 61), k: plane(3, 3), s: plane(2, 2), p: [0, 1, 1], band: [8, 31] },
    { N: 1, groups: 4, c: 3, o: 2, size: plane(9, 50), k: plane(3, 3), p: [0, 1, 1], band: [5, 50] },
    { N: 1, groups: 3, size: plane(1, 2800), k: plane(1, 31), p: [0, 0, 15], band: [1, 936] },
    { N: 1, groups: 4, c: 2, size: plane(3, 700), k: plane(3, 3), s: plane(1, 2), band: [1, 88] },
    { N: 1, groups: 3, size: plane(40, 44), k: plane(3, 3), p: [0, 12, 12], d: plane(12, 12), band: [20, 24] },
    { N: 1, groups: 3, size: [3, 20, 40], k: [3, 3, 3], p: [1, 1, 1], band: [7, 40] },
  ])('several bands: %j', check);
});

it.each<Case>([
  { N: 2, groups: 6, size: plane(5, 7), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, groups: 6, c: 2, o: 2, size: plane(6, 6), k: plane(3, 3), s: plane(2, 2), p: [0, 1, 1] },
])('what is not finite reaches its windows and its group alone: %j', (c) => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const { x, dy, outputs, inputGrad, weightGrad, conv, convInputGrad, convWeightGrad } = setUp(c);
    x[Math.floor(x.length * 0.6)] = value;
    expect([...conv(undefined, -1)]).toEqual(outputs().map(({ single }) => single));
    expect([...convWeightGrad()]).toEqual(weightGrad().map(({ single }) => single));
    dy[Math.floor(dy.length * 0.6)] = value;
    expect([...convInputGrad()]).toEqual(inputGrad().map(({ single }) => single));
  }
});

it('a step writes the bytes that its plan counts', async () => {
  const plan = planOf({
    name: 'separable',
    build: (batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 6, 9, 11] });
      const t = graph.input('t', { shape: [batch, 12, 5, 6] });
      const wide = relu(conv2d(x, 12, { kernel: 3, padding: 1, groups: 6, name: 'wide' }));
      const y = graph.output('y', conv2d(wide, 12, { kernel: 3, stride: 2, padding: 1, groups: 12, name: 'half' }));
      return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
    },
  });
  await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
  await session.run('train', { x: batchOf([8, 6, 9, 11], 1), t: batchOf([8, 12, 5, 6], 2) }, { step: 0 });
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
});
