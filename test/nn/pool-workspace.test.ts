import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { poolWorkspace } from '../../src/lower/wasm/pool-workspace.ts';
import { begins, type Sliding, slide, toThree } from '../../src/ops/window.ts';
import { generator } from './helpers.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const bytes = readFileSync(new URL('../../dist/kernels.wasm', import.meta.url));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const exported = exports.poolWorkspace as (...sizes: number[]) => number;

it.each([1, 2, 3])('the workspace of pools over %i axes agrees with the kernels’ own', (rank) => {
  const next = generator(rank);
  const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
  const list = (length: number, low: number, high: number) => Array.from({ length }, () => draw(low, high));
  const largest = [0, 2000, 45, 14][rank]!;
  const found = new Set<boolean>();
  for (let i = 0; i < 400; i++) {
    const halves = i % 3 === 0 ? [...new Array<number>(Math.max(0, rank - 2)).fill(1), 2, 2].slice(-rank) : undefined;
    const by: Sliding = {
      kernel: halves ?? list(rank, 1, 5),
      stride: halves ?? list(rank, 1, 3),
      padding: i % 2 === 0 ? list(2 * rank, 0, 0) : list(2 * rank, 0, 2),
      dilation: i % 5 === 0 ? list(rank, 1, 2) : list(rank, 1, 1),
      ceilMode: i % 7 === 0,
    };
    const x = list(rank, 9, largest);
    const y = slide(x, by);
    const window = [...toThree(by.kernel, 1), ...toThree(by.stride, 1)];
    const offsets = [...toThree(begins(by), 0), ...toThree(by.dilation, 1)];
    const sizes = [...toThree(x, 1), ...window, ...offsets, ...toThree(y, 1)];
    for (const [k, kind] of (['mean', 'largest'] as const).entries()) {
      const planned = poolWorkspace(kind, x, y, by);
      expect(planned, `${kind} ${JSON.stringify({ x, by })}`).toBe(exported(k, ...sizes));
      found.add(planned > 0);
    }
  }
  expect(found.size, 'with and without').toBe(2);
});
