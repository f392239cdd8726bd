import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TypeRuleError } from '../../src/graph/op-record.ts';
import { poolWorkspace } from '../../src/lower/wasm/pool-workspace.ts';
import { begins, type Sliding, slide, toThree } from '../../src/ops/window.ts';
import { generator } from './helpers.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const bytes = readFileSync(new URL('../../dist/kernels.wasm', import.meta.url));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const exported = exports.poolWorkspace as (...sizes: number[]) => number;

/** Planned bytes of means, then of maxima, each held to the kernels' own; none where the type rule refuses the sizes. */
function planned(x: readonly number[], by: Sliding): number[] {
  let y: number[];
  try {
    y = slide(x, by);
  } catch (error) {
    if (error instanceof TypeRuleError) return [];
    throw error;
  }
  const window = [...toThree(by.kernel, 1), ...toThree(by.stride, 1)];
  const offsets = [...toThree(begins(by), 0), ...toThree(by.dilation, 1)];
  const sizes = [...toThree(x, 1), ...window, ...offsets, ...toThree(y, 1)];
  return (['mean', 'largest'] as const).map((kind, k) => {
    const size = poolWorkspace(kind, x, y, by);
    expect(size, `${kind} ${JSON.stringify({ x, by })}`).toBe(exported(k, ...sizes));
    return size;
  });
}

describe('the workspace of pools agrees with the kernels’ own', () => {
  it.each([1, 2, 3])('over %i axes', (rank) => {
    const next = generator(rank);
    const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
    const list = (length: number, low: number, high: number) => Array.from({ length }, () => draw(low, high));
    const largest = [0, 2000, 45, 14][rank]!;
    const found = { taken: 0, with: 0, without: 0 };
    for (let i = 0; i < 600; i++) {
      const halves = i % 3 === 0 ? [...new Array<number>(Math.max(0, rank - 2)).fill(1), 2, 2].slice(-rank) : undefined;
      const by: Sliding = {
        kernel: halves ?? list(rank, 1, 5),
        stride: halves ?? list(rank, 1, 3),
        padding: i % 2 === 0 ? list(2 * rank, 0, 0) : list(2 * rank, 0, 2),
        dilation: i % 5 === 0 ? list(rank, 1, 2) : list(rank, 1, 1),
        ceilMode: i % 7 === 0,
      };
      const sizes = planned(list(rank, 1, i % 4 === 0 ? 12 : largest), by);
      if (sizes.length > 0) found.taken++;
      for (const size of sizes) found[size > 0 ? 'with' : 'without']++;
    }
    expect(found.taken).toBeGreaterThan(400);
    expect(Math.min(found.with, found.without), 'with and without').toBeGreaterThan(0);
  });

  const bytesOf = (elements: number) => 128 + 16 * elements;
  const two = [2, 2];
  const inSlices = [1, 2, 2];
  it.each<{ x: number[]; window: number[]; behind?: number[]; expected: number[] }>([
    { x: [1280], window: [2], expected: [bytesOf(1280), bytesOf(1280)] },
    { x: [1281], window: [2], expected: [0, 0] },
    // Rows of three outputs go in a frame, rows of four by squares: maxima then take none.
    { x: [6, 6], window: two, expected: [bytesOf(36), bytesOf(36)] },
    { x: [6, 7], window: two, expected: [bytesOf(42), bytesOf(42)] },
    { x: [8, 8], window: two, expected: [bytesOf(64), 0] },
    { x: [1, 2, 8], window: inSlices, expected: [bytesOf(16), 0] },
    { x: [8], window: [2], expected: [bytesOf(8), bytesOf(8)] },
    { x: [1, 1, 8], window: [1, 1, 2], expected: [bytesOf(8), bytesOf(8)] },
    // Windows that hang over the edge behind.
    { x: [1, 1, 8], window: inSlices, behind: [0, 1, 0], expected: [bytesOf(16), bytesOf(16)] },
  ])('$x by $window, padding behind $behind', ({ x, window, behind, expected }) => {
    const none = x.map(() => 0);
    const padding = [...none, ...(behind ?? none)];
    const dilation = x.map(() => 1);
    expect(planned(x, { kernel: window, stride: window, padding, dilation })).toEqual(expected);
  });

  it.each([
    { x: [5, 10], kernel: [3, 3], maxima: 240 },
    { x: [5, 9], kernel: [3, 3], maxima: bytesOf(45) }, // rows of seven outputs
    { x: [5, 10], kernel: [3, 3], stride: [3, 1], maxima: bytesOf(50) }, // no overlap from row to row
    { x: [5, 10], kernel: [3, 1], maxima: bytesOf(50) },
    { x: [5, 24], kernel: [2, 3], stride: [1, 2], maxima: 4 * 28 + 8 * 2 * 12 },
    { x: [5, 26], kernel: [2, 3], stride: [1, 3], maxima: bytesOf(130) },
    { x: [3, 5, 10], kernel: [1, 3, 3], maxima: 240 },
    { x: [3, 5, 10], kernel: [2, 3, 3], maxima: bytesOf(150) },
    { x: [3, 4097], kernel: [2, 2], maxima: 4 * 4100 + 8 * 2 * 4096 },
    { x: [3, 4098], kernel: [2, 2], maxima: 0 },
    { x: [17, 9], kernel: [16, 2], maxima: 4 * 12 + 8 * 16 * 8 },
    { x: [17, 9], kernel: [17, 2], maxima: bytesOf(153) },
  ])('maxima of $x in windows of $kernel by steps of $stride', ({ x, kernel, stride, maxima }) => {
    const ones = x.map(() => 1);
    const by = { kernel, stride: stride ?? ones, padding: [...x, ...x].map(() => 0), dilation: ones };
    expect(planned(x, by)[1]).toBe(maxima);
  });
});
