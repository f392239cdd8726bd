import { describe, expect, it } from 'vitest';
import { elementCount, type Shape } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { Attrs } from '../../src/graph/op-record.ts';
import type { KernelCall } from '../../src/lower/kernel-call.ts';
import { lowerForWasm } from '../../src/lower/wasm/index.ts';
import { coalesce } from '../../src/lower/wasm/strided.ts';
import { broadcastStrides } from '../../src/ops/broadcast.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';

const lower = (op: OpName, shapes: Shape[], attrs: Attrs = {}, dtype: 'f32' | 'i32' | 'bool' = 'f32') => {
  const graph = new Graph();
  const inputs = shapes.map((shape, i) => graph.input(`x${i}`, { shape, dtype, batchAxis: null }));
  const outputs = graph.add(recordOf(op), inputs, attrs);
  return lowerForWasm({ op, inputs: inputs.map((t) => t.type), outputs: outputs.map((t) => t.type), attrs });
};
const kernels = (calls: readonly KernelCall[]) => calls.map((c) => c.kernel);
const plain = { transA: false, transB: false };

describe('coalescing', () => {
  it.each<[Shape, Shape, number[], number[]]>([
    [[2, 3, 4], [2, 3, 4], [24], [1]],
    [[1, 1, 1], [1], [], []],
    [
      [5, 3, 4],
      [3, 4],
      [5, 12],
      [0, 1],
    ],
    [
      [5, 3, 4],
      [5, 1, 1],
      [5, 12],
      [1, 0],
    ],
    [
      [2, 5, 3, 4],
      [5, 1, 4],
      [2, 5, 3, 4],
      [0, 4, 0, 1],
    ],
  ])('%j of %j', (out, shape, dims, strides) => {
    expect(coalesce(out, [broadcastStrides(shape, out)])).toEqual({ dims, strides: [strides] });
  });
});

describe('elementwise', () => {
  it('runs equal shapes as one row, whatever their rank', () => {
    const { calls, workspaceBytes } = lower('add', [
      [2, 3, 4],
      [2, 3, 4],
    ]);
    expect(calls[0]!.args.slice(0, 4)).toEqual([1, 1, 1, 24]);
    expect([calls.length, workspaceBytes]).toEqual([1, 0]);
  });

  it('needs no workspace for a bias row, a column or a scalar', () => {
    for (const shape of [[7], [5, 1], []]) expect(lower('mul', [[3, 5, 7], shape]).workspaceBytes).toBe(0);
  });

  it('expands as few operands as needed where axes alternate', () => {
    const { calls, workspaceBytes } = lower('add', [
      [2, 1, 2, 1, 2, 1],
      [1, 2, 1, 3, 1, 2],
    ]);
    expect(kernels(calls).at(-1)).toBe('add');
    expect(workspaceBytes % (4 * elementCount([2, 2, 2, 3, 2, 2]))).toBe(0);
  });

  it('makes every comparison of integers from two kernels', () => {
    const made = (['equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual'] as const).map((op) => {
      const { calls } = lower(op, [[3], [3]], {}, 'i32');
      return [op, ...kernels(calls)];
    });
    expect(made).toEqual([
      ['equal', 'equalI32'],
      ['notEqual', 'equalI32', 'not'],
      ['less', 'lessI32'],
      ['lessEqual', 'lessI32', 'not'],
      ['greater', 'lessI32'],
      ['greaterEqual', 'lessI32', 'not'],
    ]);
  });
});

describe('moves', () => {
  it('copies whole where the order does not change', () => {
    expect(kernels(lower('transpose', [[1, 5, 1, 3]], { perm: [2, 1, 0, 3] }).calls)).toEqual(['copyBytes']);
    expect(kernels(lower('slice', [[5, 3]], { starts: [1, 0], ends: [4, 3], steps: [1, 1] }).calls)).toEqual([
      'copyBytes',
    ]);
    expect(
      kernels(
        lower(
          'concat',
          [
            [2, 3],
            [4, 3],
          ],
          { axis: 0 },
        ).calls,
      ),
    ).toEqual(['copyBytes', 'copyBytes']);
  });

  it('runs nothing for a reshape', () => {
    expect(lower('reshape', [[2, 3]], { shape: [6] })).toEqual({ calls: [], workspaceBytes: 0 });
  });
});

describe('reductions', () => {
  it('take one pass for neighbouring axes, one a group otherwise', () => {
    expect(lower('sum', [[2, 3, 4, 5]], { axes: [1, 2], keepDims: false }).calls).toHaveLength(1);
    expect(lower('sum', [[2, 3, 4, 5]], { axes: [0, 2], keepDims: false })).toMatchObject({
      calls: [
        { kernel: 'reduceSum', args: [6, 4, 5, { input: 0 }, { workspace: 0 }, 1] },
        { kernel: 'reduceSum', args: [1, 2, 15, { workspace: 0 }, { output: 0 }, 1] },
      ],
      workspaceBytes: 4 * 30,
    });
  });

  it('scale a mean once, in the last pass', () => {
    const { calls } = lower('mean', [[2, 3, 4]], { axes: [0, 2], keepDims: true });
    expect(calls.map((c) => c.args.at(-1))).toEqual([1, 1 / 8]);
  });
});

describe('matmul', () => {
  it('is one gemm over batch and rows where b is one matrix', () => {
    for (const b of [
      [5, 7],
      [1, 5, 7],
    ]) {
      const { calls } = lower('matmul', [[4, 3, 5], b], plain);
      expect(calls).toHaveLength(1);
      expect(calls[0]!.kernel).toBe('gemm');
      expect(calls[0]!.args.slice(0, 3)).toEqual([12, 7, 5]);
    }
  });

  it('is one batched gemm where batches step evenly, b repeated or not', () => {
    for (const [a, b, steps] of [
      [
        [2, 3, 4, 5],
        [2, 3, 5, 6],
        [20, 30],
      ],
      [
        [4, 5],
        [6, 5, 6],
        [0, 30],
      ],
    ] as const) {
      const { calls } = lower('matmul', [a, b], plain);
      expect(kernels(calls)).toEqual(['gemmBatched']);
      expect([calls[0]!.args[5], calls[0]!.args[9]]).toEqual(steps);
    }
  });

  it('falls apart into batched calls where batches repeat unevenly', () => {
    const { calls } = lower(
      'matmul',
      [
        [2, 1, 3, 4],
        [3, 4, 5],
      ],
      plain,
    );
    expect(calls.map((c) => [c.args[0], c.args[4], c.args[8], c.args[12]])).toEqual([
      [3, { input: 0 }, { input: 1 }, { output: 0 }],
      [3, { input: 0, plus: 48 }, { input: 1 }, { output: 0, plus: 180 }],
    ]);
  });

  it('transposes by strides', () => {
    const strides = (attrs: Attrs, a: Shape, b: Shape) => {
      const { args } = lower('matmul', [a, b], attrs).calls[0]!;
      return [args.slice(4, 6), args.slice(7, 9)];
    };
    expect(strides(plain, [3, 5], [5, 7])).toEqual([
      [5, 1],
      [7, 1],
    ]);
    expect(strides({ transA: true, transB: true }, [5, 3], [7, 5])).toEqual([
      [1, 3],
      [1, 5],
    ]);
  });
});

it('refuses an op without a record', () => {
  expect(() => lowerForWasm({ op: 'nope', inputs: [], outputs: [], attrs: {} })).toThrow(/no op is named nope/);
});
