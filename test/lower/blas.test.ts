import { describe, expect, it } from 'vitest';
import type { Shape } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { Attrs } from '../../src/graph/op-record.ts';
import {
  attentionOperands,
  attentionPlaces,
  nativeQueryBlock,
  readAttention,
} from '../../src/lower/blas/attention-blocks.ts';
import { readConvSizes } from '../../src/lower/blas/conv-sizes.ts';
import { widthsOf } from '../../src/lower/blas/conv-widths.ts';
import { leastNativeConvFlops, leastNativeFlops, lowerForBlas } from '../../src/lower/blas/index.ts';
import { input, output, workspace } from '../../src/lower/kernel-call.ts';
import { dropStateBytes, keyBlock, maskStateBytes } from '../../src/lower/wasm/attention.ts';
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

  it('of convolutions go by windows along the width over a single slice alone, and not where the input is its own', () => {
    const bytesOf = (x: Shape, weights: Shape, stride: readonly number[], padding: readonly number[]) => {
      const dilation = stride.map(() => 1);
      return lowerForBlas(nodeOf('conv', [x, weights], { stride, padding, dilation, groups: 1 })).workspaceBytes;
    };
    const columns = (slices: number, outputs: number) => 4 * (6 * slices * 25) * (outputs * 100);
    // Two slices of the image, of taps, one that is padding, two of outputs.
    expect(bytesOf([4, 6, 2, 14, 14], [16, 6, 1, 5, 5], [2, 1, 1], [0, 0, 0, 0, 0, 0])).toBe(columns(1, 1));
    expect(bytesOf([4, 6, 1, 14, 14], [16, 6, 2, 5, 5], [1, 1, 1], [0, 0, 0, 1, 0, 0])).toBe(columns(2, 1));
    expect(bytesOf([4, 6, 1, 14, 14], [16, 6, 1, 5, 5], [2, 1, 1], [1, 0, 0, 0, 0, 0])).toBe(columns(1, 1));
    expect(bytesOf([4, 6, 1, 14, 14], [16, 6, 1, 5, 5], [1, 1, 1], [0, 0, 0, 1, 0, 0])).toBe(columns(1, 2));
    const plain = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
    const own = lowerForBlas(
      nodeOf(
        'conv',
        [
          [8, 64, 12, 12],
          [64, 64, 1, 1],
        ],
        plain,
      ),
    );
    expect([own.workspaceBytes, own.calls[0]!.args.at(-1)]).toEqual([0, 0]);
  });

  it('of convolutions by windows have the filters, windows and outputs of one group, each aligned', () => {
    const sizesOf = (x: Shape, weights: Shape, groups = 1) => {
      const attrs = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups };
      return readConvSizes(lowerForWasm(nodeOf('conv', [x, weights], attrs)).calls[0]!.args as number[]);
    };
    expect(widthsOf(sizesOf([5, 11, 15, 15], [9, 11, 3, 3]))).toEqual({
      ...{ samples: 5, height: 15, rows: 33 },
      // 3564 bytes of filters and 128700 of windows.
      ...{ windowsAt: 3568, outputsAt: 3568 + 128704, end: 3568 + 128704 + 4 * 9 * 5 * 13 },
    });
    expect(widthsOf(sizesOf([4, 12, 14, 14], [32, 6, 5, 5], 2))).toEqual(
      widthsOf(sizesOf([4, 6, 14, 14], [16, 6, 5, 5])),
    );
    // Four samples of exactly 512 KiB; a byte less would be three.
    expect(widthsOf(sizesOf([8, 32, 32, 32], [16, 32, 3, 1]))?.samples).toBe(4);
    // All samples share the copying of the filters, also those of further products: 8 × 16 outputs, of four at a time.
    expect(widthsOf(sizesOf([8, 512, 4, 16], [16, 512, 4, 1]))?.samples).toBe(4);
  });

  it('of convolutions count the outputs and taps of one group, and those just enough', () => {
    const same = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1] };
    const forward = (channels: number, outputs: number, side: number, groups: number) =>
      lowerForBlas(
        nodeOf(
          'conv',
          [
            [2, channels, side, side],
            [outputs, channels / groups, 1, 1],
          ],
          { ...same, groups },
        ),
      );
    expect(2 * 16 * 64 * 128).toBe(leastNativeConvFlops);
    expect(forward(128, 16, 8, 1).calls[0]!.kernel).toBe('sgemmConv');
    expect(forward(128, 16, 16, 2).calls[0]!.kernel).toBe('sgemmConv');
    expect(forward(128, 14, 16, 2).calls[0]!.kernel).toBe('conv');
    const weightGrad = (channels: number) => {
      const shapes = [
        [2, channels, 32, 32],
        [2, 16, 32, 32],
      ];
      const attrs = { ...same, groups: 1, weightShape: [16, channels, 1, 1] };
      return lowerForBlas(nodeOf('convWeightGrad', shapes, attrs)).calls[0]!.kernel;
    };
    expect([weightGrad(16), weightGrad(15)]).toEqual(['sgemmConvWeightGrad', 'convWeightGrad']);
  });

  it('read every element where it lies, of rows and columns too', () => {
    for (const [m, n, k] of [
      [128, 128, 1],
      [128, 1, 128],
      [128, 2, 64],
      [4096, 1, 8],
      [40, 50, 60],
    ] as const)
      for (const transA of [false, true])
        for (const transB of [false, true]) {
          const node = matmul(transA ? [k, m] : [m, k], transB ? [n, k] : [k, n], transA, transB);
          const { kernel, args } = lowerForBlas(node).calls[0]!;
          expect(kernel).toBe('sgemm');
          const [ta, tb, , , , , lda, , ldb] = args as number[];
          const check = (rows: number, columns: number, transposed: boolean, flag: number, leading: number) => {
            expect(leading, 'what BLAS asks for').toBeGreaterThanOrEqual(flag ? rows : columns);
            for (const i of [0, rows - 1])
              for (const j of [0, columns - 1])
                expect(flag ? j * leading + i : i * leading + j).toBe(transposed ? j * rows + i : i * columns + j);
          };
          check(m, k, transA, ta!, lda!);
          check(k, n, transB, tb!, ldb!);
        }
  });
});

describe('attention on a device with a native BLAS', () => {
  const sizes = { samples: 2, heads: 1, queries: 3, keys: 5, size: 4, valueSize: 4, causal: 0, scale: 1 };
  const draw = { samples: 2, matrices: 1, numbers: [1, 2, 3, 4] };

  it('has its workspace part by part, to the byte', () => {
    const blocks = { ...sizes, rows: 3, columns: 5, dropout: undefined, masks: undefined };
    expect(attentionPlaces(blocks)).toEqual({
      ...{ mask: 0, scaled: 0 },
      forward: { scores: 48, tops: 48 + 64, sums: 48 + 64 + 16, end: 48 + 64 + 16 + 24 },
      gradient: { weights: 48, grads: 48 + 64, factors: 48 + 128, deltas: 48 + 128, end: 48 + 128 + 12 },
    });
    const begin = dropStateBytes + maskStateBytes + 48;
    expect(attentionPlaces({ ...blocks, dropout: draw, masks: [] })).toEqual({
      ...{ mask: dropStateBytes, scaled: dropStateBytes + maskStateBytes },
      forward: { scores: begin, tops: begin + 64, sums: begin + 80, end: begin + 104 },
      gradient: { weights: begin, grads: begin + 64, factors: begin + 128, deltas: begin + 160, end: begin + 172 },
    });
  });

  it.each([false, true])('is read from the call as it was lowered, the gradient: %s', (gradient) => {
    const [samples, queries, keys, size] = [4, 80, 90, 32];
    const q = [samples, queries, size];
    const k = [samples, keys, size];
    const shapes = gradient ? [q, k, k, q, [samples, queries], q] : [q, k, k];
    const op = gradient ? 'scaledDotProductAttentionGrad' : 'scaledDotProductAttention';
    const read = (attrs: Attrs) => {
      const lowered = lowerForBlas(nodeOf(op, shapes, { scale: 0.5, layout: 'NHTD', ...attrs }));
      const { kernel, args } = lowered.calls[0]!;
      expect(kernel).toBe(gradient ? 'sgemmAttentionGrad' : 'sgemmAttention');
      const blocks = readAttention(args, gradient);
      const places = attentionPlaces(blocks);
      expect(lowered.workspaceBytes).toBe(gradient ? places.gradient.end : places.forward.end);
      return blocks;
    };
    expect(read({ causal: false })).toMatchObject({
      ...{ samples, heads: 1, queries, keys, size, valueSize: size, causal: 0, scale: 0.5 },
      ...{ rows: nativeQueryBlock, columns: keys, dropout: undefined, masks: undefined },
    });
    expect(read({ causal: true })).toMatchObject({ rows: nativeQueryBlock, columns: queries });
  });

  it.each([
    [false, 3],
    [true, 6],
  ])('has operands behind 24 numbers, the gradient: %s', (gradient, given) => {
    const at = (from: number, count: number) => Array.from({ length: count }, (_, i) => 100 * (from + i));
    const operands = attentionOperands([...at(0, 24), ...at(24, given + 7)], gradient);
    const behind = 24 + given;
    expect(operands).toEqual({
      given: at(24, given),
      masks: at(behind, 2),
      samples: 100 * (behind + 2),
      key: 100 * (behind + 3),
      taken: at(behind + 4, 3),
    });
    const args = (mask: number, key: number) => [...at(0, 24), ...at(24, given), mask, -1, -1, key, 1, 2];
    const numbers = { samples: 800, matrices: 900, numbers: [1000, 1100, 1200, 1300] };
    expect(readAttention(args(-1, 16), gradient)).toMatchObject({ dropout: numbers, masks: undefined });
    expect(readAttention(args(16, -1), gradient)).toMatchObject({ dropout: undefined, masks: at(14, 10) });
  });
});
