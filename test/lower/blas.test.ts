import { describe, expect, it } from 'vitest';
import type { Shape } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { Attrs } from '../../src/graph/op-record.ts';
import { leastNativeConvFlops, leastNativeFlops, lowerForBlas } from '../../src/lower/blas/index.ts';
import { input, output, workspace } from '../../src/lower/kernel-call.ts';
import { keyBlock } from '../../src/lower/wasm/attention.ts';
import { lowerForWasm } from '../../src/lower/wasm/index.ts';
import { gemmWorkspace } from '../../src/lower/wasm/workspace.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';

const nodeOf = (op: OpName, shapes: readonly Shape[], attrs: Attrs) => {
  const graph = new Graph();
  const inputs = shapes.map((shape, i) => graph.input(`x${i}`, { shape, batchAxis: null }));
  const outputs = graph.add(recordOf(op), inputs, attrs);
  return { op, inputs: inputs.map((t) => t.type), outputs: outputs.map((t) => t.type), attrs };
};
const matmul = (a: Shape, b: Shape, transA = false, transB = false) => nodeOf('matmul', [a, b], { transA, transB });

describe('products on a device with a native BLAS', () => {
  it.each<[boolean, boolean, Shape, Shape, readonly number[]]>([
    [false, false, [40, 50], [50, 60], [0, 0, 50, 60]],
    [true, false, [50, 40], [50, 60], [1, 0, 40, 60]],
    [false, true, [40, 50], [60, 50], [0, 1, 50, 50]],
    [true, true, [50, 40], [60, 50], [1, 1, 40, 50]],
  ])(
    'transposes %s and %s are flags, and stored rows leading dimensions',
    (transA, transB, a, b, [ta, tb, lda, ldb]) => {
      expect(lowerForBlas(matmul(a, b, transA, transB))).toEqual({
        calls: [{ kernel: 'sgemm', args: [ta, tb, 40, 60, 50, input(0), lda, input(1), ldb, 0, output(0), 60] }],
        workspaceBytes: 0,
      });
    },
  );

  it('keep a leading dimension that BLAS accepts where a matrix is a row or a column', () => {
    // A column, transposed: 1 × 4096 would have a leading dimension of 1.
    const { calls } = lowerForBlas(matmul([4096, 8], [4096, 1], true));
    expect(calls[0]).toMatchObject({
      kernel: 'sgemm',
      args: [1, 0, 8, 1, 4096, input(0), 8, input(1), 1, 0, output(0), 1],
    });
  });

  it('of few FLOPs or rows stay with the WebAssembly kernels, to the byte', () => {
    expect(2 * 25 * 25 * 26).toBeLessThan(leastNativeFlops);
    for (const node of [matmul([25, 26], [26, 25]), matmul([3, 512], [512, 512])]) {
      expect(lowerForBlas(node)).toEqual(lowerForWasm(node));
    }
    expect(lowerForBlas(matmul([26, 26], [26, 26])).calls[0]!.kernel).toBe('sgemm');
    expect(lowerForBlas(matmul([4, 512], [512, 512])).calls[0]!.kernel).toBe('sgemm');
  });

  it('in batches are one call, each step as before', () => {
    const node = matmul([3, 2, 40, 50], [2, 60, 50], false, true);
    expect(lowerForBlas(node)).toEqual({
      calls: [0, 1, 2].map((i) => ({
        kernel: 'sgemmBatched',
        args: [
          ...[2, 0, 1, 40, 60, 50],
          ...[input(0, i * 16000), 2000, 50, input(1), 3000, 50],
          ...[0, output(0, i * 19200), 2400, 60],
        ],
      })),
      workspaceBytes: 0,
    });
  });

  it('of a recurrent scan go one by one, and the workspace is of those that stay', () => {
    const gru = { gates: 'zrh', reset: 'before', reverse: false };
    // Of 4 × 2·32 × 32 FLOPs one product is native, one of half of them is not.
    const node = nodeOf(
      'gruScan',
      [
        [2, 8, 96],
        [96, 32],
        [8, 32],
      ],
      gru,
    );
    const kernels = lowerForBlas(node).calls.map((call) => call.kernel);
    expect(kernels.filter((kernel) => kernel === 'sgemm')).toHaveLength(2);
    expect(kernels.filter((kernel) => kernel === 'gemm')).toHaveLength(2);
    expect(lowerForBlas(node).workspaceBytes).toBe(gemmWorkspace(8, 32, 32));
  });

  it('of attention are native by the sizes of its largest block, the width of a head among them', () => {
    const attrs = { causal: false, scale: 1, layout: 'NHTD' };
    const kernelFor = (queries: number, keys: number, size: number, valueSize = size) => {
      const shapes = [
        [4096, queries, size],
        [4096, keys, size],
        [4096, keys, valueSize],
      ];
      return lowerForBlas(nodeOf('scaledDotProductAttention', shapes, attrs)).calls[0]!.kernel;
    };
    expect(leastNativeFlops).toBe(2 * 32 * 32 * 16);
    expect(kernelFor(32, 32, 16)).toBe('sgemmAttention');
    expect(kernelFor(32, 32, 15)).toBe('attention');
    expect([kernelFor(32, 32, 16, 8), kernelFor(32, 32, 15, 64)]).toEqual(['sgemmAttention', 'attention']);
    expect([kernelFor(32, keyBlock, 1), kernelFor(32, 2 * keyBlock, 1)]).toEqual(['attention', 'attention']);
    expect(kernelFor(3, 512, 64)).toBe('attention');
  });

  it('of convolutions keep columns for workspace, none where the input is its own', () => {
    const attrs = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 2 };
    const { calls, workspaceBytes } = lowerForBlas(
      nodeOf(
        'conv',
        [
          [3, 8, 29, 27],
          [16, 4, 3, 3],
        ],
        attrs,
      ),
    );
    expect(calls[0]!.kernel).toBe('sgemmConv');
    expect(calls[0]!.args.at(-1)).toEqual(workspace());
    expect(workspaceBytes).toBe(4 * (4 * 9) * (29 * 27));
    const plain = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
    expect(
      lowerForBlas(
        nodeOf(
          'conv',
          [
            [3, 32, 19, 17],
            [16, 32, 1, 1],
          ],
          plain,
        ),
      ).workspaceBytes,
    ).toBe(0);
    // Padding at the ends alone: windows of one element, and yet more of them than the input has.
    const wider = nodeOf(
      'conv',
      [
        [3, 32, 19, 17],
        [16, 32, 1, 1],
      ],
      { ...plain, padding: [0, 0, 1, 1] },
    );
    expect(lowerForBlas(wider).workspaceBytes).toBe(4 * 32 * (20 * 18));
  });
  it('of convolutions keep windows along the width where they hold four samples and outputs share the filters', () => {
    const valid = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
    const bytesOf = (x: Shape, weights: Shape, attrs: Attrs = valid) =>
      lowerForBlas(nodeOf('conv', [x, weights], attrs)).workspaceBytes;
    const columns = 4 * (6 * 25) * (10 * 10);
    const filters = 4 * 16 * (6 * 25);
    const windows = 4 * 14 * (6 * 5) * 10;
    const row = 4 * 16 * 10;
    expect(bytesOf([4, 6, 14, 14], [16, 6, 5, 5])).toBe(filters + 4 * (windows + row));
    expect(bytesOf([3, 6, 14, 14], [16, 6, 5, 5])).toBe(columns);
    // 512 KiB of windows hold 31 samples.
    expect(Math.floor(2 ** 19 / windows)).toBe(31);
    expect(bytesOf([64, 6, 14, 14], [16, 6, 5, 5])).toBe(filters + 31 * (windows + row));
    // Rows of taps that are apart do not lie side by side; those along the width may be.
    expect(bytesOf([4, 6, 18, 18], [16, 6, 5, 5], { ...valid, dilation: [2, 2] })).toBe(columns);
    expect(bytesOf([4, 6, 14, 18], [16, 6, 5, 5], { ...valid, dilation: [1, 2] })).toBe(filters + 4 * (windows + row));
    // 512 KiB hold two samples of 28 rows, of 100 channels and 16 outputs a row.
    expect(bytesOf([8, 100, 28, 16], [16, 100, 3, 1])).toBe(4 * (100 * 3) * (26 * 16));
    // 4 × 31 outputs are as good as none beside the copying of the filters, 4 × 32 are not.
    expect(bytesOf([4, 64, 33], [64, 64, 3], { ...valid, stride: [1], padding: [0, 0], dilation: [1] })).toBe(
      4 * (64 * 3) * 31,
    );
    expect(bytesOf([4, 64, 34], [64, 64, 3], { ...valid, stride: [1], padding: [0, 0], dilation: [1] })).toBe(
      4 * (64 * 64 * 3 + 4 * (64 * 3) * 32 + 64 * 4 * 32),
    );
  });
  it('of convolutions stay where windows would be copied for few outputs, or a small product', () => {
    const same = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };
    const kernelsOf = (channels: number, outputs: number, size: number) => {
      const [image, result]: Shape[] = [
        [2, channels, size, size],
        [2, outputs, size, size],
      ];
      const weightShape = [outputs, channels, 3, 3];
      const nodes = [
        nodeOf('conv', [image!, weightShape], same),
        nodeOf('convInputGrad', [result!, weightShape], { ...same, inputShape: image! }),
        nodeOf('convWeightGrad', [image!, result!], { ...same, weightShape }),
      ];
      for (const node of nodes) {
        const lowered = lowerForBlas(node);
        if (!lowered.calls[0]!.kernel.startsWith('sgemm')) expect(lowered).toEqual(lowerForWasm(node));
      }
      return nodes.map((node) => lowerForBlas(node).calls[0]!.kernel);
    };
    const native = ['sgemmConv', 'sgemmConvInputGrad', 'sgemmConvWeightGrad'];
    expect(kernelsOf(4, 16, 32)).toEqual(native);
    expect(kernelsOf(4, 15, 32)).toEqual(['sgemmConv', 'sgemmConvInputGrad', 'convWeightGrad']);
    expect(kernelsOf(4, 8, 32)).toEqual(['sgemmConv', 'sgemmConvInputGrad', 'convWeightGrad']);
    expect(kernelsOf(4, 7, 32)).toEqual(['conv', 'convInputGrad', 'convWeightGrad']);
    expect(kernelsOf(1, 16, 32)).toEqual(['sgemmConv', 'sgemmConvInputGrad', 'convWeightGrad']);
    const flops = (size: number) => 2 * 16 * (16 * 9) * size * size;
    expect(flops(8)).toBeGreaterThanOrEqual(leastNativeConvFlops);
    expect(flops(7)).toBeLessThan(leastNativeConvFlops);
    expect(kernelsOf(16, 16, 8)).toEqual(native);
    expect(kernelsOf(16, 16, 7)).toEqual(['conv', 'convInputGrad', 'convWeightGrad']);
  });
});
