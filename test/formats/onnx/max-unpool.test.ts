import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type NodeText, onnxOf } from './build.ts';

const [n, c, h, w] = [2, 3, 5, 6];
const shape = [n, c, h, w];
/** In order by no axis, no two alike. */
const x = Array.from({ length: n * c * h * w }, (_, i) => ((i * 73) % 181) + 1);

const window = { kernel_shape: [3, 3], strides: [2, 3], pads: [1, 0, 1, 0] };
const pooled: NodeText = { op: 'MaxPool', in: ['x'], out: ['largest', 'places'], attrs: window };
const unpooled: NodeText = { op: 'MaxUnpool', name: 'n', in: ['largest', 'places'], out: ['y'], attrs: window };

function build(stated?: readonly number[]) {
  const initializers = stated
    ? [{ name: 'shape', dtype: 'INT64', dims: [stated.length], values: stated } as const]
    : [];
  const nodes = [pooled, { ...unpooled, in: [...unpooled.in!, ...initializers.map(({ name }) => name)] }];
  const text = { inputs: [{ name: 'x', shape }], outputs: [{ name: 'y' }], nodes, initializers };
  const graph = importModel(onnxOf(text), { batch: n, batchAxes: { x: null } });
  const [input] = graph.sources('input');
  return { graph, input: input!, y: graph.outputs.get('y')! };
}

const feed = ({ input }: ReturnType<typeof build>) =>
  new Map([[input, { type: input.type, data: Float64Array.from(x) }]]);

/** How many windows have element i as their largest. */
function chosen(): number[] {
  const times = x.map(() => 0);
  for (let plane = 0; plane < n * c; plane++) {
    for (let top = -1; top + 3 <= h + 1; top += 2) {
      for (let left = 0; left + 3 <= w; left += 3) {
        const inside = Array.from({ length: 9 }, (_, i) => [top + Math.floor(i / 3), left + (i % 3)] as const).filter(
          ([row]) => row >= 0 && row < h,
        );
        const at = inside.map(([row, column]) => plane * h * w + row * w + column);
        times[at.reduce((best, i) => (x[i]! > x[best]! ? i : best))]!++;
      }
    }
  }
  return times;
}

describe('MaxUnpool', () => {
  const times = chosen();

  it('puts what MaxPool found back, of every sample and channel, from windows that overlap and have padding', () => {
    expect(Math.max(...times)).toBe(2);
    const built = build();
    expect(built.y.shape).toEqual(shape);
    expect([...evaluate([built.y], feed(built))[0]!.data]).toEqual(x.map((v, i) => (times[i]! > 0 ? v : 0)));
  });

  it('has zeros behind, where a stated shape has more', () => {
    const built = build([n, c, h + 1, w + 2]);
    const wanted = Array.from({ length: n * c * (h + 1) * (w + 2) }, (_, i) => {
      const [plane, row, column] = [
        Math.floor(i / ((h + 1) * (w + 2))),
        Math.floor(i / (w + 2)) % (h + 1),
        i % (w + 2),
      ];
      const at = plane * h * w + row * w + column;
      return row < h && column < w && times[at]! > 0 ? x[at]! : 0;
    });
    expect([...evaluate([built.y], feed(built))[0]!.data]).toEqual(wanted);
  });

  it('has the gradient of what it puts back: once, also where two windows found it', () => {
    const built = build();
    const upstream = x.map((_, i) => ((i * 29) % 17) - 8);
    const cotangent = built.graph.constant({ type: built.y.type, data: Float32Array.from(upstream) }, 'upstream');
    const [dx] = gradients([{ tensor: built.y, cotangent }], [built.input]);
    const wanted = upstream.map((v, i) => (times[i]! > 0 ? v : 0));
    expect(Array.from(evaluate([dx!], feed(built))[0]!.data, (v) => v + 0)).toEqual(wanted.map((v) => v + 0));
  });

  it.each<[what: string, stated: readonly number[], says: RegExp]>([
    ['too small', [n, c, h - 1, w], /the output \[4, 6\] is smaller than what is unpooled, \[5, 6\]/],
    ['of another batch', [1, c, h, w], /the shape \[1, 3, 5, 6\] must begin with \[2, 3\]/],
    ['of other channels', [n, 1, h, w], /the shape \[2, 1, 5, 6\] must begin with \[2, 3\]/],
    ['without samples and channels', [h, w], /the shape \[5, 6\] must begin with \[2, 3\]/],
  ])('refuses a shape %s', (_, stated, says) => {
    expect(() => build(stated)).toThrow(says);
  });
});
