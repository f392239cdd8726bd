// Statistics over microbatches: merging is exact to rounding where sums of squares would not be, and the gradient by x, in
// closed form, is that of normalising by statistics that x itself makes.
import { beforeAll, describe, expect, it } from 'vitest';
import { backward, gradients } from '../../src/autodiff/backward.ts';
import type { Backend } from '../../src/backends/backend.ts';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { createReferenceBackend } from '../../src/backends/reference/reference-backend.ts';
import { createWasmBackend } from '../../src/backends/wasm/wasm-backend.ts';
import { uniform } from '../../src/core/random.ts';
import { elementCount, type TensorType } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import {
  accumulateMoments,
  accumulateMomentsOp,
  channelMoments,
  channelMomentsOp,
  splitMoments,
} from '../../src/ops/batch-moments.ts';
import { batchNorm } from '../../src/ops/batch-norm.ts';
import { batchNormWithMomentsOp } from '../../src/ops/batch-norm-moments.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { backendKinds } from '../conformance/executor.ts';

const draw = (shape: readonly number[], stream: string, shift = 0): RefTensor => ({
  type: { dtype: 'f32', shape },
  data: uniform({ seed: 1, stream }, elementCount(shape)).map((v) => Math.fround(shift + v)),
});

const attrs = { total: 'm' };
const type = (channels: number): TensorType => ({ dtype: 'f32', shape: [3, channels] });

/** Moments of chunks of one channel, merged in their order by the f64 reference. */
function merged(chunks: readonly (readonly number[])[]) {
  let moments: Float64Array | undefined;
  for (const values of chunks) {
    const x: RefTensor = { type: { dtype: 'f32', shape: [values.length, 1] }, data: Float64Array.from(values) };
    const chunk = { type: type(1), data: channelMomentsOp.reference([x], {}, [])[0]! };
    moments = moments ? accumulateMomentsOp.accumulates!.next(moments, [chunk], attrs) : chunk.data;
  }
  const { count, mean, variance } = splitMoments(moments!);
  return { count: count[0]!, mean: mean[0]!, variance: variance[0]! };
}

describe('accumulateMoments', () => {
  it('merges to the statistics of all values, for uneven chunks and chunks of one value', () => {
    const values = [...draw([13], 'values', 5).data];
    const mean = values.reduce((a, b) => a + b, 0) / 13;
    const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / 13;
    for (const sizes of [[13], [7, 6], [1, 12], [4, 4, 3, 2], new Array<number>(13).fill(1)]) {
      let from = 0;
      const found = merged(sizes.map((size) => values.slice(from, (from += size))));
      expect(found.count).toBe(13);
      expect(found.mean).toBeCloseTo(mean, 12);
      expect(found.variance).toBeCloseTo(variance, 12);
    }
  });

  describe.each(backendKinds)('on %s', (kind) => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const write = (at: number, { data }: RefTensor): number => {
      new Float32Array(memory.buffer, at, data.length).set(data);
      return at;
    };
    let backend: Backend;
    beforeAll(async () => {
      backend = kind === 'wasm' ? createWasmBackend(await kernelsModule(), memory) : createReferenceBackend(memory);
    });

    it('starts with a chunk as it is and goes on from what is there', () => {
      // A mean a thousand deviations from 0: by sums of squares the variance would keep one digit in f32.
      const chunk = (name: string, count: number): RefTensor => ({
        type: type(5),
        data: Float64Array.of(
          ...new Float64Array(5).fill(count),
          ...draw([5], `mean ${name}`, 1000).data,
          ...draw([5], `variance ${name}`, 0.5).data,
        ),
      });
      const chunks = [chunk('a', 6), chunk('b', 2)];
      const total = 2048;
      chunks.forEach((moments, i) => {
        const op = 'accumulateMoments';
        const node = { op, inputs: [type(5)], outputs: [type(5)], attrs: { ...attrs, first: i === 0 } };
        const at = { inputs: [write(1024, moments)], outputs: [total], workspace: 0 };
        for (const call of backend.lower(node).calls) backend.bind(call, node, at)();
      });
      const expected = accumulateMomentsOp.accumulates!.next(chunks[0]!.data, [chunks[1]!], attrs);
      const found = new Float32Array(memory.buffer, total, 15);
      expected.forEach((v, i) => void expect(Math.abs(found[i]! - v)).toBeLessThanOrEqual(2 ** -23 * Math.abs(v)));
    });
  });
});

/** Normalising a batch by moments that are made from it: the whole of exact mode, in one microbatch. */
function byOwnMoments(x: Tensor, gamma: Tensor, beta: Tensor, eps: number): readonly Tensor[] {
  const moments = accumulateMoments(channelMoments(x), 'm');
  return x.graph.add(batchNormWithMomentsOp, [x, gamma, beta, moments], { eps });
}

describe('batchNormWithMoments', () => {
  // Powers of two, of which 1/n is exact: plain batchNorm has it as a constant in f32.
  const shapes = [[[4, 3, 2, 2]], [[8, 3]]];
  const inputs = (graph: Graph, shape: readonly number[]) => {
    const feeds = new Map<Tensor, RefTensor>();
    const input = (name: string, of: readonly number[], shift = 0): Tensor => {
      const t = graph.input(name, { shape: of, batchAxis: null });
      feeds.set(t, draw(of, `${name} ${shape}`, shift));
      return t;
    };
    return { x: input('x', shape), gamma: input('gamma', [3], 1), beta: input('beta', [3]), feeds, input };
  };

  it.each(shapes)('is batchNorm where the moments are those of x, gradients by all inputs too: %j', (shape) => {
    const graph = new Graph();
    const { x, gamma, beta, feeds, input } = inputs(graph, shape);
    const by = [x, gamma, beta];
    const { y, mean, variance } = batchNorm(x, gamma, beta, { eps: 0.01 });
    const exact = byOwnMoments(x, gamma, beta, 0.01);
    // Cotangents of statistics too, as where a model reads them.
    const cotangents = [input('dy', shape), input('dMean', [3]), input('dVariance', [3])];
    const found = [[y, mean, variance], exact].map((outputs) => {
      const roots = outputs.map((tensor, i) => ({ tensor, cotangent: cotangents[i]! }));
      const total = backward(roots, by);
      return [
        ...outputs,
        ...by.map((t) =>
          total
            .get(t)!
            .map((c) => c.cotangent)
            .reduce((a, b) => add(a, b)),
        ),
      ];
    });
    const [plain, withMoments] = found.map((tensors) => evaluate(tensors, feeds));
    withMoments!.forEach((t, i) => {
      expect(Math.max(...t.data.map(Math.abs))).toBeGreaterThan(1e-2);
      t.data.forEach((v, k) => void expect(v).toBeCloseTo(plain![i]!.data[k]!, 12));
    });
  });

  it('has first derivatives only, and says what to do', () => {
    const graph = new Graph();
    const { x, gamma, beta } = inputs(graph, [4, 3]);
    const [y] = byOwnMoments(x, gamma, beta, 0.01);
    const [dx] = gradients([{ tensor: sum(mul(y!, y!)), cotangent: graph.scalar(1) }], [x]);
    expect(() => gradients([{ tensor: sum(mul(dx!, dx!)), cotangent: graph.scalar(1) }], [x])).toThrow(
      /batchNormWithMomentsInputGrad\) is not differentiable: .*first derivatives only/,
    );
  });

  it('needs no sums over the batch where x gets no gradient', () => {
    const graph = new Graph();
    const { x, gamma, beta } = inputs(graph, [4, 3]);
    const [y] = byOwnMoments(x, gamma, beta, 0.01);
    gradients([{ tensor: sum(mul(y!, y!)), cotangent: graph.scalar(1) }], [gamma, beta]);
    expect(graph.nodes.filter((n) => n.op?.name === 'accumulate')).toEqual([]);
  });
});
