// Narrow rows and small planes go four rows, or two channels, at once: each has the bits that it has alone.
import { describe, expect, it } from 'vitest';
import { f32, i32, normal, random, run } from './harness.ts';

const SPECIAL = [Number.NaN, Infinity, -Infinity, -0, 0, 1e30];

/** Roughly normal values, special ones with probability `rate` where `at` allows them. */
function values(n: number, seed: number, rate = 0, at: (i: number) => boolean = () => true): Float32Array {
  const r = random(seed);
  const special = (i: number) => r() < rate && at(i);
  return normal(n, seed + 1).map((v, i) => (special(i) ? SPECIAL[Math.floor(r() * SPECIAL.length)]! : v));
}

/** About every second row of so many elements has a special value: in the others a wrong sum shows. */
const rare = (each: number) => 0.5 / each;

type Out = ReturnType<typeof run>;
/** As bits, but that one NaN is as good as another. */
const bitsOf = (a: ArrayLike<number>) => Array.from(a, (v) => (Object.is(v, -0) ? '-0' : String(v)));

interface Operand {
  /** Elements a row, or elements that all rows share. */
  readonly each?: number;
  readonly shared?: number;
  /** Special values: none, in any row, or in every third at most. */
  readonly special?: 'any' | 'thirds';
}

/** A NaN in the weights or the statistics, or in every row, would hide all that is computed of it. */
function draw({ each, shared, special }: Operand, rows: number, seed: number): Float32Array {
  if (each === undefined) return values(shared!, seed);
  if (special === 'any') return values(each * rows, seed, rare(each));
  if (special === 'thirds') return values(each * rows, seed, 3 * rare(each), (i) => Math.floor(i / each) % 3 === 1);
  return values(each * rows, seed);
}

/** A kernel on `rows` rows at once, and on each of them alone. */
function both(
  rows: number,
  operands: readonly Operand[],
  outputs: readonly number[],
  call: (rows: number, inputs: { in: Float32Array }[], outs: { out: Float32Array }[]) => Out,
) {
  const data = operands.map((operand, i) => draw(operand, rows, 7 * i + rows));
  const part = (from: number, to: number) =>
    call(
      to - from,
      operands.map(({ each }, i) => ({ in: each === undefined ? data[i]! : data[i]!.slice(from * each, to * each) })),
      outputs.map((each) => f32(each * (to - from))),
    );
  const alone = Array.from({ length: rows }, (_, row) => part(row, row + 1));
  return {
    together: part(0, rows).map(bitsOf),
    alone: outputs.map((_, o) => alone.flatMap((parts) => bitsOf(parts[o]!))),
  };
}

describe.each([1, 2, 3, 4, 5, 7, 8, 10, 11, 15, 16, 32, 48, 64, 256, 272])('seven rows of %i columns', (cols) => {
  const row = { each: cols, special: 'any' } as const;
  const third = { each: cols, special: 'thirds' } as const;
  const one = { each: 1 };
  const weights = { shared: cols };
  it.each(['reduceSum', 'reduceMax', 'reduceMin', 'reduceProd', 'reduceSumOfSquares', 'reduceLogSumExp'])(
    '%s',
    (name) => {
      const scale = name === 'reduceSum' ? [1 / 3] : [];
      const { together, alone } = both(7, [row], [1], (n, [x], [y]) => run(name, n, cols, 1, x!, y!, ...scale));
      expect(together).toEqual(alone);
    },
  );
  it.each(['argMax', 'argMin'])('%s, the first and the last of several', (name) => {
    const x = Float32Array.from(draw(row, 7, cols), (v) => Math.round(v));
    for (const last of [0, 1]) {
      const together = run(name, 7, cols, 1, last, { in: x }, i32(7))[0]!;
      const alone = Array.from({ length: 7 }, (_, i) => {
        const own = { in: x.slice(i * cols, (i + 1) * cols) };
        return run(name, 1, cols, 1, last, own, i32(1))[0]![0];
      });
      expect([...together]).toEqual(alone);
    }
  });
  it.each(['softmax', 'logSoftmax'])('%s', (name) => {
    const { together, alone } = both(7, [row], [cols], (n, [x], [y]) => run(name, n, cols, x!, y!));
    expect(together).toEqual(alone);
  });
  it.each(['softmax', 'logSoftmax'])('%s in place', (name) => {
    const x = values(7 * cols, 1, rare(cols));
    const [apart] = run(name, 7, cols, { in: x }, f32(7 * cols));
    expect(run(name, 7, cols, { inout: x }, { same: 2 })[0]).toEqual(apart);
  });
  it.each(['softmaxGrad', 'logSoftmaxGrad'])('%s', (name) => {
    const { together, alone } = both(7, [row, row], [cols], (n, [y, dy], [dx]) => run(name, n, cols, y!, dy!, dx!));
    expect(together).toEqual(alone);
  });
  it('layerNorm and its gradient', () => {
    const forward = both(7, [third, weights, weights], [cols, 1, 1], (n, inputs, outs) =>
      run('layerNorm', n, cols, ...inputs, ...outs, 1e-3),
    );
    expect(forward.together).toEqual(forward.alone);
    const back = both(7, [third, weights, one, one, third], [cols], (n, inputs, outs) =>
      run('layerNormInputGrad', n, cols, ...inputs, ...outs),
    );
    expect(back.together).toEqual(back.alone);
  });
});

it.each([1, 2, 3])('an infinite mean of one of four rows of %i columns is what it is alone', (cols) => {
  const mean = Float32Array.of(0.5, Infinity, -0.5, 0);
  const [x, dy] = [normal(4 * cols, 1), normal(4 * cols, 2)];
  const [gamma, rstd] = [normal(cols, 3), Float32Array.of(1, 2, 3, Infinity)];
  const part = (from: number, to: number) =>
    run(
      'layerNormInputGrad',
      ...[to - from, cols],
      { in: x.slice(from * cols, to * cols) },
      { in: gamma },
      { in: mean.slice(from, to) },
      { in: rstd.slice(from, to) },
      { in: dy.slice(from * cols, to * cols) },
      f32((to - from) * cols),
    )[0]!;
  expect(bitsOf(part(0, 4))).toEqual([0, 1, 2, 3].flatMap((row) => bitsOf(part(row, row + 1))));
});

describe.each([
  [1, 1],
  [1, 2],
  [1, 3],
  [1, 4],
  [1, 7],
  [1, 9],
  [3, 1],
  [3, 4],
  [5, 3],
  [20, 1],
  [9, 4],
])('groups of %i channels of %i places', (size, spatial) => {
  it('seven samples have the bits of each alone', () => {
    const groups = 3;
    const sample = { each: groups * size * spatial, special: 'thirds' } as const;
    const weights = { shared: groups * size };
    const rows = { each: groups };
    const forward = both(7, [sample, weights, weights], [sample.each, groups, groups], (n, inputs, outs) =>
      run('groupNorm', n, groups, size, spatial, ...inputs, ...outs, 1e-3),
    );
    expect(forward.together).toEqual(forward.alone);
    const back = both(7, [sample, weights, rows, rows, sample], [sample.each], (n, inputs, outs) =>
      run('groupNormInputGrad', n, groups, size, spatial, ...inputs, ...outs),
    );
    expect(back.together).toEqual(back.alone);
  });
});

describe.each([1, 2, 3, 4, 5, 7, 8, 9, 16, 64])('channels of %i places', (spatial) => {
  const samples = 5;
  const channels = 3;
  const all = samples * channels * spatial;
  /** One channel of [samples, channels, spatial]. */
  const channelOf = (data: ArrayLike<number>, c: number) =>
    Float32Array.from(
      { length: samples * spatial },
      (_, i) => data[(Math.floor(i / spatial) * channels + c) * spatial + (i % spatial)]!,
    );
  // Special values in one channel only: they would make all statistics of a channel NaN, and hide its sums.
  const special = (i: number) => Math.floor(i / spatial) % channels === 1;
  const [x, dy] = [values(all, 1, rare(spatial), special), values(all, 2, rare(spatial), special)];
  const [gamma, beta, mean] = [3, 4, 5].map((seed) => normal(channels, seed)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const variance = normal(channels, 6).map((v) => 0.5 + v * v);
  // The reference of small planes is a channel by itself: one of [samples, 1, spatial].
  const cases = {
    batchNorm: { inputs: [x, gamma, beta], outputs: [all, channels, channels] },
    batchNormInference: { inputs: [x, gamma, beta, mean, variance], outputs: [all] },
    batchNormInputGrad: { inputs: [x, gamma, mean, variance, dy], outputs: [all] },
    batchNormWeightGrad: { inputs: [x, mean, variance, dy], outputs: [channels, channels] },
  };
  it.each(Object.entries(cases))('%s', (name, { inputs, outputs }) => {
    const together = run(
      name,
      samples,
      channels,
      spatial,
      ...inputs.map((d) => ({ in: d })),
      ...outputs.map(f32),
      1e-3,
    );
    for (let c = 0; c < channels; c++) {
      const own = inputs.map((d) => ({ in: d.length === all ? channelOf(d, c) : d.slice(c, c + 1) }));
      const alone = run(name, samples, 1, spatial, ...own, ...outputs.map((n) => f32(n / channels)), 1e-3);
      const part = together.map((d) => (d.length === all ? channelOf(d, c) : d.slice(c, c + 1)));
      expect(part.map(bitsOf)).toEqual(alone.map(bitsOf));
    }
  });
  it('groupNormWeightGrad', () => {
    const [means, roots] = [normal(samples * channels, 7), normal(samples * channels, 8)];
    const together = run(
      'groupNormWeightGrad',
      ...[samples, channels, 1, spatial],
      ...[x, means, roots, dy].map((d) => ({ in: d })),
      ...[f32(channels), f32(channels)],
    );
    for (let c = 0; c < channels; c++) {
      const column = (d: Float32Array) => d.filter((_, i) => i % channels === c);
      const own = [channelOf(x, c), column(means), column(roots), channelOf(dy, c)].map((d) => ({ in: d }));
      const alone = run('groupNormWeightGrad', samples, 1, 1, spatial, ...own, f32(1), f32(1));
      expect(together.map((d) => bitsOf(d.slice(c, c + 1)))).toEqual(alone.map(bitsOf));
    }
  });
});

it('groupNormWeightGrad of one place: nine channels, four, two and one at a time, have the bits of each alone', () => {
  const samples = 5;
  for (const [g, s] of [
    [9, 1],
    [3, 3],
  ] as const) {
    const channels = g * s;
    const [x, dy] = [normal(samples * channels, 1), normal(samples * channels, 2)];
    const [means, roots] = [normal(samples * g, 3), normal(samples * g, 4)];
    x[2] = Number.NaN;
    dy[channels + 5] = Infinity;
    const column = (d: Float32Array, width: number, c: number) => ({ in: d.filter((_, i) => i % width === c) });
    const of = (n: number, k: number, inputs: { in: Float32Array }[]) =>
      run('groupNormWeightGrad', samples, n, k, 1, ...inputs, f32(n * k), f32(n * k));
    const together = of(
      g,
      s,
      [x, means, roots, dy].map((d) => ({ in: d })),
    );
    for (let c = 0; c < channels; c++) {
      const row = Math.floor(c / s);
      const own = [column(x, channels, c), column(means, g, row), column(roots, g, row), column(dy, channels, c)];
      expect(together.map((d) => bitsOf(d.slice(c, c + 1)))).toEqual(of(1, 1, own).map(bitsOf));
    }
  }
});
