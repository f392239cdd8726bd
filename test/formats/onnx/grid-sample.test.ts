// GridSample, values and gradients by image and grid. Expected: torch.nn.functional.grid_sample and its autograd, f64.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { mul } from '../../../src/ops/elementwise.ts';
import { sum } from '../../../src/ops/reduce.ts';
import { onnxOf } from './build.ts';

const given: Readonly<Record<string, readonly number[]>> = {
  x: [1, -2, 4, 3, 5, -1],
  // One position within the image, and two beyond its ends.
  grid: [0.2, -0.3, -1.4, 0.6, 1.7, 1.1],
  dy: [2, -1, 3],
};

const sampler = (attrs: Readonly<Record<string, number | string>>, grid: readonly number[] = [1, 1, 3, 2]) =>
  onnxOf({
    opset: 16,
    inputs: [
      { name: 'x', shape: [1, 1, 2, 3] },
      { name: 'grid', shape: grid },
      { name: 'dy', shape: [1, 1, 1, 3] },
    ],
    nodes: [
      { op: 'GridSample', name: 'sample', in: ['x', 'grid'], out: ['y'], attrs },
      { op: 'Mul', in: ['y', 'dy'], out: ['product'] },
    ],
    outputs: [{ name: 'y' }, { name: 'product' }],
  });

type Expected = readonly [y: readonly number[], dx: readonly number[], dgrid: readonly number[]];

describe('GridSample', () => {
  it.each<readonly [mode: string, padding: string, alignCorners: number, expected: Expected]>([
    [
      'bilinear',
      'zeros',
      0,
      [
        [0.48, 0, 0],
        [0, 1.12, 0.48, 0, 0.28, 0.12],
        [10.8, 6.8, 0, 0, 0, 0],
      ],
    ],
    [
      'bilinear',
      'border',
      1,
      [
        [0.81, 2.6, -1],
        [-0.2, 1.04, 0.26, -0.8, 0.56, 3.14],
        [3.6, 4.6, 0, -1, 0, 0],
      ],
    ],
    [
      'bilinear',
      'reflection',
      0,
      [
        [0.48, 3.2, 2.3],
        [0, 1.12, 0.48, -0.9, 1.83, 1.47],
        [10.8, 6.8, 3, 0, 27, 0],
      ],
    ],
    [
      'nearest',
      'border',
      1,
      [
        [-2, 3, -1],
        [0, 2, 0, -1, 0, 3],
        [0, 0, 0, 0, 0, 0],
      ],
    ],
    [
      'bicubic',
      'zeros',
      0,
      [
        [0.26952, -0.174687, 0.062481],
        [-0.206551, 1.5295, 0.618343, 0.015359, 0.3325, 0.015227],
        [16.0146, 9.099825, -2.038011, -0.103883, -0.738416, -0.578872],
      ],
    ],
    [
      'bicubic',
      'reflection',
      0,
      [
        [0.083022, 3.372642, 2.934562],
        [-0.064596, 1.020419, 0.219678, -1.380185, 2.528175, 1.67651],
        [12.08826, 8.322435, 4.405444, -1.4946, 43.056394, -0.983123],
      ],
    ],
  ])('%s, %s, align_corners = %i', (mode, padding, alignCorners, expected) => {
    const attrs = { mode, padding_mode: padding, align_corners: alignCorners };
    const graph = importModel(sampler(attrs), { batch: 1 });
    const inputs = graph.sources('input');
    const [x, grid, dy] = ['x', 'grid', 'dy'].map((name) => inputs.find((t) => t.name === name)!);
    const y = graph.outputs.get('y')!;
    const root = { tensor: sum(mul(y, dy!)), cotangent: graph.scalar(1) };
    const wrt = [x!, grid!];
    // Of the nearest pixel the grid has no derivative.
    const slopes = gradients([root], wrt);
    const feeds = new Map(inputs.map((t) => [t, { type: t.type, data: Float64Array.from(given[t.name]!) }]));
    const values = evaluate([y, ...slopes.flatMap((t) => t ?? [])], feeds);
    const lists = [values[0], ...slopes.map((t) => t && values[1 + slopes.filter(Boolean).indexOf(t)])];
    lists.forEach((list, i) => {
      (list?.data ?? new Float64Array(6)).forEach((v, k) => {
        expect(v, `${['y', 'dx', 'dgrid'][i]}[${k}]`).toBeCloseTo(expected[i]![k]!, 5);
      });
    });
  });

  it('refuses what does not fit', () => {
    expect(() => importModel(sampler({ mode: 'lanczos' }), { batch: 1 })).toThrow(/mode "lanczos" is none of nearest/);
    expect(() => importModel(sampler({}, [1, 1, 3, 3]), { batch: 1 })).toThrow(/must be \[1, H, W, 2\], and is/);
  });
});
