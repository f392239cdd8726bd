// Convolutions and pools against direct sums in f64.
import { describe, expect, it } from 'vitest';
import { expectClose, f32, i32, kernels, normal, run } from './harness.ts';

interface Conv {
  N: number;
  C: number;
  H: number;
  W: number;
  O: number;
  k: [number, number];
  s?: [number, number];
  p?: [number, number, number, number];
  d?: [number, number];
  groups?: number;
}
const CASES: Conv[] = [
  { N: 2, C: 3, H: 6, W: 7, O: 4, k: [3, 3] },
  { N: 3, C: 2, H: 5, W: 5, O: 3, k: [1, 1] },
  { N: 2, C: 4, H: 8, W: 9, O: 6, k: [3, 2], s: [2, 3], p: [1, 0, 1, 1], groups: 2 },
  { N: 1, C: 3, H: 9, W: 8, O: 3, k: [3, 3], p: [2, 2, 2, 2], d: [2, 2], groups: 3 },
  { N: 2, C: 1, H: 12, W: 12, O: 5, k: [5, 5], p: [2, 2, 2, 2] },
  { N: 1, C: 2, H: 1, W: 1, O: 2, k: [3, 3], p: [1, 1, 1, 1] },
  { N: 2, C: 2, H: 4, W: 4, O: 2, k: [1, 1], s: [2, 2] },
  { N: 1, C: 2, H: 3, W: 3, O: 2, k: [2, 2], p: [3, 4, 3, 4] },
  { N: 1, C: 40, H: 4, W: 4, O: 3, k: [3, 3], p: [1, 1, 1, 1] },
];

function expand(c: Conv) {
  const { N, C, H, W, O, k, s = [1, 1], p = [0, 0, 0, 0], d = [1, 1], groups = 1 } = c;
  const oh = Math.floor((H + p[0] + p[2] - d[0] * (k[0] - 1) - 1) / s[0]) + 1;
  const ow = Math.floor((W + p[1] + p[3] - d[1] * (k[1] - 1) - 1) / s[1]) + 1;
  const ints = [N, C, H, W, O, ...k, ...s, p[0], p[1], ...d, groups, oh, ow];
  const cg = C / groups;
  const og = O / groups;
  /** Every product of the convolution: indices into y, x and w. */
  const visit = (f: (y: number, x: number, w: number) => void) => {
    for (let n = 0; n < N; n++)
      for (let o = 0; o < O; o++)
        for (let i = 0; i < oh; i++)
          for (let j = 0; j < ow; j++)
            for (let q = 0; q < cg; q++)
              for (let a = 0; a < k[0]; a++)
                for (let b = 0; b < k[1]; b++) {
                  const r = i * s[0] - p[0] + a * d[0];
                  const col = j * s[1] - p[1] + b * d[1];
                  if (r < 0 || r >= H || col < 0 || col >= W) continue;
                  const ch = Math.floor(o / og) * cg + q;
                  f(
                    ((n * O + o) * oh + i) * ow + j,
                    ((n * C + ch) * H + r) * W + col,
                    ((o * cg + q) * k[0] + a) * k[1] + b,
                  );
                }
  };
  return { ints, visit, sizes: { x: N * C * H * W, w: O * cg * k[0] * k[1], y: N * O * oh * ow }, plane: oh * ow };
}

describe('conv2d', () => {
  CASES.forEach((c, index) => {
    it(`case ${index}`, () => {
      const { ints, visit, sizes, plane } = expand(c);
      const x = normal(sizes.x, 1);
      const w = normal(sizes.w, 2);
      const dy = normal(sizes.y, 3);
      const bias = normal(c.O, 4);
      const y = new Float64Array(sizes.y);
      const dx = new Float64Array(sizes.x);
      const dw = new Float64Array(sizes.w);
      visit((iy, ix, iw) => {
        y[iy]! += x[ix]! * w[iw]!;
        dx[ix]! += dy[iy]! * w[iw]!;
        dw[iw]! += dy[iy]! * x[ix]!;
      });
      const ws = [0, 1, 2].map((kind) => ({ ws: kernels.conv2dWorkspace!(kind, ...ints) }));
      const biased = y.map((v, i) => v + bias[Math.floor(i / plane) % c.O]!);
      const tol = [1e-5, 2e-5] as const;
      expectClose(run('conv2d', ...ints, { in: x }, { in: w }, -1, f32(sizes.y), ws[0]!)[0]!, y, ...tol);
      expectClose(run('conv2d', ...ints, { in: x }, { in: w }, { in: bias }, f32(sizes.y), ws[0]!)[0]!, biased, ...tol);
      expectClose(run('conv2dInputGrad', ...ints, { in: dy }, { in: w }, f32(sizes.x), ws[1]!)[0]!, dx, ...tol);
      expectClose(run('conv2dWeightGrad', ...ints, { in: x }, { in: dy }, f32(sizes.w), ws[2]!)[0]!, dw, ...tol);
    });
  });
});

describe('pools', () => {
  const POOLS = [
    { NC: 3, H: 6, W: 6, k: [2, 2], s: [2, 2], p: [0, 0], d: [1, 1] },
    { NC: 2, H: 7, W: 5, k: [3, 3], s: [2, 1], p: [1, 1], d: [1, 1] },
    { NC: 1, H: 9, W: 9, k: [3, 2], s: [1, 2], p: [1, 0], d: [2, 3] },
    { NC: 2, H: 5, W: 1, k: [2, 1], s: [3, 1], p: [0, 0], d: [1, 1] },
  ] as const;
  POOLS.forEach(({ NC, H, W, k, s, p, d }, index) => {
    const oh = Math.floor((H + 2 * p[0] - d[0] * (k[0] - 1) - 1) / s[0]) + 1;
    const ow = Math.floor((W + 2 * p[1] - d[1] * (k[1] - 1) - 1) / s[1]) + 1;
    const out = NC * oh * ow;
    const window = (o: number) => {
      const i = Math.floor(o / ow) % oh;
      const j = o % ow;
      const cells: number[] = [];
      for (let a = 0; a < k[0]; a++)
        for (let b = 0; b < k[1]; b++) {
          const r = i * s[0] - p[0] + a * d[0];
          const c = j * s[1] - p[1] + b * d[1];
          if (r >= 0 && r < H && c >= 0 && c < W) cells.push(r * W + c);
        }
      return { base: Math.floor(o / (oh * ow)) * H * W, cells };
    };
    it(`max ${index}`, () => {
      for (const special of [0, 1, 2]) {
        const x = normal(NC * H * W, 1).map((v) => Math.round(v)); // many ties
        if (special === 1) x.fill(-Infinity);
        if (special === 2) for (let i = 0; i < x.length; i += 3) x[i] = Number.NaN;
        const y: number[] = [];
        const idx: number[] = [];
        for (let o = 0; o < out; o++) {
          const { base, cells } = window(o);
          const values = cells.map((c) => x[base + c]!);
          const nan = values.findIndex(Number.isNaN);
          const first = nan >= 0 ? nan : values.indexOf(Math.max(...values));
          y.push(values[first]!);
          idx.push(cells[first]!);
        }
        const [ay, ai] = run('maxPool2d', NC, H, W, ...k, ...s, ...p, ...d, oh, ow, { in: x }, f32(out), i32(out));
        expectClose(ay!, y, 0, 0);
        expect([...ai!]).toEqual(idx);
        const dy = normal(out, 5);
        const dx = new Float64Array(NC * H * W);
        for (const [o, c] of idx.entries()) dx[window(o).base + c]! += dy[o]!;
        const at = { in: Int32Array.from(idx) };
        expectClose(run('maxPool2dGrad', NC, H, W, oh, ow, { in: dy }, at, f32(dx.length))[0]!, dx);
        expectClose(run('maxPool2dGather', NC, H, W, oh, ow, { in: x }, at, f32(out))[0]!, y, 0, 0);
      }
    });
    it(`average ${index}`, () => {
      if (d[0] !== 1) return;
      for (const includePad of [0, 1]) {
        const x = normal(NC * H * W, 1);
        const dy = normal(out, 2);
        const y = new Float64Array(out);
        const dx = new Float64Array(x.length);
        for (let o = 0; o < out; o++) {
          const { base, cells } = window(o);
          const count = includePad ? k[0] * k[1] : cells.length;
          for (const c of cells) {
            y[o]! += x[base + c]! / count;
            dx[base + c]! += dy[o]! / count;
          }
        }
        const ints = [NC, H, W, ...k, ...s, ...p, oh, ow, includePad];
        expectClose(run('avgPool2d', ...ints, { in: x }, f32(out))[0]!, y);
        expectClose(run('avgPool2dGrad', ...ints, { in: dy }, f32(x.length))[0]!, dx);
      }
    });
  });
});
