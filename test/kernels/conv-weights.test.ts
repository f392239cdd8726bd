// Weights' gradients of convolutions of several samples at once, beside sums in f64 and, to the bit, in the order that the kernel states.
import { describe, expect, it } from 'vitest';
import { expectClose, f32, kernels, normal, run } from './harness.ts';

type Triple = readonly [number, number, number];

interface Conv {
  N: number;
  C: number;
  O: number;
  size: Triple;
  k: Triple;
  s?: Triple;
  p?: Triple;
  e?: Triple;
  d?: Triple;
  groups?: number;
}

const plane = (h: number, w: number): Triple => [1, h, w];
const product = (t: readonly number[]) => t.reduce((a, b) => a * b, 1);
const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
const one: Triple = [1, 1, 1];
const none: Triple = [0, 0, 0];

function geometry({ N, C, O, size, k, s = one, p = none, e = p, d = one, groups = 1 }: Conv) {
  const out = size.map((n, a) => Math.floor((n + p[a]! + e[a]! - d[a]! * (k[a]! - 1) - 1) / s[a]!) + 1);
  const ints = [N, C, ...size, O, ...k, ...s, ...p, ...d, groups, ...out];
  const taps = range(0, product(k)).map((t) => [Math.floor(t / (k[1] * k[2])), Math.floor(t / k[2]) % k[1], t % k[2]]);
  /** Where the tap of an output lies in its volume, or nothing in the padding. */
  const place = (output: readonly number[], tap: readonly number[]): number | undefined => {
    const [z, y, x] = output.map((v, a) => v * s[a]! - p[a]! + tap[a]! * d[a]!) as [number, number, number];
    if (![z, y, x].every((v, a) => v >= 0 && v < size[a]!)) return undefined;
    return (z * size[1] + y) * size[2] + x;
  };
  return { N, C, O, groups, out: out as unknown as Triple, ints, taps, place, inside: product(size) };
}

/** Samples that go at once: with about 256 pixels of a slice, and 2 MiB of x in pairs of channels. */
function samplesAtOnce(c: Conv): number {
  const { N, C, groups, out, inside } = geometry(c);
  const bytes = 8 * Math.ceil(C / groups / 2) * inside;
  return Math.max(1, Math.min(N, Math.floor(256 / (out[1] * out[2])), Math.floor(2 ** 21 / bytes)));
}

function workspaceOf(c: Conv): number {
  const { C, groups, taps, out, inside } = geometry(c);
  return 144 * taps.length + samplesAtOnce(c) * (64 * product(out) + 8 * Math.ceil(C / groups / 2) * inside);
}

/** dw in f32 as the kernel adds it, or, in blocks of everything and without rounding, in f64. */
function weightGrad(c: Conv, x: Float32Array, dy: Float32Array, exact: boolean): Float64Array {
  const { N, C, O, groups, out, taps, place, inside } = geometry(c);
  const [cg, og] = [C / groups, O / groups];
  const [od, oh, ow] = out;
  const round = exact ? (v: number) => v : Math.fround;
  const most = samplesAtOnce(c);
  const blocks = range(0, Math.ceil(N / most)).flatMap((i) => {
    const samples = range(i * most, Math.min(N, (i + 1) * most));
    const rows = Math.max(1, Math.min(oh, Math.floor(256 / (samples.length * ow))));
    return range(0, od).flatMap((z) =>
      range(0, Math.ceil(oh / rows)).map((j) =>
        range(j * rows, Math.min(oh, (j + 1) * rows)).flatMap((y) =>
          range(0, ow).flatMap((l) => samples.map((n) => ({ n, at: [z, y, l], pixel: (z * oh + y) * ow + l }))),
        ),
      ),
    );
  });
  const dw = new Float64Array(O * cg * taps.length);
  taps.forEach((tap, t) => {
    const reached = blocks.map((block) =>
      block.flatMap(({ n, at, pixel }) => {
        const from = place(at, tap);
        return from === undefined ? [] : [{ n, pixel, from }];
      }),
    );
    for (const o of range(0, O))
      for (const q of range(0, cg)) {
        const channel = Math.floor(o / og) * cg + q;
        const totals = reached.map((block) =>
          block.reduce((sum, { n, pixel, from }) => {
            const cotangent = dy[(n * O + o) * product(out) + pixel]!;
            return round(sum + round(cotangent * x[(n * C + channel) * inside + from]!));
          }, 0),
        );
        dw[(o * cg + q) * taps.length + t] = totals.reduce((sum, total) => round(sum + total));
      }
  });
  return dw;
}

function kernel(c: Conv, x: Float32Array, dy: Float32Array): Float32Array {
  const { O, C, groups, ints, taps } = geometry(c);
  const ws = { ws: kernels.convWorkspace!(2, ...ints) };
  return run(
    'convWeightGrad',
    ...ints,
    { in: x },
    { in: dy },
    f32((O * C * taps.length) / groups),
    ws,
  )[0] as Float32Array;
}

function inputs(c: Conv): [x: Float32Array, dy: Float32Array] {
  const { N, C, O, out, inside } = geometry(c);
  return [normal(N * C * inside, 1), normal(N * O * product(out), 2)];
}

describe('a weight gradient of several samples at once adds pixels in order, and of each the samples, 256 or so from zero', () => {
  const CASES: Conv[] = [
    { N: 7, C: 8, O: 16, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] },
    { N: 17, C: 9, O: 32, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] }, // a last group of one sample, an odd channel
    { N: 70, C: 8, O: 16, size: plane(1, 1), k: plane(3, 3), p: [0, 1, 1] }, // most taps reach nothing
    { N: 67, C: 9, O: 16, size: plane(2, 2), k: plane(3, 3), p: [0, 1, 1] },
    { N: 9, C: 8, O: 16, size: plane(7, 7), k: plane(3, 3), p: [0, 1, 1] },
    { N: 6, C: 10, O: 48, size: plane(8, 8), k: plane(5, 5), p: [0, 2, 2] },
    { N: 9, C: 6, O: 16, size: plane(14, 14), k: plane(5, 5) }, // two samples, and of the last one more rows
    { N: 6, C: 16, O: 16, size: plane(9, 10), k: plane(3, 3), s: [1, 2, 2], p: [0, 1, 1] },
    { N: 5, C: 9, O: 16, size: plane(11, 13), k: plane(4, 3), s: [1, 3, 3], p: [0, 2, 0], e: [0, 1, 1] },
    { N: 3, C: 7, O: 32, size: plane(9, 8), k: plane(3, 5), s: [1, 2, 2], p: [0, 1, 2] },
    { N: 1, C: 6, O: 16, size: plane(6, 6), k: plane(3, 3), p: [0, 1, 1] },
    { N: 8, C: 8, O: 16, size: plane(6, 9), k: plane(3, 3), p: [0, 2, 2], d: [1, 2, 2] },
    { N: 8, C: 8, O: 16, size: plane(3, 2), k: plane(4, 2), p: [0, 5, 4] }, // more padding than taps, or than the image
    { N: 6, C: 16, O: 32, size: plane(5, 6), k: plane(3, 3), p: [0, 1, 1], groups: 2 },
    { N: 5, C: 8, O: 16, size: [3, 4, 5], k: [3, 3, 2], s: [1, 2, 1], p: [1, 1, 0], e: [1, 1, 1] },
    { N: 6, C: 8, O: 16, size: [5, 3, 4], k: [2, 2, 3], s: [2, 1, 2], p: [1, 0, 1], d: [2, 1, 1] },
    { N: 2, C: 8, O: 16, size: plane(16, 17), k: plane(3, 3), p: [0, 1, 1] }, // rows of one sample in blocks
    { N: 9, C: 8, O: 16, size: plane(1, 40), k: plane(1, 9), p: [0, 0, 4] },
    { N: 2, C: 8, O: 16, size: plane(1, 256), k: plane(1, 9), p: [0, 0, 4] }, // a row is a block
    { N: 6, C: 32, O: 16, size: plane(64, 64), k: plane(8, 8), s: [1, 16, 16] }, // four samples of x are 2 MiB
  ];
  it.each(CASES)('%j', (c) => {
    expect(kernels.convWorkspace!(2, ...geometry(c).ints)).toBe(workspaceOf(c)); // that this is the kernel of several samples
    const [x, dy] = inputs(c);
    const dw = kernel(c, x, dy);
    expectClose(dw, weightGrad(c, x, dy, true), 1e-5, 2e-5);
    expect([...dw]).toEqual([...weightGrad(c, x, dy, false)]);
  });
});

it('rows of more than 256 outputs, which make no block, go another way', () => {
  const c: Conv = { N: 2, C: 8, O: 16, size: plane(1, 257), k: plane(1, 9), p: [0, 0, 4] };
  expect(kernels.convWorkspace!(2, ...geometry(c).ints)).not.toBe(workspaceOf(c));
  const [x, dy] = inputs(c);
  expectClose(kernel(c, x, dy), weightGrad(c, x, dy, true), 1e-5, 2e-5);
});

it('a cotangent that is not finite reaches the taps of its window that lie in the image, of its output alone', () => {
  const c: Conv = { N: 8, C: 8, O: 16, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] };
  const [x, dy] = inputs(c);
  dy[(3 * 16 + 5) * 16] = Number.NaN; // sample 3, output 5, the first pixel
  const dw = kernel(c, x, dy);
  for (const [i, value] of dw.entries()) {
    const [o, p, q] = [Math.floor(i / 72), Math.floor(i / 3) % 3, i % 3];
    expect(Number.isNaN(value), `element ${i}`).toBe(o === 5 && p > 0 && q > 0);
  }
});

it('an infinite pixel reaches the taps that meet it, of its channel alone', () => {
  const c: Conv = { N: 8, C: 8, O: 16, size: plane(4, 4), k: plane(3, 3), p: [0, 1, 1] };
  const [x, dy] = inputs(c);
  x[(7 * 8 + 2) * 16] = Number.POSITIVE_INFINITY; // the last sample, channel 2, the first pixel
  const dw = kernel(c, x, dy);
  for (const [i, value] of dw.entries()) {
    const [channel, p, q] = [Math.floor(i / 9) % 8, Math.floor(i / 3) % 3, i % 3];
    expect(Number.isFinite(value), `element ${i}`).toBe(!(channel === 2 && p < 2 && q < 2));
  }
});
