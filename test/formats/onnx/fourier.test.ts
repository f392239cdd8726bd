import { describe, expect, it } from 'vitest';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type ModelText, type NodeText, onnxOf } from './build.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

const transforms = new Set(['DFT', 'STFT']);
const constants = new Set(['BlackmanWindow', 'HammingWindow', 'HannWindow', 'MelWeightMatrix']);
const ofTransforms = casesOf(transforms, ['Constant']);
const ofConstants = casesOf(constants, ['Constant']);

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there', () => expect([ofTransforms.length, ofConstants.length]).toEqual([5, 7]));

  it.each(ofTransforms)('%s', (_, c) => expect(differs(runCase(c), c)).toBeUndefined());
  it.each(ofConstants)('%s', (_, c) => expect(differs(runCase(c, { constants: 'all' }), c)).toBeUndefined());
});

/** Output y of nodes, fed x. */
function play(nodes: readonly NodeText[], x: readonly number[], shape: readonly number[], more: ModelText = {}) {
  const text: ModelText = { inputs: [{ name: 'x', shape }], outputs: [{ name: 'y' }], nodes, ...more };
  const graph = importModel(onnxOf(text), { batch: 1, batchAxes: { x: null } });
  const [input] = graph.sources('input');
  const [y] = evaluate(
    [graph.outputs.get('y')!],
    new Map([[input!, { type: input!.type, data: Float64Array.from(x) }]]),
  );
  return { shape: y!.type.shape, data: [...y!.data] };
}

const close = (got: readonly number[], wanted: readonly number[]): void => {
  expect(got).toHaveLength(wanted.length);
  got.forEach((v, i) => {
    expect(v).toBeCloseTo(wanted[i]!, 5);
  });
};

describe('DFT', () => {
  const x = [1, 2, -1, 0.5, 3, -2];

  it('is the sum that it says, of complex numbers too', () => {
    const { shape, data } = play([{ op: 'DFT', in: ['x'], out: ['y'] }], x, [1, 3, 2]);
    expect(shape).toEqual([1, 3, 2]);
    const wanted = [0, 1, 2].flatMap((k) => {
      let [re, im] = [0, 0];
      for (let n = 0; n < 3; n++) {
        const [a, b, angle] = [x[2 * n]!, x[2 * n + 1]!, (-2 * Math.PI * k * n) / 3];
        re += a * Math.cos(angle) - b * Math.sin(angle);
        im += a * Math.sin(angle) + b * Math.cos(angle);
      }
      return [re, im];
    });
    close(data, wanted);
  });

  it.each([5, 6])('there and back, one-sided, gives the real signal again: %s values', (n) => {
    const signal = x.slice(0, n);
    const length = { name: 'n', dtype: 'INT64', dims: [], values: [n] } as const;
    const { shape, data } = play(
      [
        { op: 'DFT', in: ['x'], out: ['spectrum'], attrs: { onesided: 1 } },
        { op: 'DFT', in: ['spectrum', 'n'], out: ['y'], attrs: { onesided: 1, inverse: 1 } },
      ],
      signal,
      [1, n, 1],
      { initializers: [length] },
    );
    expect(shape).toEqual([1, n, 1]);
    close(data, signal);
  });

  it('there and back, complex, along an axis of version 20', () => {
    const axis = { name: 'axis', dtype: 'INT64', dims: [], values: [0] } as const;
    const nodes: NodeText[] = [
      { op: 'DFT', in: ['x', '', 'axis'], out: ['spectrum'] },
      { op: 'DFT', in: ['spectrum', '', 'axis'], out: ['y'], attrs: { inverse: 1 } },
    ];
    const { shape, data } = play(nodes, [...x, ...x.map((v) => -v)], [3, 2, 2], { opset: 20, initializers: [axis] });
    expect(shape).toEqual([3, 2, 2]);
    close(data, [...x, ...x.map((v) => -v)]);
  });

  it('pads and cuts to dft_length', () => {
    const of = (n: number) => {
      const length = { name: 'n', dtype: 'INT64', dims: [], values: [n] } as const;
      return play([{ op: 'DFT', in: ['x', 'n'], out: ['y'] }], x, [1, 6, 1], { initializers: [length] });
    };
    expect(of(8).shape).toEqual([1, 8, 2]);
    // The first bin is the sum.
    close(of(8).data.slice(0, 2), [3.5, 0]);
    close(of(2).data, [3, 0, -1, 0]);
  });

  it('refuses one side of complex numbers', () => {
    const node = { op: 'DFT', in: ['x'], out: ['y'], attrs: { onesided: 1 } };
    expect(() => play([node], x, [1, 3, 2])).toThrow(/a one-sided transform takes real numbers/);
  });
});

describe('MelWeightMatrix', () => {
  const weights = (length: number, rate: number, low: number, high: number) => {
    const initializers = [
      { name: 'bands', dtype: 'INT64', dims: [], values: [1] },
      { name: 'length', dtype: 'INT64', dims: [], values: [length] },
      { name: 'rate', dtype: 'INT64', dims: [], values: [rate] },
      { name: 'low', dims: [], values: [low] },
      { name: 'high', dims: [], values: [high] },
    ] as const;
    const nodes = [{ op: 'MelWeightMatrix', in: initializers.map(({ name }) => name), out: ['m'] }];
    return play([...nodes, { op: 'Mul', in: ['x', 'm'], out: ['y'] }], [1], [1, 1], { initializers }).data;
  };

  it.each<[what: string, rate: number, low: number, high: number, says: RegExp]>([
    ['no rate', 0, 0, 4, /sample_rate is 0/],
    ['a negative edge', 8, -1, 4, /the edges are -1 and 4 Hz/],
    ['edges that fall', 8, 4, 2, /the edges are 4 and 2 Hz/],
    ['edges of one frequency', 8, 4, 4, /the edges are 4 and 4 Hz/],
    ['an edge that is no number', 8, 0, Number.NaN, /the edges are 0 and NaN Hz/],
    ['an edge without bounds', 8, 0, Number.POSITIVE_INFINITY, /the edges are 0 and Infinity Hz/],
  ])('refuses %s', (_, rate, low, high, says) => {
    expect(() => weights(8, rate, low, high)).toThrow(says);
  });

  it('ends with the spectrum, however far its edges lie behind', () => {
    // The centre lies at about 9e11 bins: a loop up to there does not end.
    const rising = weights(2 ** 19, 1, 0, 1e9);
    expect(rising).toHaveLength(2 ** 18 + 1);
    expect(rising.at(-1)).toBeGreaterThan(0);
    expect(rising.at(-1)).toBeLessThan(1e-5);
    // A third and two thirds of the way to the upper edge lie at bins 4 and 8.
    close(weights(16, 16, 0, 12), [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]);
  });
});

describe('STFT', () => {
  const node: NodeText = { op: 'STFT', in: ['x', 'step', '', 'n'], out: ['y'] };
  const frames = (step: number, n: number) => ({
    initializers: [
      { name: 'step', dtype: 'INT64', dims: [], values: [step] },
      { name: 'n', dtype: 'INT64', dims: [], values: [n] },
    ] as const,
  });
  const signal = [1, 2, -1, 0.5, 3, -2, 4, 0, 1, 1, -3, 2, 0, 5];

  /** Σ x[t]·e^(−2πikt/n) of frames every `step`, for `bins` k; x is [re, im] a value. */
  function byHand(x: readonly (readonly [number, number])[], step: number, n: number, bins: number): number[] {
    const starts = [...x.keys()].filter((t) => t % step === 0 && t + n <= x.length);
    return starts.flatMap((start) =>
      Array.from({ length: bins }, (_, k) => {
        let [re, im] = [0, 0];
        for (let t = 0; t < n; t++) {
          const [a, b] = x[start + t]!;
          const angle = (-2 * Math.PI * k * t) / n;
          re += a * Math.cos(angle) - b * Math.sin(angle);
          im += a * Math.sin(angle) + b * Math.cos(angle);
        }
        return [re, im];
      }).flat(),
    );
  }
  const real = (x: readonly number[]) => x.map((v) => [v, 0] as const);

  it('takes real numbers without an axis for them, of a batch; a step need not go up in the length', () => {
    const wanted = [...byHand(real(signal.slice(0, 7)), 2, 4, 3), ...byHand(real(signal.slice(7)), 2, 4, 3)];
    for (const shape of [
      [2, 7],
      [2, 7, 1],
    ]) {
      const got = play([node], signal, shape, frames(2, 4));
      expect(got.shape).toEqual([2, 2, 3, 2]);
      close(got.data, wanted);
    }
  });

  it('has both sides, of complex numbers too', () => {
    const both = { ...node, attrs: { onesided: 0 } };
    close(play([both], signal, [1, 14], frames(3, 5)).data, byHand(real(signal), 3, 5, 5));
    const complex = Array.from({ length: 7 }, (_, i) => [signal[2 * i]!, signal[2 * i + 1]!] as const);
    const got = play([both], signal, [1, 7, 2], frames(3, 4));
    expect(got.shape).toEqual([1, 2, 4, 2]);
    close(got.data, byHand(complex, 3, 4, 4));
    expect(() => play([node], signal, [1, 7, 2], frames(3, 4))).toThrow(/a one-sided transform takes real numbers/);
  });

  it('refuses frames and transforms that would not fit, as DFT does', () => {
    const refusal = (nodes: NodeText[], shape: number[], more: ModelText) => () => play(nodes, [], shape, more);
    const dft: NodeText = { op: 'DFT', in: ['x'], out: ['y'] };
    expect(refusal([dft], [1, 100000, 1], {})).toThrow(/DFT that makes "y": a transform of 100000 values to 100000/);
    const length = { name: 'n', dtype: 'INT64', dims: [], values: [2 ** 50] } as const;
    const padded = { ...dft, in: ['x', 'n'] };
    expect(refusal([padded], [1, 8, 1], { initializers: [length] })).toThrow(/a transform of 1125899906842624 values/);
    expect(refusal([node], [1, 100000], frames(1, 100000))).toThrow(/a transform of 100000 values to 50001/);
    expect(refusal([node], [1, 100000], frames(1, 4096))).toThrow(/95905 frames of 4096 values: they may have/);
  });

  it('refuses a window that is not as long as a frame', () => {
    const initializers = [
      { name: 'step', dtype: 'INT64', dims: [], values: [2] },
      { name: 'w', dims: [3], values: [1, 1, 1] },
      { name: 'n', dtype: 'INT64', dims: [], values: [4] },
    ] as const;
    const node = { op: 'STFT', in: ['x', 'step', 'w', 'n'], out: ['y'] };
    expect(() => play([node], [1, 2, 3, 4, 5, 6], [1, 6, 1], { initializers })).toThrow(/not as long as a frame, 4/);
  });
});
