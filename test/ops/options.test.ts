import { describe, expect, it } from 'vitest';
import { GraphError, PartitaError } from '../../src/core/errors.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as functions from '../../src/ops/functions.ts';
import { ops } from '../../src/ops/public.ts';

const graph = new Graph();
const input = (name: string, ...shape: number[]): Tensor => graph.input(name, { shape });
const [x, v, signal, image, volume] = [
  input('x', 2, 4),
  input('v', 4),
  input('signal', 2, 4, 5),
  input('image', 2, 4, 5, 5),
  input('volume', 2, 4, 5, 5, 5),
];
const places = graph.input('places', { shape: [2], dtype: 'i32' });
const grid = graph.input('grid', { shape: [2, 4], dtype: 'i32' });
const rows = graph.input('rows', { shape: [2, 1], dtype: 'i32' });
const sequence = input('sequence', 3, 2, 4);
const weights = (gates: number) => ({
  weightIh: input(`ih${gates}`, gates * 4, 4),
  weightHh: input(`hh${gates}`, gates * 4, 4),
});
const kernel = (rank: number, from = 4) => input(`kernel${rank}`, from, 4, ...new Array<number>(rank).fill(2));
const kernels = [kernel(1), kernel(2), kernel(3)] as const;

type Arguments = readonly unknown[];
const reduce: Arguments = [x, { axes: 1, keepDims: true }];
const arg: Arguments = [x, { axis: 0, keepDims: true, selectLastIndex: true }];
const conv = { stride: 1, padding: 1, dilation: 1, groups: 1 };
const convTranspose = { ...conv, outputPadding: 0 };
const pool = { kernel: 2, stride: 1, padding: 0, dilation: 1, ceilMode: true };
const avgPool = { ...pool, countIncludePad: false };
const classLoss = { weight: v, ignoreIndex: 1, reduction: 'sum' };
const run = { reverse: true, h0: x, lengths: [1, 2], clip: 3 };

/** Every function with options, with all of those that go together. */
const calls: Readonly<Record<string, Arguments>> = {
  argMax: arg,
  argMin: arg,
  avgPool1d: [signal, avgPool],
  avgPool2d: [image, avgPool],
  avgPool3d: [volume, avgPool],
  batchNorm: [image, v, undefined, { eps: 1e-3 }],
  batchNormInference: [image, v, v, undefined, v, { eps: 1e-3 }],
  celu: [x, { alpha: 2 }],
  clip: [x, { low: 0, high: 1 }],
  concat: [[x, x], { axis: 1 }],
  conv1d: [signal, kernels[0], undefined, conv],
  conv2d: [image, kernels[1], v, conv],
  conv3d: [volume, kernels[2], v, conv],
  convTranspose1d: [signal, kernels[0], v, convTranspose],
  convTranspose2d: [image, kernels[1], undefined, convTranspose],
  convTranspose3d: [volume, kernels[2], v, convTranspose],
  crossEntropyLoss: [x, places, classLoss],
  cumSum: [x, { axis: 0, exclusive: true, reverse: true }],
  depthToSpace: [image, { blockSize: 2, order: 'CRD' }],
  dropout: [x, { ratio: 0.1, axis: 0, samples: 2, name: 'drop' }],
  elu: [x, { alpha: 1, scale: 2, inputScale: 3 }],
  flatten: [image, { startAxis: 1, endAxis: 2 }],
  flip: [x, { axes: 1 }],
  gather: [x, places, { axis: 1 }],
  gatherElements: [x, grid, { axis: 1 }],
  gatherND: [x, rows, { batchDims: 1 }],
  groupNorm: [image, 2, undefined, undefined, { eps: 1e-3 }],
  gru: [
    sequence,
    weights(3),
    { ...run, gates: 'zrh', reset: 'before', activations: { f: 'relu', g: { kind: 'tanh' } } },
  ],
  hardSigmoid: [x, { alpha: 1, beta: 0 }],
  instanceNorm: [image, v, v, { eps: 1e-3 }],
  isInf: [x, { positive: true, negative: false }],
  layerNorm: [x, v, v, { axes: 1, eps: 1e-3 }],
  leakyRelu: [x, { slope: 0.1 }],
  logSoftmax: [x, { axis: 0 }],
  logSumExp: reduce,
  lstm: [sequence, weights(4), { ...run, c0: x, gates: 'ifgo', activations: { h: 'relu' }, coupled: true }],
  matmul: [x, x, { transA: false, transB: true }],
  max: reduce,
  maxPool1d: [signal, pool],
  maxPool2d: [image, pool],
  maxPool3d: [volume, pool],
  mean: reduce,
  min: reduce,
  nllLoss: [x, places, classLoss],
  oneHot: [places, { depth: 3, axis: 0 }],
  oneHotMask: [places, { depth: 3, axis: 0 }],
  pad: [x, { [-1]: [1, 2] }, { mode: 'constant', value: 1 }],
  prod: reduce,
  resample: [x, rows, input('taps', 2, 1), { axis: 0 }],
  resize: [image, { scales: [2, 2], axes: [2, 3], mode: 'linear', antialias: false }],
  rnn: [sequence, weights(1), { ...run, activation: { kind: 'leakyRelu', alpha: 0.1 } }],
  scaledDotProductAttention: [
    signal,
    signal,
    signal,
    { causal: true, attnMask: input('pairs', 4, 4), scale: 1, layout: 'NHTD', dropout: { ratio: 0.1 } },
  ],
  scatterAdd: [places, x, { size: 4, axis: 0 }],
  scatterElements: [x, grid, x, { axis: 1, reduction: 'add' }],
  scatterND: [x, rows, x, { reduction: 'add' }],
  slice: [x, { 0: [0, 1] }],
  softmax: [x, { axis: 0 }],
  spaceToDepth: [input('even', 2, 4, 4, 4), { blockSize: 2, order: 'CRD' }],
  squeeze: [rows, { axes: 1 }],
  sum: reduce,
  sumOfSquares: reduce,
  thresholdedRelu: [x, { alpha: 2 }],
  topK: [x, { k: 2, axis: 1, largest: false }],
  trilu: [x, { upper: false, k: 1 }],
  unsqueeze: [x, { axes: 0 }],
  vectorNorm: [x, { ord: 1, axes: 1, keepDims: true }],
};

const call = (op: string, args: Arguments): unknown =>
  (ops as unknown as Readonly<Record<string, (...args: Arguments) => unknown>>)[op]!(...args);

const isRecord = (arg: unknown): arg is Readonly<Record<string, unknown>> =>
  typeof arg === 'object' && arg !== null && Object.getPrototypeOf(arg) === Object.prototype;

const refusal = (op: string, ...args: unknown[]): GraphError => {
  try {
    call(op, args);
  } catch (error) {
    expect(error).toBeInstanceOf(GraphError);
    return error as GraphError;
  }
  throw new Error(`${op} took what it should refuse`);
};

describe('options of ops', () => {
  it.each(Object.entries(calls))('%s takes its own and no other', (op, args) => {
    call(op, args);
    const options = args.at(-1) as object;
    const before = graph.nodes.length;
    const error = refusal(op, ...args.slice(0, -1), { ...options, colour: 1 });
    expect(error.code).toBe('op-options');
    expect(error.fields).toMatchObject({ op, unknown: ['colour'], missing: [] });
    expect(error.message).toMatch(new RegExp(`^${op}\\(.*colour`));
    expect(graph.nodes.length).toBe(before);
  });

  it('a record is refused by every function that is not in this list', () => {
    const others = Object.keys(functions).filter((op) => !Object.hasOwn(calls, op));
    for (const op of others) expect(refusal(op, x, { axis: 1 }).code, op).toBe('op-options');
  });

  it('are named, with the nearest, all there are and the caller’s line', () => {
    const error = refusal('sum', x, { axis: 1 });
    expect(error.message).toContain('sum(f32[2, 4]): unknown option axis, did you mean "axes"?');
    expect(error.message).toContain('options.test.ts');
    expect(error.remedy).toBe('options: axes, keepDims');
  });

  it('are demanded where there is no default', () => {
    expect(refusal('topK', x, {}).fields).toMatchObject({ missing: ['k'] });
    expect(refusal('maxPool2d', image).message).toContain('options must be an object, got nothing');
    expect(refusal('lstm', sequence, { weightIh: x }).fields).toMatchObject({ missing: ['weightHh'] });
    expect(refusal('slice', x).message).toContain('argument 2 must be an object by axis, got nothing');
  });

  it('must be a record', () => {
    expect(refusal('softmax', x, 1).message).toContain('options must be an object, got 1');
    expect(refusal('softmax', x, null).message).toContain('options must be an object, got null');
    expect(ops.softmax(x, undefined).shape).toEqual([2, 4]);
  });

  it('stand at their place', () => {
    const error = refusal('conv2d', image, kernels[1], { padding: 1 });
    expect(error.message).toContain('argument 3 is an object with padding; options are argument 4');
    expect(refusal('gelu', x, { approximate: 'tanh' }).message).toContain('approximate, and gelu has no options');
  });

  it('are looked at within records of records', () => {
    const attention = refusal('scaledDotProductAttention', signal, signal, signal, { dropout: { p: 0.1 } });
    expect(attention.fields).toMatchObject({ where: 'dropout', unknown: ['p'] });
    const own = weights(1);
    expect(refusal('rnn', sequence, own, { activation: 'rellu' }).message).toContain('did you mean "relu"?');
    const lstm = refusal('lstm', sequence, weights(4), { activations: { f: { kind: 'elu', alfa: 2 } } });
    expect(lstm.fields).toMatchObject({ where: 'activations.f', unknown: ['alfa'] });
    expect(refusal('gru', sequence, weights(3), { activations: { h: 'tanh' } }).fields).toMatchObject({
      unknown: ['h'],
    });
  });

  it('of cells are words that they know, in the fused scan and step by step', () => {
    for (const clip of [undefined, 1]) {
      const own = weights(3);
      expect(refusal('gru', sequence, own, { clip, gates: 'zrn' }).message).toContain(
        'gates must be zrh or rzn, got zrn',
      );
      expect(refusal('gru', sequence, own, { clip, reset: 'never' }).message).toContain(
        'reset must be after or before',
      );
      expect(refusal('lstm', sequence, weights(4), { clip, gates: 'iofg' }).message).toContain('iofc or ifgo');
    }
  });

  it('that are words are among those that the function knows', () => {
    const taken: string[] = [];
    for (const [op, args] of Object.entries(calls)) {
      for (const [at, arg] of args.entries()) {
        if (!isRecord(arg)) continue;
        for (const [name, value] of Object.entries(arg)) {
          if (typeof value !== 'string' || name === 'name') continue;
          expect(refusal(op, ...args.with(at, { ...arg, [name]: 'bogus' })).message).toContain('bogus');
          taken.push(`${op}.${name}`);
        }
      }
    }
    expect(taken).toEqual(
      expect.arrayContaining(['crossEntropyLoss.reduction', 'depthToSpace.order', 'pad.mode', 'resize.mode']),
    );
    for (const option of ['coordinateTransformation', 'nearestMode', 'keepAspectRatio']) {
      const sized = { sizes: [2, 4, 5, 10], [option]: 'bogus' };
      expect(refusal('resize', image, sized).message).toContain(`${option} must be`);
    }
    expect(refusal('cast', x, 'f64').message).toContain('to must be f32, i32 or bool, not f64');
  });

  it('that are numbers are among those that the function knows', () => {
    for (const ord of [0, 3, 0.5, -Infinity, Number.NaN]) {
      const error = refusal('vectorNorm', x, { ord });
      expect(error.message).toContain(`ord must be 1, 2 or Infinity, got ${ord}`);
      expect(error.remedy).toContain(`pow(abs(x), ${ord})`);
    }
    for (const outputPadding of [-1, 0.5, Number.NaN, [1], [1, 1, 1], [0, -1]]) {
      const error = refusal('convTranspose2d', image, kernels[1], undefined, { outputPadding });
      expect(error.message).toContain('outputPadding must be 2 integers of at least 0, got [');
    }
  });

  it('functions go where map gives them more than they take, and keep their names', () => {
    expect([x, x].map(ops.relu as (x: Tensor) => Tensor)).toHaveLength(2);
    expect(ops.sum.name).toBe('sum');
    expect(Object.keys(ops).sort()).toEqual(Object.keys(functions).sort());
  });
});

describe('arguments of ops', () => {
  /** Functions without options, with arguments that they take. */
  const plain: Readonly<Record<string, Arguments>> = {
    adaptiveAvgPool1d: [signal, 2],
    adaptiveAvgPool2d: [image, [2, 2]],
    adaptiveAvgPool3d: [volume, 2],
    adaptiveMaxPool1d: [signal, 2],
    adaptiveMaxPool2d: [image, [2, 2]],
    adaptiveMaxPool3d: [volume, 2],
    broadcastTo: [v, [2, 4]],
    cast: [x, 'i32'],
    einsum: ['ij,kj->ik', x, x],
    pixelShuffle: [image, 2],
    pixelUnshuffle: [input('pixels', 2, 4, 4, 4), 2],
    reshape: [x, [4, 2]],
    transpose: [x, [1, 0]],
  };
  const mask = graph.input('mask', { shape: [2, 4], dtype: 'bool' });
  const guesses: readonly Arguments[] = [[x], [x, x], [mask], [mask, mask], [mask, x, x], [image]];
  const argumentsOf = (op: string): Arguments =>
    calls[op] ??
    plain[op] ??
    guesses.find((args) => {
      try {
        return call(op, args) !== undefined;
      } catch {
        return false;
      }
    })!;

  const wrong: Arguments = [
    ...[undefined, null, 1.5, Number.NaN, 'text', true, 10n, Symbol('symbol'), () => 1],
    ...[[], [null], [[1]], {}, { 0: 3 }, x, mask],
  ];
  /** Every value, on whatever level, replaced by `by`. */
  function* replaced(value: unknown, by: unknown): Generator<unknown> {
    yield by;
    if (!isRecord(value)) return;
    for (const [name, inner] of Object.entries(value)) {
      for (const other of replaced(inner, by)) yield { ...value, [name]: other };
    }
  }

  it('of the wrong kind, at any place, are refused in words: nothing but a PartitaError comes out', () => {
    const odd: string[] = [];
    const attempt = (op: string, args: Arguments, what: string) => {
      try {
        call(op, args);
      } catch (error) {
        if (!(error instanceof PartitaError)) odd.push(`${op}, ${what}: ${error}`);
      }
    };
    for (const op of Object.keys(functions)) {
      const args = argumentsOf(op);
      expect(args, op).toBeDefined();
      attempt(op, [], 'without arguments');
      for (const [i, by] of wrong.entries()) {
        args.forEach((arg, at) => {
          for (const other of replaced(arg, by)) attempt(op, args.with(at, other), `argument ${at + 1}, wrong ${i}`);
        });
      }
    }
    expect(odd).toEqual([]);
  });

  it('say what they must be, and where', () => {
    expect(refusal('slice', x, { 0: 3 }).message).toContain('slice(f32[2, 4]): argument 2 has for axis 0 3, which is');
    expect(refusal('pad', x, { 0: 'a' }).message).toContain('for axis 0 "a", which is no list of numbers');
    expect(refusal('relu', 3).message).toContain('relu(): argument 1 must be a tensor, got 3');
    expect(refusal('add', x).message).toContain('argument 2 must be a tensor or a number, got nothing');
    expect(refusal('conv2d', image, kernels[1], 0.5).message).toContain('argument 3 must be a tensor, got 0.5');
    expect(refusal('einsum', 'ij,jk', x, [v]).message).toContain('argument 3 must be a tensor, got [v: f32[4]]');
    expect(refusal('softmax', x, v).message).toContain(
      'options must be an object, got the tensor v: f32[4]; they are argument 2',
    );
    expect(refusal('sum', x, { keepDims: 1 }).fields).toMatchObject({ option: 'keepDims' });
    expect(refusal('sum', x, { axes: '1' }).message).toContain('axes must be a number or a list of numbers, got "1"');
    expect(refusal('softmax', x, { axis: null }).message).toContain('axis must be a number, got null');
    const dropped = { dropout: { ratio: '0.1' } };
    expect(refusal('scaledDotProductAttention', signal, signal, signal, dropped).fields).toMatchObject({
      option: 'dropout.ratio',
    });
    expect(refusal('concat', []).message).toContain('takes at least one tensor');
    expect(refusal('pad', x, { 0: [1, 1] }, { mode: 'mirror' }).message).toContain('mode must be constant or');
    expect(ops.dropout(x, { axis: null }).shape).toEqual([2, 4]);
    expect(ops.layerNorm(x, undefined, v).shape).toEqual([2, 4]);
  });
});
