// Convolutions with samples as lanes, held to the bit to the order that they state and beside sums in f64.
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
  /** Padding behind. */
  e?: Triple;
  d?: Triple;
  groups?: number;
}
/** What a result is summed from: `rows` results a group of `c` channels of `source`. */
interface Sides {
  turned: boolean;
  c: number;
  rows: number;
  source: Triple;
  result: Triple;
}

const ones: Triple = [1, 1, 1];
const none: Triple = [0, 0, 0];
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const volume = (t: Triple) => t[0] * t[1] * t[2];
const flat = ([, h, w]: Triple, [i, j, l]: Triple) => (i * h + j) * w + l;
const each = ([d, h, w]: Triple): Triple[] =>
  range(d).flatMap((i) => range(h).flatMap((j) => range(w).map((l): Triple => [i, j, l])));

const whole = (c: Conv) => ({ s: ones, p: none, d: ones, groups: 1, ...c });
const outOf = (c: Conv): Triple => {
  const { size, k, s, p, d } = whole(c);
  const e = c.e ?? p;
  return size.map((n, a) => Math.floor((n + p[a]! + e[a]! - d[a]! * (k[a]! - 1) - 1) / s[a]!) + 1) as unknown as Triple;
};
function sidesOf(c: Conv, turned: boolean): Sides {
  const { C, O, size, groups } = whole(c);
  const [x, y] = [C / groups, O / groups];
  return turned
    ? { turned, c: y, rows: x, source: outOf(c), result: size }
    : { turned, c: x, rows: y, source: size, result: outOf(c) };
}
const intsOf = (c: Conv) => {
  const { N, C, O, size, k, s, p, d, groups } = whole(c);
  return [N, C, ...size, O, ...k, ...s, ...p, ...d, groups, ...outOf(c)];
};

/** Taps along an axis that reach the source from a place of the result, with the source's places, which ascend. */
function reaching(c: Conv, { turned, source }: Sides, axis: number, at: number): [tap: number, place: number][] {
  const { k, s, p, d } = whole(c);
  const placeOf = (tap: number) =>
    turned ? (at + p[axis]! - tap * d[axis]!) / s[axis]! : at * s[axis]! - p[axis]! + tap * d[axis]!;
  return range(k[axis]!)
    .map((tap): [number, number] => [tap, placeOf(tap)])
    .filter(([, place]) => Number.isInteger(place) && place >= 0 && place < source[axis]!)
    .sort((a, b) => a[1] - b[1]);
}

/** Products of one result in the stated order: as many rows of taps a block as have 256 products, or 256 of a longer row. */
function blocksOf(c: Conv, sides: Sides, at: Triple): { tap: Triple; place: Triple; channel: number }[][] {
  const [slices, rows, columns] = [0, 1, 2].map((axis) => reaching(c, sides, axis, at[axis]!));
  const run = columns!.length * sides.c;
  const block = run === 0 ? 1 : Math.max(1, Math.floor(256 / run));
  return slices!.flatMap(([p, z]) =>
    range(Math.ceil(rows!.length / block)).flatMap((i) => {
      const products = rows!
        .slice(i * block, (i + 1) * block)
        .flatMap(([q, y]) =>
          columns!.flatMap(([r, x]) =>
            range(sides.c).map((channel) => ({ tap: [p, q, r] as Triple, place: [z, y, x] as Triple, channel })),
          ),
        );
      return range(Math.ceil(products.length / 256)).map((j) => products.slice(256 * j, 256 * (j + 1)));
    }),
  );
}

/** All results by `sum` of the values and weights of the blocks of one. */
function results<T extends Float32Array | Float64Array>(
  c: Conv,
  sides: Sides,
  source: Float32Array,
  weight: Float32Array,
  out: T,
  sum: (blocks: [value: number, weight: number][][]) => number,
): T {
  const to: Float32Array | Float64Array = out;
  const { N, k, groups } = whole(c);
  const { turned, c: channels, rows } = sides;
  const perGroup = turned ? rows : channels;
  const places = each(sides.result);
  const blocks = places.map((at) => blocksOf(c, sides, at));
  for (const n of range(N))
    for (const g of range(groups))
      for (const row of range(rows))
        places.forEach((at, pixel) => {
          const products = blocks[pixel]!.map((block) =>
            block.map(({ tap, place, channel }): [number, number] => {
              const [o, i] = turned ? [g * channels + channel, row] : [g * rows + row, channel];
              const image = (n * groups + g) * channels + channel;
              return [
                source[image * volume(sides.source) + flat(sides.source, place)]!,
                weight[(o * perGroup + i) * volume(k) + flat(k, tap)]!,
              ];
            }),
          );
          const plane = ((n * groups + g) * rows + row) * volume(sides.result);
          to[plane + flat(sides.result, at)] = sum(products);
        });
  return out;
}

const inOrder = (blocks: [number, number][][]): number =>
  blocks
    .map((block) => block.reduce((sum, [v, w]) => Math.fround(sum + Math.fround(v * w)), 0))
    .reduce((sum, block, i) => (i === 0 ? block : Math.fround(sum + block)), 0);
const inDoubles = (blocks: [number, number][][]): number => blocks.flat().reduce((sum, [v, w]) => sum + v * w, 0);

const weightsOf = (c: Conv) => normal((c.O * c.C * volume(c.k)) / (c.groups ?? 1), 2);
const sourceOf = (c: Conv, sides: Sides) => normal(c.N * sides.c * (c.groups ?? 1) * volume(sides.source), 1);
const sizeOf = (c: Conv, sides: Sides) => c.N * sides.rows * (c.groups ?? 1) * volume(sides.result);

/** Exact bytes of this way: four tiles, the reach of each pixel, filters in pairs, and a group of samples. */
function workspaceOf(c: Conv, { rows, c: channels, source, result }: Sides): number {
  const wide = c.N > 4 ? 2 : 16;
  const filters = wide * Math.ceil(rows / wide) * channels * volume(c.k) * 4;
  const group = volume(source) * channels * (c.N > 8 ? 64 : c.N > 4 ? 32 : 4 * Math.min(c.N, 2));
  return 512 + 32 * volume(result) + Math.ceil(filters / 16) * 16 + group;
}

function kernel(c: Conv, sides: Sides, source: Float32Array, weight: Float32Array, bias?: Float32Array): Float32Array {
  const kind = sides.turned ? 1 : 0;
  const ws = kernels.convWorkspace!(kind, ...intsOf(c));
  expect(ws, 'samples are the lanes').toBe(workspaceOf(c, sides));
  const biases = sides.turned ? [] : [bias ? { in: bias } : -1];
  const name = sides.turned ? 'convInputGrad' : 'conv';
  const args = [...intsOf(c), { in: source }, { in: weight }, ...biases, f32(sizeOf(c, sides)), { ws }];
  return run(name, ...args)[0] as Float32Array;
}

const plane = (h: number, w: number): Triple => [1, h, w];
const same = plane(3, 3);
const around: Triple = [0, 1, 1];
// Whole groups, tails of both widths, one pixel, one tap, odd results, results that are no whole fours, groups of channels; strides with
// phases of unequal and of no taps; windows that reach nothing; dilation across rows; three axes; rows of taps that are more than a
// block of products, several a block with one left, whole blocks; dilation across slices; filters of more than the first cache.
const CASES: Conv[] = [
  { N: 8, C: 3, O: 6, size: plane(1, 1), k: same, p: around },
  { N: 19, C: 6, O: 8, size: plane(1, 2), k: plane(1, 1) },
  { N: 16, C: 5, O: 7, size: plane(2, 2), k: same, p: around },
  { N: 21, C: 4, O: 9, size: plane(4, 3), k: plane(5, 5), p: [0, 2, 2] },
  { N: 11, C: 8, O: 6, size: plane(3, 2), k: same, p: around, groups: 2 },
  { N: 41, C: 2, O: 3, size: plane(2, 5), k: plane(3, 4), p: [0, 2, 2], e: [0, 1, 2] },
  { N: 17, C: 3, O: 5, size: plane(5, 4), k: plane(5, 5), s: [1, 2, 2], p: [0, 2, 2] },
  { N: 8, C: 5, O: 4, size: plane(4, 5), k: plane(2, 5), s: [1, 3, 2], p: [0, 1, 3], e: [0, 1, 2] },
  { N: 18, C: 3, O: 4, size: plane(2, 3), k: same, p: [0, 4, 3] },
  { N: 15, C: 4, O: 6, size: plane(4, 3), k: same, p: [0, 2, 1], d: [1, 2, 1] },
  { N: 12, C: 3, O: 5, size: [2, 3, 2], k: [3, 3, 3], p: [1, 1, 1] },
  { N: 8, C: 4, O: 3, size: [3, 2, 3], k: [3, 2, 3], s: [2, 1, 2], p: [1, 1, 1], d: [1, 1, 1] },
  { N: 16, C: 40, O: 90, size: plane(3, 3), k: same, p: around },
  { N: 9, C: 600, O: 3, size: plane(1, 1), k: plane(1, 1) },
  { N: 5, C: 130, O: 20, size: plane(2, 2), k: same, p: around },
  { N: 8, C: 64, O: 64, size: plane(4, 1), k: plane(4, 1), p: [0, 2, 0], e: [0, 1, 0] },
  { N: 11, C: 3, O: 4, size: [4, 2, 2], k: [2, 2, 2], p: [1, 0, 0], d: [2, 1, 1] },
];
const FEW: Conv[] = [1, 2, 3, 4].flatMap((N) => CASES.map((c) => ({ ...c, N })));
// Of a single sample neighbours that the same taps reach share a tile: within eight pixels and beyond, at rows' ends, by a stride, where
// all are alike and where none are, in blocks of products.
const ALONE: Conv[] = [
  { N: 1, C: 3, O: 17, size: plane(3, 9), k: same, p: around },
  { N: 3, C: 6, O: 5, size: plane(2, 11), k: plane(3, 5), p: [0, 1, 2] },
  { N: 1, C: 6, O: 8, size: plane(1, 3), k: plane(1, 1) },
  { N: 1, C: 6, O: 16, size: plane(6, 14), k: plane(5, 5) },
  { N: 1, C: 4, O: 7, size: plane(4, 7), k: plane(5, 5), s: [1, 1, 2], p: [0, 2, 2] },
  { N: 1, C: 6, O: 8, size: plane(4, 9), k: plane(3, 3), s: [1, 2, 1], p: around },
  { N: 1, C: 3, O: 6, size: [2, 3, 6], k: [3, 3, 3], p: [1, 1, 1] },
  { N: 1, C: 90, O: 18, size: plane(2, 6), k: same, p: around },
];

describe.each([
  ['outputs', false],
  ['the input’s gradient', true],
] as const)('samples as lanes, %s', (_, turned) => {
  it.each([...CASES, ...FEW, ...ALONE])(
    'add taps that reach the image, row by row in blocks of 256 products: %j',
    (c) => {
      const sides = sidesOf(c, turned);
      const [source, weight] = [sourceOf(c, sides), weightsOf(c)];
      const actual = kernel(c, sides, source, weight);
      const out = new Float32Array(actual.length);
      expect([...actual]).toEqual([...results(c, sides, source, weight, out, inOrder)]);
      expectClose(actual, results(c, sides, source, weight, new Float64Array(actual.length), inDoubles), 1e-5, 2e-5);
      if (turned) return;
      const bias = normal(c.O, 4);
      const biased = out.map((v, i) => v + bias[Math.floor(i / volume(sides.result)) % c.O]!);
      expect([...kernel(c, sides, source, weight, bias)]).toEqual([...biased]);
    },
  );

  it.each([19, 3, 1])(
    'what is not finite shows where it is added: in its sample, and of a weight where its tap reaches: %i',
    (N) => {
      const c: Conv = { N, C: 3, O: 5, size: plane(2, 4), k: same, p: around };
      const sides = sidesOf(c, turned);
      const last = N > 17 ? 17 : N - 1;
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const [source, weight] = [sourceOf(c, sides), weightsOf(c)];
        source[(last * sides.c + 1) * 8 + 2] = bad;
        weight[(2 * c.C + 1) * 9] = bad;
        const expected = results(c, sides, source, weight, new Float32Array(sizeOf(c, sides)), inOrder);
        expect(expected.some(Number.isFinite)).toBe(true);
        expect([...kernel(c, sides, source, weight)]).toEqual([...expected]);
      }
    },
  );
});
