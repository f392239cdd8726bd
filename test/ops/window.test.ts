// Functions built on the records of windows and resampling: transposed convolution, adaptive pooling, padding, resizing.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { GraphError } from '../../src/core/errors.ts';
import { uniform } from '../../src/core/random.ts';
import { elementCount, type Shape } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import * as ops from '../../src/ops/functions.ts';

/** A graph's inputs with values, and what is computed of them. */
function workbench() {
  const graph = new Graph();
  const feeds = new Map<Tensor, RefTensor>();
  const input = (shape: Shape, values?: readonly number[]): Tensor => {
    const name = `x${feeds.size}`;
    const tensor = graph.input(name, { shape, batchAxis: null });
    const drawn = uniform({ seed: 6, stream: name }, elementCount(shape)).map((u) => 2 * u - 1);
    feeds.set(tensor, { type: tensor.type, data: Float64Array.from(values ?? drawn) });
    return tensor;
  };
  const values = (tensor: Tensor): number[] => [...evaluate([tensor], feeds)[0]!.data];
  return { graph, input, values };
}

const counting = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

const near = (actual: readonly number[], expected: readonly number[]) => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((v, i) => {
    expect(v, `element ${i}`).toBeCloseTo(expected[i]!, 6);
  });
};

describe('transposed convolution', () => {
  it('spreads each element over its window: one axis by hand', () => {
    const { input, values } = workbench();
    const x = input([1, 1, 3], [1, 2, 3]);
    const w = input([1, 1, 3], [10, 20, 30]);
    const bias = input([1], [5]);
    // Taps 2 apart: 10 20 30 | . . 20 40 60 | . . . . 30 60 90
    const whole = [10, 20, 50, 40, 90, 60, 90];
    near(values(ops.convTranspose1d(x, w, undefined, { stride: 2 })), whole);
    near(
      values(ops.convTranspose1d(x, w, bias, { stride: 2 })),
      whole.map((v) => v + 5),
    );
    near(values(ops.convTranspose1d(x, w, undefined, { stride: 2, padding: 1 })), whole.slice(1, -1));
    // What padding cropped at the end comes back before zeros do.
    near(values(ops.convTranspose1d(x, w, undefined, { stride: 2, padding: 1, outputPadding: 1 })), whole.slice(1));
    near(values(ops.convTranspose1d(x, w, undefined, { stride: 2, outputPadding: 1 })), [...whole, 0]);
  });

  it('takes an output padding beyond the stride where the dilation is larger', () => {
    const { input, values } = workbench();
    const y = ops.convTranspose1d(input([1, 1, 2], [1, 2]), input([1, 1, 2], [3, 4]), input([1], [1]), {
      dilation: 3,
      outputPadding: 2,
    });
    near(values(y), [4, 7, 1, 5, 9, 1, 1]);
  });

  it.each([1, 2, 3])('is the adjoint of the convolution over %i axes, in groups', (rank) => {
    const { input, values } = workbench();
    const [conv, transposed] = [
      [ops.conv1d, ops.convTranspose1d],
      [ops.conv2d, ops.convTranspose2d],
      [ops.conv3d, ops.convTranspose3d],
    ][rank - 1]!;
    const options = { stride: 2, padding: [1, 0, 1].slice(0, rank), dilation: 2, groups: 2 };
    const image = input([2, 4, ...[8, 7, 9].slice(0, rank)]);
    const weight = input([6, 2, ...[3, 2, 2].slice(0, rank)]);
    const y = conv!(image, weight, undefined, options);
    const other = input(y.shape);
    const back = transposed!(other, weight, undefined, { ...options, outputPadding: [1, 0, 0].slice(0, rank) });
    const dot = (a: Tensor, b: Tensor) => {
      const [u, v] = [values(a), values(b)];
      return u.reduce((sum, value, i) => sum + value * v[i]!, 0);
    };
    // Sizes differ where the stride leaves rows over; there the adjoint is 0.
    const padded = ops.pad(
      back,
      Object.fromEntries(back.shape.map((d, axis) => [axis, [0, image.shape[axis]! - d] as const])),
    );
    expect(dot(y, other)).toBeCloseTo(dot(image, padded), 9);
  });

  it('refuses inputs of another rank by the axes it takes', () => {
    const { input } = workbench();
    expect(() => ops.convTranspose2d(input([1, 2, 5]), input([2, 1, 3, 3]))).toThrow('[N, C, H, W], got 3 axes');
    expect(() => ops.conv3d(input([1, 2, 5, 5]), input([2, 2, 3, 3, 3]))).toThrow('[N, C, D, H, W], got 4 axes');
    expect(() => ops.convTranspose1d(input([1, 2, 5]), input([2, 1, 3]), undefined, { padding: 5 })).toThrow(
      GraphError,
    );
  });
});

describe('pooling by output size', () => {
  /** PyTorch's windows: [⌊i·from / to⌋, ⌈(i + 1)·from / to⌉). */
  const cut = (from: number, to: number) =>
    Array.from({ length: to }, (_, i) => [Math.floor((i * from) / to), Math.ceil(((i + 1) * from) / to)] as const);

  it.each([
    [
      [6, 8],
      [3, 2],
    ],
    [
      [7, 7],
      [3, 3],
    ],
    [
      [5, 9],
      [3, 4],
    ],
    [
      [7, 6],
      [7, 4],
    ],
    [
      [4, 3],
      [1, 1],
    ],
    [
      [2, 3],
      [5, 4],
    ],
    [
      [1, 1],
      [3, 2],
    ],
    [
      [4, 1],
      [2, 3],
    ],
  ])('%j to %j is the mean and the maximum of each window', (from, to) => {
    const { input, values } = workbench();
    const x = input([2, 2, ...from]);
    const data = values(x);
    const expected = { mean: [] as number[], max: [] as number[] };
    for (let plane = 0; plane < 4; plane++) {
      for (const [top, bottom] of cut(from[0]!, to[0]!)) {
        for (const [left, right] of cut(from[1]!, to[1]!)) {
          const window: number[] = [];
          for (let r = top; r < bottom; r++)
            for (let c = left; c < right; c++) window.push(data[(plane * from[0]! + r) * from[1]! + c]!);
          expected.mean.push(window.reduce((a, b) => a + b) / window.length);
          expected.max.push(Math.max(...window));
        }
      }
    }
    near(values(ops.adaptiveAvgPool2d(x, to)), expected.mean);
    near(values(ops.adaptiveMaxPool2d(x, to)), expected.max);
  });

  it('the first of equal maxima has the gradient, also where windows are uneven', () => {
    const { input, values, graph } = workbench();
    const x = input([1, 1, 3, 3], new Array<number>(9).fill(2));
    const gradientOf = (y: Tensor) => {
      const ones = graph.constant({ type: y.type, data: new Float32Array(elementCount(y.shape)).fill(1) });
      return values(gradients([{ tensor: y, cotangent: ones }], [x])[0]!);
    };
    expect(gradientOf(ops.globalMaxPool(x))).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Windows [0, 2) and [1, 3) of both axes: each has its first corner.
    expect(gradientOf(ops.adaptiveMaxPool2d(x, 2))).toEqual([1, 1, 0, 1, 1, 0, 0, 0, 0]);
    const wide = input([1, 1, 4], [5, 5, 5, 5]);
    const y = ops.adaptiveMaxPool1d(wide, 3); // [0, 2), [1, 3), [2, 4)
    const two = graph.constant({ type: y.type, data: Float32Array.of(1, 2, 4) });
    expect(values(gradients([{ tensor: y, cotangent: two }], [wide])[0]!)).toEqual([1, 2, 4, 0]);
  });

  it('globally: over any number of axes', () => {
    const { input, values } = workbench();
    const x = input([1, 2, 1, 2, 2], counting(8));
    expect(ops.globalAvgPool(x).shape).toEqual([1, 2, 1, 1, 1]);
    near(values(ops.globalAvgPool(x)), [2.5, 6.5]);
    near(values(ops.globalMaxPool(x)), [4, 8]);
  });

  it('refuses sizes that it cannot make', () => {
    const { input } = workbench();
    expect(() => ops.adaptiveAvgPool2d(input([1, 2, 3]), 1)).toThrow('takes 2 spatial axes');
    expect(() => ops.adaptiveMaxPool1d(input([1, 2, 3]), 0)).toThrow('positive output sizes');
  });
});

describe('pad', () => {
  const rows = (mode: 'constant' | 'reflect' | 'edge' | 'wrap', before: number, after: number, n = 4) => {
    const { input, values } = workbench();
    return values(ops.pad(input([n], counting(n)), { 0: [before, after] }, { mode }));
  };

  it('repeats as NumPy does, also further than the axis is long', () => {
    expect(rows('edge', 2, 1)).toEqual([1, 1, 1, 2, 3, 4, 4]);
    expect(rows('reflect', 2, 3)).toEqual([3, 2, 1, 2, 3, 4, 3, 2, 1]);
    expect(rows('reflect', 5, 0, 3)).toEqual([2, 1, 2, 3, 2, 1, 2, 3]);
    expect(rows('reflect', 1, 2, 1)).toEqual([1, 1, 1, 1]);
    expect(rows('wrap', 5, 2, 3)).toEqual([2, 3, 1, 2, 3, 1, 2, 3, 1, 2]);
    expect(rows('constant', 1, 0)).toEqual([0, 1, 2, 3, 4]);
  });

  it('crops by negative amounts, first', () => {
    expect(rows('constant', -1, 2)).toEqual([2, 3, 4, 0, 0]);
    expect(rows('edge', 2, -2)).toEqual([1, 1, 1, 2]);
    expect(() => rows('constant', -2, -2)).toThrow('is empty');
    expect(() => rows('constant', 0, -9)).toThrow('is empty');
  });

  it('keeps any value, negative axes, other dtypes', () => {
    const { graph, input, values } = workbench();
    const x = input([1, 2], [1, 2]);
    expect(values(ops.pad(x, { [-1]: [1, 1] }, { value: -Infinity }))).toEqual([-Infinity, 1, 2, -Infinity]);
    expect(values(ops.pad(x, { 1: [0, 1] }, { value: Number.NaN }))[2]).toBeNaN();
    const whole = graph.constant({ type: { dtype: 'i32', shape: [3] }, data: Int32Array.of(1, 2, 3) });
    expect(values(ops.pad(whole, { 0: [1, 1] }, { mode: 'reflect' }))).toEqual([2, 1, 2, 3, 2]);
    expect(() => ops.pad(x, { 2: [1, 1] })).toThrow('axis 2 is out of range for rank 2');
    expect(() => ops.pad(whole, { 0: [1, 1] }, { value: 0.5 })).toThrow('not of dtype i32');
  });
});

describe('resize', () => {
  it('keeps an axis of scale 1 as it is: no node is made', () => {
    const { input } = workbench();
    const x = input([2, 3, 4]);
    expect(ops.resize(x, { scales: [1, 1, 1], mode: 'cubic' })).toBe(x);
  });

  it('sees positions as exact: a third of nine is three, whatever f32 makes of a third', () => {
    const { input, values } = workbench();
    const x = input([9], counting(9));
    const options = { nearestMode: 'floor', coordinateTransformation: 'halfPixel' } as const;
    expect(values(ops.resize(x, { ...options, scales: [Math.fround(1 / 3)] }))).toEqual([2, 5, 8]);
    expect(values(ops.resize(x, { ...options, sizes: [3] }))).toEqual([2, 5, 8]);
  });

  it('linear and aligned corners by hand', () => {
    const { input, values } = workbench();
    const x = input([2, 2], [1, 2, 3, 4]);
    const up = { sizes: [4, 4], mode: 'linear' } as const;
    near(values(ops.resize(x, up)).slice(0, 4), [1, 1.25, 1.75, 2]);
    near(values(ops.resize(x, { ...up, coordinateTransformation: 'alignCorners' })).slice(4, 8), [
      5 / 3,
      2,
      7 / 3,
      8 / 3,
    ]);
  });

  it('refuses what does not fit together', () => {
    const { input } = workbench();
    const x = input([2, 3]);
    expect(() => ops.resize(x, { scales: [1, 2], sizes: [2, 6] })).toThrow('either scales or sizes');
    expect(() => ops.resize(x, { scales: [2] })).toThrow('1 numbers for 2 axes');
    expect(() => ops.resize(x, { sizes: [2, 0.5] })).toThrow('must be integers');
    expect(() => ops.resize(x, { scales: [1, -1] })).toThrow('must be positive');
    expect(() => ops.resize(x, { scales: [0.1], axes: [1] })).toThrow('nothing is left of axis 1');
    expect(() => ops.resize(x, { scales: [2], axes: [2] })).toThrow('must be different axes of rank 2');
  });
});

it('pixel shuffles undo each other, in both orders', () => {
  const { input, values } = workbench();
  const x = input([2, 8, 2, 3], counting(96));
  for (const order of ['DCR', 'CRD'] as const) {
    const y = ops.depthToSpace(x, { blockSize: 2, order });
    expect(y.shape).toEqual([2, 2, 4, 6]);
    expect(values(ops.spaceToDepth(y, { blockSize: 2, order }))).toEqual(counting(96));
  }
  // PyTorch's order: the four channels of one output channel are its 2 × 2 blocks.
  expect(values(ops.pixelShuffle(input([1, 4, 1, 1], [1, 2, 3, 4]), 2))).toEqual([1, 2, 3, 4]);
  expect(values(ops.pixelShuffle(x, 2)).slice(0, 6)).toEqual([1, 7, 2, 8, 3, 9]);
  expect(values(ops.pixelUnshuffle(ops.pixelShuffle(x, 2), 2))).toEqual(counting(96));
  expect(() => ops.pixelShuffle(x, 3)).toThrow('divides into blocks');
});

describe('a chunk of one sample builds the same nodes as a larger one, derivatives included', () => {
  const weight = (x: Tensor, ...shape: number[]) => x.graph.parameter(`w${shape}`, shape, { kind: 'zeros' });
  const builds: Readonly<Record<string, (x: Tensor) => Tensor>> = {
    conv2d: (x) => ops.conv2d(x, weight(x, 2, 3, 3, 3), weight(x, 2)),
    convTranspose2d: (x) =>
      ops.convTranspose2d(x, weight(x, 3, 2, 3, 3), weight(x, 2), { stride: 2, outputPadding: 1 }),
    adaptiveAvgPool2d: (x) => ops.adaptiveAvgPool2d(x, [2, 3]),
    adaptiveMaxPool2d: (x) => ops.adaptiveMaxPool2d(x, [2, 3]),
    globalAvgPool: ops.globalAvgPool,
    pad: (x) => ops.pad(x, { 2: [1, 1], 3: [2, 0] }, { mode: 'reflect' }),
    'pad by a value': (x) => ops.pad(x, { 2: [1, 1] }, { value: 2 }),
    resize: (x) => ops.resize(x, { scales: [1, 1, 2, 0.5], mode: 'cubic' }),
    pixelUnshuffle: (x) => ops.pixelUnshuffle(ops.pad(x, { 2: [0, 1] }), 2),
  };
  it.each(Object.entries(builds))('%s', (_, build) => {
    const [one, three] = [1, 3].map((batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 3, 5, 4] });
      const y = build(x);
      const cotangent = graph.input('dy', { shape: y.shape });
      const leaves = [x, ...graph.parameters];
      const first = gradients([{ tensor: y, cotangent }], leaves);
      const again = first.flatMap((g, i) =>
        g ? [{ tensor: g, cotangent: graph.input(`v${i}`, { shape: g.shape, batchAxis: null }) }] : [],
      );
      gradients(again, [...leaves, cotangent]);
      return graph.nodes.map((n) => n.op?.name ?? n.source!.kind);
    });
    expect(one).toEqual(three);
  });
});
