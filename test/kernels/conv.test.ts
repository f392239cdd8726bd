// Convolutions over three axes against direct sums in f64, pools against those in f32 in the order that the kernels state.
import { describe, expect, it } from 'vitest';
import { type Arg, expectClose, f32, i32, kernels, normal, run } from './harness.ts';

type Triple = readonly [number, number, number];

/** How windows lie over a volume: sizes, kernel, stride, padding before and behind, dilation. */
interface Window {
  size: Triple;
  k: Triple;
  s?: Triple;
  p?: Triple;
  e?: Triple;
  d?: Triple;
}

function slide({ size, k, s = [1, 1, 1], p = [0, 0, 0], e = p, d = [1, 1, 1] }: Window) {
  const out = size.map(
    (n, a) => Math.floor((n + p[a]! + e[a]! - d[a]! * (k[a]! - 1) - 1) / s[a]!) + 1,
  ) as unknown as Triple;
  const flat = ([, h, w]: Triple, [i, j, l]: Triple) => (i * h + j) * w + l;
  /** Every tap inside the volume, in row-major order of output, then of tap: flat places in out, kernel and volume. */
  const taps: [out: number, tap: number, at: number][] = [];
  const each = (n: Triple, f: (at: Triple) => void) => {
    for (let i = 0; i < n[0]; i++) for (let j = 0; j < n[1]; j++) for (let l = 0; l < n[2]; l++) f([i, j, l]);
  };
  each(out, (o) =>
    each(k, (t) => {
      const at = o.map((v, a) => v * s[a]! - p[a]! + t[a]! * d[a]!) as unknown as Triple;
      if (at.every((v, a) => v >= 0 && v < size[a]!)) taps.push([flat(out, o), flat(k, t), flat(size, at)]);
    }),
  );
  const of = (t: Triple) => t[0] * t[1] * t[2];
  const ends = size.map((n, a) => n + e[a]!);
  return { out, taps, inside: of(size), outside: of(out), kernel: of(k), window: [...k, ...s, ...p, ...d], ends };
}

type Conv = Window & { N: number; C: number; O: number; groups?: number };
const plane = (...[h, w]: [number, number]): Triple => [1, h, w];
const CASES: Conv[] = [
  { N: 2, C: 3, O: 4, size: plane(6, 7), k: plane(3, 3) },
  { N: 3, C: 2, O: 3, size: plane(5, 5), k: plane(1, 1) },
  { N: 2, C: 4, O: 6, size: plane(8, 9), k: plane(3, 2), s: [1, 2, 3], p: [0, 1, 0], e: [0, 1, 1], groups: 2 },
  { N: 1, C: 3, O: 3, size: plane(9, 8), k: plane(3, 3), p: [0, 2, 2], d: [1, 2, 2], groups: 3 },
  { N: 2, C: 1, O: 5, size: plane(12, 12), k: plane(5, 5), p: [0, 2, 2] },
  { N: 1, C: 2, O: 2, size: plane(1, 1), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 2, O: 2, size: plane(4, 4), k: plane(1, 1), s: [1, 2, 2] },
  { N: 1, C: 2, O: 2, size: plane(3, 3), k: plane(2, 2), p: [0, 3, 4] },
  { N: 1, C: 40, O: 3, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 3, O: 4, size: plane(1, 17), k: plane(1, 4), s: [1, 1, 2], p: [0, 0, 2], d: [1, 1, 3] },
  { N: 2, C: 2, O: 3, size: [4, 5, 6], k: [2, 3, 2] },
  { N: 2, C: 1, O: 3, size: plane(41, 27), k: plane(3, 3), p: [0, 1, 1] }, // more than 1024 pixels
  {
    N: 1,
    C: 4,
    O: 2,
    size: [5, 4, 7],
    k: [3, 2, 3],
    s: [2, 1, 2],
    p: [1, 0, 2],
    e: [0, 1, 1],
    d: [2, 1, 2],
    groups: 2,
  },
  { N: 2, C: 3, O: 2, size: [3, 2, 5], k: [1, 1, 1] },
  { N: 1, C: 2, O: 3, size: plane(4, 41), k: plane(2, 3), p: [0, 1, 1] }, // rows too long for strips
  { N: 1, C: 1, O: 2, size: plane(3, 81), k: plane(3, 3), s: [1, 1, 2], p: [0, 1, 1] },
  { N: 1, C: 2, O: 2, size: plane(3, 31), k: plane(2, 3), p: [0, 0, 1] },
  // One channel a group: whole and overlapping strips, few rows, uneven padding, more than the taps' own, and strides.
  { N: 2, C: 3, O: 3, size: plane(7, 9), k: plane(3, 3), p: [0, 1, 1], groups: 3 },
  { N: 1, C: 2, O: 4, size: plane(2, 6), k: plane(2, 3), p: [0, 1, 2], e: [0, 0, 1], groups: 2 },
  { N: 1, C: 2, O: 2, size: plane(5, 6), k: plane(2, 2), p: [0, 2, 3], groups: 2 },
  { N: 1, C: 2, O: 2, size: plane(9, 13), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1], groups: 2 },
  { N: 1, C: 2, O: 2, size: plane(5, 17), k: plane(2, 2), s: [1, 1, 3], groups: 2 },
  { N: 1, C: 2, O: 2, size: [4, 6, 7], k: [2, 3, 2], p: [1, 0, 1], d: [1, 2, 2], groups: 2 },
  { N: 1, C: 2, O: 2, size: plane(3, 2), k: plane(1, 1), groups: 2 },
  { N: 1, C: 2, O: 2, size: [2, 3, 3], k: [3, 1, 2], p: [2, 1, 0] },
  // Wide enough for gemm, which packs from the image: quads of outputs in one row, in two, in more, two and three apart, rows of
  // whole panels, more than a block of taps or outputs, and few rows of weights.
  { N: 2, C: 3, O: 9, size: plane(9, 10), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 2, O: 8, size: plane(12, 14), k: plane(5, 5) },
  { N: 1, C: 4, O: 8, size: plane(9, 4), k: plane(2, 3) },
  { N: 2, C: 4, O: 8, size: plane(9, 16), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
  { N: 1, C: 2, O: 17, size: plane(10, 19), k: plane(3, 3), s: [1, 2, 3], d: [1, 2, 1] },
  { N: 1, C: 4, O: 10, size: plane(20, 34), k: plane(3, 3) },
  { N: 1, C: 30, O: 3, size: plane(3, 21), k: plane(3, 3), p: [0, 1, 1] },
  { N: 1, C: 8, O: 16, size: [3, 5, 6], k: [2, 3, 2], p: [0, 1, 0], e: [1, 0, 1], groups: 2 },
  { N: 2, C: 18, O: 8, size: plane(7, 7), k: plane(1, 1), s: [1, 2, 2] },
  // Narrow, of whole quads: more than a block of outputs, an odd row of weights, one channel a group.
  { N: 2, C: 1, O: 3, size: plane(42, 28), k: plane(3, 3), p: [0, 1, 1] },
  { N: 1, C: 2, O: 5, size: plane(5, 10), k: plane(2, 3) },
  { N: 2, C: 3, O: 3, size: plane(6, 8), k: plane(3, 3), p: [0, 1, 1], groups: 3 },
  // Wide enough for input gradients by filters turned around: ragged panels and rows, more taps than a block (which begins and ends
  // within a channel), more channels or outputs than a block of rows, uneven padding and dilation, no frame, rows of whole panels.
  { N: 2, C: 8, O: 9, size: plane(6, 7), k: plane(3, 3), p: [0, 1, 1] },
  { N: 3, C: 11, O: 30, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 131, O: 3, size: plane(3, 5), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 30, O: 130, size: plane(4, 3), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 18, O: 8, size: [3, 4, 5], k: [2, 3, 2], p: [1, 2, 0], e: [0, 2, 2], d: [1, 2, 2], groups: 2 },
  { N: 2, C: 8, O: 3, size: plane(5, 6), k: plane(3, 3), p: [0, 2, 2] },
  { N: 1, C: 8, O: 5, size: plane(5, 18), k: plane(3, 3), p: [0, 1, 1] },
  { N: 2, C: 9, O: 10, size: plane(6, 8), k: plane(2, 2), p: [0, 0, 1], e: [0, 2, 1] },
  // Input gradients by columns of every second element: whole strips and what is left of them.
  { N: 2, C: 8, O: 3, size: plane(9, 22), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
  // Input gradients pixel by pixel: odd and even rows, shorter than four pixels or than the taps, uneven padding and more than taps,
  // groups, pixels that no window reaches, phases of unequal and of no taps, three axes, runs of more than a block, one axis.
  { N: 2, C: 16, O: 3, size: plane(7, 9), k: plane(3, 3) },
  { N: 2, C: 32, O: 5, size: plane(6, 6), k: plane(5, 5) },
  { N: 2, C: 16, O: 2, size: plane(9, 1), k: plane(8, 1) },
  { N: 2, C: 16, O: 3, size: plane(8, 2), k: plane(4, 3), p: [0, 0, 1] },
  { N: 1, C: 16, O: 3, size: plane(5, 3), k: plane(3, 3), p: [0, 4, 3], e: [0, 3, 5] },
  { N: 2, C: 64, O: 6, size: plane(6, 7), k: plane(4, 3), p: [0, 2, 0], e: [0, 0, 1], groups: 2 },
  { N: 2, C: 16, O: 7, size: plane(9, 11), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
  { N: 2, C: 16, O: 4, size: plane(10, 10), k: plane(3, 4), s: [1, 2, 2] },
  { N: 1, C: 16, O: 3, size: plane(11, 13), k: plane(7, 2), s: [1, 3, 2], p: [0, 2, 1] },
  { N: 1, C: 16, O: 3, size: plane(12, 9), k: plane(2, 9), s: [1, 3, 2], p: [0, 0, 3] },
  { N: 2, C: 16, O: 3, size: [5, 5, 6], k: [3, 3, 2], s: [2, 1, 1], p: [1, 1, 0] },
  { N: 1, C: 16, O: 3, size: [4, 7, 7], k: [2, 3, 3], s: [1, 2, 2], p: [0, 1, 1] },
  { N: 2, C: 16, O: 70, size: plane(7, 6), k: plane(5, 5), p: [0, 2, 2] },
  { N: 1, C: 16, O: 60, size: plane(5, 8), k: plane(3, 6) },
  { N: 2, C: 48, O: 9, size: plane(1, 21), k: plane(1, 9), s: [1, 1, 2], p: [0, 0, 4] },
];

describe('conv', () => {
  CASES.forEach((c, index) => {
    it(`case ${index}`, () => {
      const { N, C, O, groups = 1 } = c;
      const w = slide(c);
      const ints = [N, C, ...c.size, O, ...w.window, groups, ...w.out];
      const [cg, og] = [C / groups, O / groups];
      const x = normal(N * C * w.inside, 1);
      const weight = normal(O * cg * w.kernel, 2);
      const dy = normal(N * O * w.outside, 3);
      const bias = normal(O, 4);
      const y = new Float64Array(dy.length);
      const dx = new Float64Array(x.length);
      const dw = new Float64Array(weight.length);
      for (let n = 0; n < N; n++)
        for (let o = 0; o < O; o++)
          for (let q = 0; q < cg; q++)
            for (const [out, tap, at] of w.taps) {
              const iy = (n * O + o) * w.outside + out;
              const ix = (n * C + Math.floor(o / og) * cg + q) * w.inside + at;
              const iw = (o * cg + q) * w.kernel + tap;
              y[iy]! += x[ix]! * weight[iw]!;
              dx[ix]! += dy[iy]! * weight[iw]!;
              dw[iw]! += dy[iy]! * x[ix]!;
            }
      const ws = [0, 1, 2].map((kind) => ({ ws: kernels.convWorkspace!(kind, ...ints) }));
      const biased = y.map((v, i) => v + bias[Math.floor(i / w.outside) % O]!);
      const tol = [1e-5, 2e-5] as const;
      const [inX, inW, inDy] = [{ in: x }, { in: weight }, { in: dy }];
      expectClose(run('conv', ...ints, inX, inW, -1, f32(y.length), ws[0]!)[0]!, y, ...tol);
      expectClose(run('conv', ...ints, inX, inW, { in: bias }, f32(y.length), ws[0]!)[0]!, biased, ...tol);
      expectClose(run('convInputGrad', ...ints, inDy, inW, f32(dx.length), ws[1]!)[0]!, dx, ...tol);
      expectClose(run('convWeightGrad', ...ints, inX, inDy, f32(dw.length), ws[2]!)[0]!, dw, ...tol);
    });
  });
});

it.each([
  { N: 3, C: 9, O: 12, size: plane(5, 7), k: plane(3, 3), p: [0, 1, 1] },
  { N: 3, C: 130, O: 31, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] },
  { N: 3, C: 8, O: 10, size: plane(9, 9), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1], groups: 2 },
  { N: 3, C: 32, O: 6, size: plane(7, 7), k: plane(3, 3), s: [1, 2, 1], groups: 2 },
] satisfies Conv[])('samples have the same bits alone as side by side: %j', (c) => {
  const { N, C, O, groups = 1 } = c as Conv;
  const w = slide(c);
  const sizes = (n: number) => [n, C, ...c.size, O, ...w.window, groups, ...w.out];
  const weight = { in: normal((O * C * w.kernel) / groups, 2) };
  const bias = { in: normal(O, 4) };
  const [x, dy] = [normal(N * C * w.inside, 1), normal(N * O * w.outside, 3)];
  const outputs = (n: number, image: Float32Array, rest: Arg[], kernel: string, kind: number, size: number) =>
    run(kernel, ...sizes(n), { in: image }, ...rest, f32(n * size), {
      ws: kernels.convWorkspace!(kind, ...sizes(n)),
    })[0]!;
  const compare = (images: Float32Array, rest: Arg[], kernel: string, kind: number, size: number) => {
    const all = outputs(N, images, rest, kernel, kind, size);
    for (let n = 0; n < N; n++) {
      const step = images.length / N;
      const alone = outputs(1, images.slice(n * step, (n + 1) * step), rest, kernel, kind, size);
      expect([...all.slice(n * size, (n + 1) * size)]).toEqual([...alone]);
    }
  };
  compare(x, [weight, bias], 'conv', 0, O * w.outside);
  compare(dy, [weight], 'convInputGrad', 1, C * w.inside);
});

it('an input gradient by filters turned around adds blocks of 256 outputs and taps, taps last to first, each from zero', () => {
  const [C, O, H, W, k] = [8, 31, 23, 24, 3];
  const ints = [1, C, 1, H, W, O, 1, k, k, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, H, W];
  const weight = normal(O * C * k * k, 1);
  const dy = normal(O * H * W, 2);
  const expected = new Float32Array(C * H * W);
  for (let c = 0; c < C; c++)
    for (let i = 0; i < H; i++)
      for (let j = 0; j < W; j++) {
        const at = (c * H + i) * W + j;
        for (let from = 0; from < O * k * k; from += 256) {
          let block = 0;
          for (let q = from; q < Math.min(O * k * k, from + 256); q++) {
            const [o, tap] = [Math.floor(q / (k * k)), k * k - 1 - (q % (k * k))];
            const [y, x] = [i + 1 - Math.floor(tap / k), j + 1 - (tap % k)];
            const there = y >= 0 && y < H && x >= 0 && x < W;
            const value = there ? dy[(o * H + y) * W + x]! : 0;
            block = Math.fround(block + Math.fround(weight[(o * C + c) * k * k + tap]! * value));
          }
          expected[at] = from === 0 ? block : expected[at]! + block;
        }
      }
  const ws = { ws: kernels.convWorkspace!(1, ...ints) };
  const dx = run('convInputGrad', ...ints, { in: dy }, { in: weight }, f32(expected.length), ws)[0]!;
  expect([...dx]).toEqual([...expected]);
});

/** Of one pixel of an image by 5×5 taps without padding: its neighbour's taps too, rows of them apart if some columns are missing. */
function inputGradOfPixel(
  dy: Float32Array,
  weight: (o: number, tap: number) => number,
  O: number,
  size: number,
  at: number[],
) {
  const [k, out] = [5, size - 4];
  const [i, j] = at as [number, number];
  const first = j - (j % 2);
  const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n);
  const rows = range(Math.max(0, i - out + 1), Math.min(k - 1, i));
  const columns = range(Math.max(0, first - out + 1), Math.min(k - 1, first + 1));
  const runs = columns.length === k ? [rows] : rows.map((q) => [q]);
  const outputs = range(0, O - 1);
  const blocks = runs.flatMap((run) => {
    const products = run.flatMap((q) =>
      columns.flatMap((r) =>
        outputs.map((o) => {
          const there = j - r >= 0 && j - r < out;
          return Math.fround((there ? dy[(o * out + i - q) * out + j - r]! : 0) * weight(o, q * k + r));
        }),
      ),
    );
    const count = Math.ceil(products.length / 256);
    return range(0, count - 1).map((n) =>
      products.slice(256 * n, 256 * (n + 1)).reduce((sum, product) => Math.fround(sum + product), 0),
    );
  });
  return blocks.reduce((sum, block) => Math.fround(sum + block));
}

it('an input gradient pixel by pixel adds the outputs of taps in order, a run or 256 of them from zero', () => {
  const [C, O, size, k] = [16, 23, 31, 5];
  const out = size - k + 1;
  const ints = [1, C, 1, size, size, O, 1, k, k, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, out, out];
  const weight = normal(O * C * k * k, 1);
  const dy = normal(O * out * out, 2);
  const ws = { ws: kernels.convWorkspace!(1, ...ints) };
  const dx = run('convInputGrad', ...ints, { in: dy }, { in: weight }, f32(C * size * size), ws)[0]!;
  const expected = dx.map((_, n) => {
    const [c, i, j] = [Math.floor(n / size ** 2), Math.floor(n / size) % size, n % size];
    return inputGradOfPixel(dy, (o, tap) => weight[(o * C + c) * k * k + tap]!, O, size, [i, j]);
  });
  expect([...dx]).toEqual([...expected]);
});

it('a gradient that is not a number reaches the pixels of its window and no others', () => {
  const [C, O, size, k] = [16, 2, 8, 3];
  const out = size - k + 1;
  const ints = [1, C, 1, size, size, O, 1, k, k, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, out, out];
  const dy = normal(O * out * out, 2);
  dy[2 * out + 3] = Number.NaN;
  const ws = { ws: kernels.convWorkspace!(1, ...ints) };
  const dx = run('convInputGrad', ...ints, { in: dy }, { in: normal(O * C * k * k, 1) }, f32(C * size * size), ws)[0]!;
  for (const [n, value] of dx.entries()) {
    const [i, j] = [Math.floor(n / size) % size, n % size];
    expect(Number.isNaN(value)).toBe(i >= 2 && i < 2 + k && j >= 3 && j < 3 + k);
  }
});

it('a narrow weight gradient adds four pixels a lane, 1024 of them a block, each from zero', () => {
  const [N, pixels] = [2, 1030];
  const x = normal(N * pixels, 1);
  const dy = normal(N * pixels, 2);
  let expected = 0;
  for (let n = 0; n < N; n++) {
    for (let from = 0; from < pixels; from += 1024) {
      const lanes = [0, 0, 0, 0];
      for (let k = from; k < Math.min(pixels, from + 1024); k++) {
        const at = n * pixels + k;
        lanes[k % 4] = Math.fround(lanes[k % 4]! + Math.fround(x[at]! * dy[at]!));
      }
      const [a, b, c, d] = lanes as [number, number, number, number];
      const block = Math.fround(Math.fround(a + c) + Math.fround(b + d));
      expected = n + from === 0 ? block : Math.fround(expected + block);
    }
  }
  const ints = [N, 1, 1, 1, pixels, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, pixels];
  expect(kernels.convWorkspace!(2, ...ints)).toBe(0);
  const y = run('convWeightGrad', ...ints, { in: x }, { in: dy }, f32(1), { ws: 0 })[0]!;
  expect(y[0]).toBe(expected);
});

it('a weight gradient of few outputs adds quads of each row where they lie, in the order of a narrow one', () => {
  const [N, C, O, size, k] = [2, 2, 31, 16, 3];
  const x = normal(N * C * size * size, 1);
  const dy = normal(N * O * size * size, 2);
  const expected = new Float32Array(O * C * k * k);
  const pixel = (n: number, c: number, i: number, j: number) =>
    Math.min(i, j) >= 0 && Math.max(i, j) < size ? x[((n * C + c) * size + i) * size + j]! : 0;
  for (const at of expected.keys()) {
    const [o, c, p, q] = [Math.floor(at / (C * k * k)), Math.floor(at / (k * k)) % C, Math.floor(at / k) % k, at % k];
    for (let n = 0; n < N; n++) {
      const lanes = [0, 0, 0, 0];
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++) {
          const product = Math.fround(dy[((n * O + o) * size + i) * size + j]! * pixel(n, c, i + p - 1, j + q - 1));
          lanes[j % 4] = Math.fround(lanes[j % 4]! + product);
        }
      const [a, b, c4, d] = lanes as [number, number, number, number];
      expected[at]! += Math.fround(Math.fround(a + c4) + Math.fround(b + d));
    }
  }
  const ints = [N, C, 1, size, size, O, 1, k, k, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, size, size];
  const ws = { ws: kernels.convWorkspace!(2, ...ints) };
  const dw = run('convWeightGrad', ...ints, { in: x }, { in: dy }, f32(expected.length), ws)[0]!;
  expect([...dw]).toEqual([...expected]);
});

describe('pools', () => {
  const POOLS: (Window & { NC: number })[] = [
    { NC: 3, size: plane(6, 6), k: plane(2, 2), s: [1, 2, 2] },
    { NC: 2, size: plane(7, 5), k: plane(3, 3), s: [1, 2, 1], p: [0, 1, 1] },
    { NC: 1, size: plane(9, 9), k: plane(3, 2), s: [1, 1, 2], p: [0, 1, 0], d: [1, 2, 3] },
    { NC: 2, size: plane(5, 1), k: plane(2, 1), s: [1, 3, 1] },
    { NC: 2, size: plane(1, 23), k: plane(1, 3), s: [1, 1, 1], p: [0, 0, 1] },
    { NC: 2, size: plane(3, 31), k: plane(2, 4), s: [1, 1, 3], p: [0, 0, 2], e: [0, 1, 3], d: [1, 1, 2] },
    { NC: 2, size: [4, 5, 6], k: [2, 2, 3], s: [2, 1, 1] },
    { NC: 1, size: [5, 4, 9], k: [3, 2, 2], s: [1, 2, 1], p: [2, 1, 0], e: [1, 0, 1], d: [2, 1, 3] },
    { NC: 2, size: [7, 1, 1], k: [7, 1, 1] },
    { NC: 2, size: plane(4, 15), k: plane(2, 2), s: [1, 2, 2] },
    { NC: 2, size: [4, 4, 15], k: [2, 2, 2], s: [2, 2, 2] },
    { NC: 2, size: [3, 5, 9], k: [1, 2, 2], s: [1, 2, 2] },
    { NC: 1, size: plane(5, 11), k: plane(2, 2), s: [1, 2, 2], e: [0, 1, 1] },
    { NC: 4, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] },
    { NC: 5, size: plane(8, 8), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
    { NC: 7, size: plane(2, 2), k: plane(2, 2), s: [1, 2, 2] },
    { NC: 10, size: plane(6, 6), k: plane(2, 2), s: [1, 2, 2] },
    { NC: 6, size: plane(1, 1), k: plane(1, 1) },
    { NC: 9, size: plane(2, 3), k: plane(2, 3) },
    { NC: 9, size: [3, 4, 5], k: [2, 3, 2], s: [1, 2, 1], p: [1, 1, 0], e: [0, 1, 1], d: [1, 1, 2] },
    // The last plane shares its vectors with none.
    { NC: 5, size: plane(7, 12), k: plane(3, 3), p: [0, 1, 1] },
    { NC: 1, size: [2, 6, 20], k: [2, 2, 3], s: [1, 1, 2], p: [1, 0, 1], d: [1, 2, 1] },
    // Rows first: tails of rows, one row of the plane, no overlap of all, windows that hang over, slices.
    { NC: 2, size: plane(8, 8), k: plane(3, 3), p: [0, 1, 1] },
    { NC: 3, size: plane(9, 19), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
    { NC: 1, size: plane(2, 21), k: plane(5, 5), p: [0, 2, 2] },
    { NC: 2, size: plane(1, 9), k: plane(2, 3), p: [0, 1, 1] },
    { NC: 2, size: plane(11, 13), k: plane(4, 5), s: [1, 3, 1], p: [0, 2, 1], e: [0, 1, 2] },
    { NC: 2, size: plane(6, 23), k: plane(2, 4), s: [1, 1, 2], p: [0, 0, 1], e: [0, 0, 2] },
    { NC: 1, size: plane(7, 20), k: plane(2, 2), s: [1, 1, 2] },
    { NC: 1, size: plane(7, 11), k: plane(3, 3), s: [1, 2, 1] },
    { NC: 2, size: [3, 5, 18], k: [1, 3, 3], s: [1, 1, 2], p: [0, 1, 1] },
    // Too large for a frame.
    { NC: 2, size: plane(36, 35), k: plane(3, 3), p: [0, 1, 1] },
    { NC: 1, size: plane(39, 37), k: plane(3, 2), s: [1, 2, 1], p: [0, 1, 1], e: [0, 2, 0], d: [1, 1, 3] },
    { NC: 2, size: plane(1, 1301), k: plane(1, 5), s: [1, 1, 3], p: [0, 0, 2] },
    { NC: 1, size: [11, 12, 10], k: [3, 2, 3], s: [1, 2, 2], p: [1, 0, 1] },
  ];
  POOLS.forEach(({ NC, ...c }, index) => {
    const w = slide(c);
    const out = NC * w.outside;
    const ints = [NC, ...c.size, ...w.window, ...w.out];
    const wsOf = (largest: number) => ({ ws: kernels.poolWorkspace!(largest, ...ints.slice(1)) });
    const planes = [NC, w.inside, w.outside];
    const cellsOf = Array.from({ length: w.outside }, (): number[] => []);
    for (const [o, , at] of w.taps) cellsOf[o]!.push(at);
    const window = (o: number) => ({
      base: Math.floor(o / w.outside) * w.inside,
      cells: cellsOf[o % w.outside]!,
    });
    it(`max ${index}`, () => {
      for (const special of [0, 1, 2]) {
        const x = normal(NC * w.inside, 1).map((v) => Math.round(v)); // many ties
        if (special === 1) x.fill(-Infinity);
        if (special === 2) for (let i = 0; i < x.length; i += 3) x[i] = Number.NaN;
        const y: number[] = [];
        const idx: number[] = [];
        for (let o = 0; o < out; o++) {
          const { base, cells } = window(o);
          const values = cells.map((cell) => x[base + cell]!);
          const nan = values.findIndex(Number.isNaN);
          const first = nan >= 0 ? nan : values.indexOf(Math.max(...values));
          y.push(values[first]!);
          idx.push(cells[first]!);
        }
        const [ay, ai] = run('maxPool', ...ints, { in: x }, f32(out), i32(out), wsOf(1));
        expectClose(ay!, y, 0, 0);
        expect([...ai!]).toEqual(idx);
        const dy = normal(out, 5);
        const dx = new Float32Array(x.length);
        for (const [o, cell] of idx.entries()) dx[window(o).base + cell]! += dy[o]!;
        const at = { in: Int32Array.from(idx) };
        expect(run('maxPoolGrad', ...planes, { in: dy }, at, f32(dx.length))[0]).toEqual(dx);
        expectClose(run('maxPoolGather', ...planes, { in: x }, at, f32(out))[0]!, y, 0, 0);
      }
    });
    it(`average ${index}`, () => {
      for (const includePad of [0, 1]) {
        const x = normal(NC * w.inside, 1);
        const dy = normal(out, 2);
        const y = new Float32Array(out);
        const dx = new Float32Array(x.length);
        for (let o = 0; o < out; o++) {
          const { base, cells } = window(o);
          const count = includePad ? w.kernel : cells.length;
          const share = Math.fround(dy[o]! / count);
          for (const cell of cells) {
            y[o]! += x[base + cell]!;
            dx[base + cell]! += share;
          }
          y[o]! /= count;
        }
        const sizes = [...ints, ...(includePad ? w.ends : c.size), includePad];
        expect(run('avgPool', ...sizes, { in: x }, f32(out), wsOf(0))[0]).toEqual(y);
        expect(run('avgPoolGrad', ...sizes, { in: dy }, f32(x.length), wsOf(0))[0]).toEqual(dx);
      }
    });
  });

  it('an average that counts padding counts it up to its end where the last window hangs over', () => {
    // Six elements and one of padding on both sides: of the last window, [5, 7], only 5 and 6 count.
    const ints = [1, 1, 1, 6, 1, 1, 3, 1, 1, 3, 0, 0, 1, 1, 1, 1, 1, 1, 3];
    const ws = { ws: kernels.poolWorkspace!(0, ...ints.slice(1)) };
    const x = Float32Array.of(3, 6, 9, 12, 15, 18);
    expect([...run('avgPool', ...ints, 1, 1, 7, 1, { in: x }, f32(3), ws)[0]!]).toEqual([3, 12, 9]);
    const dy = Float32Array.of(3, 6, 8);
    expect([...run('avgPoolGrad', ...ints, 1, 1, 7, 1, { in: dy }, f32(6), ws)[0]!]).toEqual([1, 1, 2, 2, 2, 4]);
  });

  // A last plane with rows of eight outputs or more goes by rows (maxima of overlapping windows always), others in a frame.
  it.each([
    { W: 5, stride: 2, ow: 3 },
    { W: 12, stride: 1, ow: 12 },
  ])('a plane $W wide is pooled to the same bits alone and beside others, whatever they hold', ({ W, stride, ow }) => {
    const sizes = (NC: number) => [NC, 1, 5, W, 1, 3, 3, 1, 2, stride, 0, 1, 1, 1, 1, 1, 1, 3, ow];
    const wsOf = (largest: number) => ({ ws: kernels.poolWorkspace!(largest, ...sizes(1).slice(1)) });
    const ws = wsOf(0);
    const counts = [1, 6, W + 1, 1];
    const [inside, outside] = [5 * W, 3 * ow];
    const [x, dy] = [normal(6 * inside, 3), normal(6 * outside, 4)];
    x[2 * inside + 7] = Number.NaN;
    x.fill(Number.NEGATIVE_INFINITY, 3 * inside, 4 * inside);
    x[4 * inside] = Number.POSITIVE_INFINITY;
    const pools = (NC: number, from: number) => {
      const planes = { in: x.slice(from * inside, (from + NC) * inside) };
      const cotangents = { in: dy.slice(from * outside, (from + NC) * outside) };
      const n = NC * outside;
      return [
        ...run('maxPool', ...sizes(NC), planes, f32(n), i32(n), wsOf(1)),
        ...run('avgPool', ...sizes(NC), ...counts, planes, f32(n), ws),
        ...run('avgPoolGrad', ...sizes(NC), ...counts, cotangents, f32(NC * inside), ws),
      ];
    };
    const all = pools(6, 0);
    for (let i = 0; i < 6; i++) {
      pools(1, i).forEach((alone, k) => {
        expect(alone, `plane ${i}, result ${k}`).toEqual(all[k]!.slice(i * alone.length, (i + 1) * alone.length));
      });
    }
  });

  it('an index outside its plane traps', () => {
    const dy = { in: Float32Array.of(1, 2) };
    for (const bad of [-1, 4]) {
      const at = { in: Int32Array.of(0, bad) };
      expect(() => run('maxPoolGrad', 1, 4, 2, dy, at, f32(4))).toThrow('unreachable');
      const places = { in: Int32Array.of(0, 1, 2, 3, 0, bad, 2, 3) };
      expect(() => run('maxPoolGrad', 4, 4, 2, { in: normal(8, 1) }, places, f32(16))).toThrow('unreachable');
      expect(() => run('maxPoolGather', 1, 4, 2, { in: new Float32Array(4) }, at, f32(2))).toThrow('unreachable');
    }
  });
});
