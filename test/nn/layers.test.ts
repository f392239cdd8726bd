import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { GraphError } from '../../src/core/errors.ts';
import { Graph } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { softmax } from '../../src/ops/softmax.ts';
import { fillParameters, generator, valuesOf, withInput } from './helpers.ts';

const next = generator(7);
const draw = (n: number): number[] => Array.from({ length: n }, next);
const parametersOf = (graph: Graph) => Object.fromEntries(graph.parameters.map((t) => [t.name, [...t.shape]]));

describe('linear', () => {
  it('is x·weightᵀ + bias over the last axis', () => {
    const { graph, x } = withInput(2, 2, 3);
    const y = nn.linear(x, 2, { name: 'fc' });
    expect(parametersOf(graph)).toEqual({ 'fc.weight': [2, 3], 'fc.bias': [2] });
    const [weight, bias] = graph.parameters.map((t) => t);
    const values = new Map([
      [weight!, { type: weight!.type, data: Float64Array.of(1, 2, 3, 4, 5, 6) }],
      [bias!, { type: bias!.type, data: Float64Array.of(10, 20) }],
    ]);
    const [got] = valuesOf([y], { x: [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1] }, values);
    expect(y.shape).toEqual([2, 2, 2]);
    expect([...got!]).toEqual([11, 24, 12, 25, 13, 26, 16, 35]);
  });

  it('draws first values as PyTorch: U(−1/√in, 1/√in) for weight and bias', () => {
    const { graph, x } = withInput(1, 16);
    nn.linear(x, 3, { name: 'fc' });
    for (const t of graph.parameters) {
      const init = t.node.source!.init as { kind: string; low: number; high: number };
      expect(init.kind).toBe('uniform');
      expect(init.low).toBeCloseTo(-0.25, 15);
      expect(init.high).toBeCloseTo(0.25, 15);
    }
  });

  it('the same name twice is an error that says what to do', () => {
    const { x } = withInput(1, 4);
    nn.linear(x, 3, { name: 'fc' });
    expect(() => nn.linear(x, 3, { name: 'fc' })).toThrow(GraphError);
    expect(() => nn.linear(x, 3, { name: 'fc' })).toThrow('parameter fc.weight exists already');
  });
});

it('conv2d makes weight [out, in / groups, kh, kw] and says which channels do not fit', () => {
  const { graph, x } = withInput(2, 4, 6, 6);
  const y = nn.conv2d(x, 8, { kernel: [3, 2], groups: 2, padding: [1, 0], name: 'c' });
  expect(parametersOf(graph)).toEqual({ 'c.weight': [8, 2, 3, 2], 'c.bias': [8] });
  expect(y.shape).toEqual([2, 8, 6, 5]);
  expect(() => nn.conv2d(x, 3, { kernel: 3, groups: 2, name: 'd' })).toThrow(
    '3 output channels are not divisible by 2 groups',
  );
});

it('convolutions and transposed ones over one and three axes make weights of PyTorch’s shapes', () => {
  const { graph, x } = withInput(2, 4, 7);
  expect(nn.conv1d(x, 6, { kernel: 3, stride: 2, groups: 2, name: 'a' }).shape).toEqual([2, 6, 3]);
  expect(nn.convTranspose1d(x, 6, { kernel: 3, stride: 2, groups: 2, outputPadding: 1, name: 'b' }).shape).toEqual([
    2, 6, 16,
  ]);
  const { graph: other, x: volume } = withInput(1, 2, 3, 4, 5);
  expect(nn.conv3d(volume, 3, { kernel: [1, 2, 3], padding: 1, name: 'c' }).shape).toEqual([1, 3, 5, 5, 5]);
  expect(nn.convTranspose3d(volume, 3, { kernel: [1, 2, 3], bias: false, name: 'd' }).shape).toEqual([1, 3, 3, 5, 7]);
  expect(parametersOf(graph)).toEqual({
    'a.weight': [6, 2, 3],
    'a.bias': [6],
    'b.weight': [4, 3, 3],
    'b.bias': [6],
  });
  expect(parametersOf(other)).toEqual({ 'c.weight': [3, 2, 1, 2, 3], 'c.bias': [3], 'd.weight': [2, 3, 1, 2, 3] });
});

it('sequential names layers by position or key, residual adds', () => {
  const { graph, x } = withInput(2, 4);
  const block = nn.sequential([(h) => nn.linear(h, 5), nn.tanh, (h) => nn.linear(h, 4)], { name: 'body' });
  const y = nn.residual(block)(x);
  nn.sequential({ head: (h) => nn.linear(h, 3, { bias: false }) })(y);
  expect(Object.keys(parametersOf(graph))).toEqual([
    'body.0.weight',
    'body.0.bias',
    'body.2.weight',
    'body.2.bias',
    'head.weight',
  ]);
  const zero = new Map(
    graph.parameters.map((t) => [t, { type: t.type, data: new Float64Array(t.type.shape.reduce((n, d) => n * d, 1)) }]),
  );
  expect([...valuesOf([y], { x: [1, 2, 3, 4, 5, 6, 7, 8] }, zero)[0]!]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

describe('residual', () => {
  it('takes a projection where the layer changes the shape, and says so where there is none', () => {
    const { graph, x } = withInput(2, 4);
    const wide: nn.Layer = (h) => nn.linear(h, 6);
    const y = nn.residual(wide, {
      name: 'block',
      shortcut: (h) => nn.linear(h, 6, { bias: false, name: 'projection' }),
    })(x);
    expect(y.shape).toEqual([2, 6]);
    expect(Object.keys(parametersOf(graph))).toEqual(['block.weight', 'block.bias', 'block.projection.weight']);
    expect(() => nn.residual(wide)(x)).toThrow('the layer gives f32[2, 6] and x is f32[2, 4]');
    // Broadcasting would add these.
    expect(() => nn.residual((h) => nn.linear(h, 1), { name: 'one' })(x)).toThrow('the layer gives f32[2, 1]');
  });
});

it('says what a layer cannot do', () => {
  const graph = new Graph();
  const x = graph.input('x', { shape: [2, 4, 5, 5] });
  const tokens = graph.input('tokens', { shape: [2, 3], dtype: 'i32' });
  const wrong: [() => unknown, string][] = [
    [() => nn.conv2d(x, 4, { kernel: 3, groups: 3 }), '4 input channels are not divisible by 3 groups'],
    [() => nn.convTranspose2d(x, 5, { kernel: 3, groups: 2 }), '5 output channels are not divisible by 2 groups'],
    [() => nn.conv2d(x, 4, { kernel: 3, padding: 'same', stride: 2 }), 'padding "same" is for stride 1'],
    [() => nn.conv2d(x, 4, { kernel: 3, padding: 'full' as 'same' }), 'padding must be numbers, "same" or "valid"'],
    [() => nn.conv2d(x, 4, { kernel: 3, padding: 5, paddingMode: 'reflect' }), 'at most 4 elements for an axis of 5'],
    [() => nn.conv2d(x, 4, { kernel: 3, padding: 6, paddingMode: 'circular' }), 'at most 5 elements for an axis of 5'],
    [() => nn.conv2d(x, 4, { kernel: 3, paddingMode: 'mirror' as 'reflect' }), 'paddingMode must be zeros, reflect'],
    [() => nn.convTranspose2d(x, 4, { kernel: 3, paddingMode: 'reflect' as 'zeros' }), 'paddingMode must be zeros'],
    [() => nn.conv2d(x, 4, { kernel: {} as number }), 'kernel must be a number or a list of numbers, got an object'],
    [() => nn.conv2d(x, 4, { kernel: null as unknown as number }), 'kernel must be a number or a list of numbers'],
    [() => nn.conv2d(x, 4, { kernel: 3, stride: '2' as unknown as number }), 'stride must be a number or a list'],
    [() => nn.conv2d(x, 4, { kernel: 3, padding: {} as number }), 'padding must be a number or a list of numbers'],
    [() => nn.conv2d(x, 4, { kernel: 3, dilation: null as unknown as number }), 'dilation must be a number or a list'],
    [() => nn.convTranspose2d(x, 4, { kernel: 3, padding: '1' as unknown as number }), 'padding must be a number'],
    [() => nn.convTranspose2d(x, 4, { kernel: 3, outputPadding: {} as number }), 'outputPadding must be a number'],
    [() => nn.batchNorm1d(x), 'takes [N, C] or [N, C, L]'],
    [() => nn.batchNorm2d(x, { momentum: 2 }), 'momentum must lie between 0 and 1, got 2'],
    [() => nn.batchNorm2d(x, { momentum: null as unknown as number }), 'momentum must lie between 0 and 1, got null'],
    [() => nn.groupNorm(x, 3), '4 channels do not make 3 groups'],
    [() => nn.instanceNorm1d(x), 'takes [N, C, L]'],
    [() => nn.instanceNorm2d(nn.globalAvgPool(x)), 'a channel of one value has no variance'],
    [() => nn.layerNorm(x, { normalizedShape: [4, 5] }), 'normalizedShape [4, 5] is not that of the last axes'],
    [() => nn.embedding(tokens, { rows: 4, dim: 2, paddingIdx: 4 }), 'paddingIdx 4 is no row of a table of 4'],
    [() => nn.upsample(x, { scaleFactor: 2, mode: 'linear' }), 'mode linear is for 1 spatial axis, x has 2'],
    [() => nn.upsample(x, { scaleFactor: 2, size: 3 }), 'takes one of size and scaleFactor'],
    [() => nn.upsample(x, { size: 3, alignCorners: true }), 'mode nearest has no corners to align'],
    [() => nn.upsample(x, { size: 3, mode: 'cubic' as 'bicubic' }), 'mode must be one of nearest'],
    [() => nn.prelu(x, { numParameters: 3 }), 'numParameters must be 1 or the 4 channels, got 3'],
    [() => nn.glu(x), 'axis -1 has 5 entries, which do not make two halves'],
    [() => nn.hardtanh(x, { minVal: 1, maxVal: 1 }), 'minVal 1 must be less than maxVal 1'],
    [() => nn.gelu(x, { approximate: 'erf' as 'none' }), 'approximate must be "none" or "tanh"'],
  ];
  for (const [make, message] of wrong) {
    expect(make).toThrow(GraphError);
    expect(make).toThrow(message);
  }
  // Every message names the user's own line.
  expect(() => nn.groupNorm(x, 3)).toThrow(/layers\.test\.ts:\d+/);
});

it.each([false, true])('upsample by the ratio of two sizes gives that size: corners aligned %s', (alignCorners) => {
  // 100 · 0.29 is 28.999… in floating point.
  const x = new Graph().input('x', { shape: [1, 1, 100, 100] });
  expect(nn.upsample(x, { scaleFactor: 0.29, mode: 'bilinear', alignCorners }).shape).toEqual([1, 1, 29, 29]);
  expect(nn.upsample(x, { scaleFactor: 0.287, mode: 'bilinear', alignCorners }).shape).toEqual([1, 1, 28, 28]);
});

it('a shared embedding keeps its padding row from a gradient, and reads whatever it holds', () => {
  const graph = new Graph();
  const tokens = graph.input('x', { dtype: 'i32', shape: [1, 3] });
  const weight = nn.embeddingWeight(graph, { rows: 3, dim: 2, name: 'tokens', paddingIdx: 1 });
  const y = nn.embedding(tokens, { weight, paddingIdx: 1 });
  const [dw] = gradients([{ tensor: y, cotangent: y }], [weight]);
  const table = new Map([[weight, { type: weight.type, data: Float64Array.of(1, 2, 3, 4, 5, 6) }]]);
  expect(valuesOf([y, dw!], { x: [1, 0, 1] }, table).map((v) => [...v])).toEqual([
    [3, 4, 1, 2, 3, 4],
    [1, 2, 0, 0, 0, 0],
  ]);
});

it('an embedding shares its weight with a linear layer', () => {
  const graph = new Graph();
  const tokens = graph.input('x', { dtype: 'i32', shape: [1, 3] });
  const weight = nn.embeddingWeight(graph, { rows: 4, dim: 2, name: 'tokens' });
  const y = nn.linear(nn.embedding(tokens, { weight }), 4, { weight, bias: false });
  expect(parametersOf(graph)).toEqual({ 'tokens.weight': [4, 2] });
  const table = new Map([[weight, { type: weight.type, data: Float64Array.of(1, 0, 0, 1, 1, 1, 2, 3) }]]);
  expect([...valuesOf([y], { x: [3, 0, 2] }, table)[0]!]).toEqual([2, 3, 5, 13, 1, 0, 1, 2, 1, 1, 2, 5]);
});

describe('multiheadAttention', () => {
  /** Head by head and position by position, straight from the paper's formula. */
  function byHand(
    x: number[],
    n: number,
    t: number,
    d: number,
    heads: number,
    causal: boolean,
    p: Record<string, Float64Array>,
  ) {
    const size = d / heads;
    const project = (sample: number, position: number, row: number): number => {
      let sum = p.in_proj_bias![row]!;
      for (let i = 0; i < d; i++) sum += p.in_proj_weight![row * d + i]! * x[(sample * t + position) * d + i]!;
      return sum;
    };
    const out: number[] = [];
    for (let s = 0; s < n; s++) {
      for (let a = 0; a < t; a++) {
        const mixed = new Array<number>(d).fill(0);
        for (let h = 0; h < heads; h++) {
          const score = Array.from({ length: causal ? a + 1 : t }, (_, b) => {
            let dot = 0;
            for (let i = 0; i < size; i++) dot += project(s, a, h * size + i) * project(s, b, d + h * size + i);
            return Math.exp(dot / Math.sqrt(size));
          });
          const total = score.reduce((q, v) => q + v, 0);
          score.forEach((v, b) => {
            for (let i = 0; i < size; i++) mixed[h * size + i]! += (v / total) * project(s, b, 2 * d + h * size + i);
          });
        }
        for (let o = 0; o < d; o++) {
          out.push(mixed.reduce((q, v, i) => q + v * p['out_proj.weight']![o * d + i]!, p['out_proj.bias']![o]!));
        }
      }
    }
    return out;
  }

  it.each([false, true])('follows the formula, causal %s', (causal) => {
    const { graph, x } = withInput(2, 3, 4);
    const y = nn.multiheadAttention(x, { heads: 2, causal });
    const parameters = fillParameters(graph, 5);
    const values = draw(24);
    const named = Object.fromEntries([...parameters].map(([t, v]) => [t.name, v.data]));
    const [got] = valuesOf([y], { x: values }, parameters);
    byHand(values, 2, 3, 4, 2, causal, named).forEach((v, i) => {
      expect(got![i]).toBeCloseTo(v, 7); // 1/√size is an f32 constant
    });
  });

  it('refuses a width that the heads do not divide', () => {
    const { x } = withInput(1, 3, 5);
    expect(() => nn.multiheadAttention(x, { heads: 2 })).toThrow('divisible by 2 heads');
  });
});

it('softmax works along any axis', () => {
  const { x } = withInput(2, 3, 4);
  const values = draw(24);
  for (const axis of [0, 1, 2, -2]) {
    const [y] = valuesOf([softmax(x, { axis })], { x: values });
    const at = axis < 0 ? axis + 3 : axis;
    const step = [12, 4, 1][at]!;
    const size = [2, 3, 4][at]!;
    values.forEach((v, i) => {
      const start = i - (Math.floor(i / step) % size) * step;
      const total = Array.from({ length: size }, (_, k) => Math.exp(values[start + k * step]!)).reduce(
        (s, e) => s + e,
        0,
      );
      expect(y![i]).toBeCloseTo(Math.exp(v) / total, 12);
    });
  }
});

it('avgPool2d counts the padding behind the input where there is more than before it', () => {
  const { x } = withInput(1, 1, 3, 3);
  const y = nn.avgPool2d(x, { kernel: 2, padding: [0, 0, 1, 1] });
  expect([...valuesOf([y], { x: [4, 8, 12, 16, 20, 24, 28, 32, 36] })[0]!]).toEqual([12, 9, 15, 9]);
});
