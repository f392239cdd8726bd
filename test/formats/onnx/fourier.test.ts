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

describe('STFT', () => {
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
