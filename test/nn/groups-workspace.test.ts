import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { convKinds, convWorkspace } from '../../src/lower/wasm/conv-workspace.ts';
import { type ConvAttrs, convGeometry } from '../../src/ops/conv.ts';
import { begins, toThree } from '../../src/ops/window.ts';
import { generator } from './helpers.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const bytes = readFileSync(new URL('../../dist/kernels.wasm', import.meta.url));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const exported = exports.convWorkspace as (...sizes: number[]) => number;

it.each([1, 2, 3])('the workspace of few channels a group over %i axes agrees with the kernels’ own', (rank) => {
  const next = generator(rank + 20);
  const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
  const list = (length: number, low: number, high: number) => Array.from({ length }, () => draw(low, high));
  for (let i = 0; i < 300; i++) {
    const [groups, c, o] = [draw(2, 9), draw(1, 5), draw(1, 5)];
    const attrs: ConvAttrs = {
      stride: i % 3 === 0 ? list(rank, 1, 1) : list(rank, 1, 3),
      padding: list(2 * rank, 0, i % 4 === 0 ? 12 : 2), // by and by more than the taps reach
      dilation: list(rank, 1, i % 6 === 0 ? 9 : 2),
      groups,
    };
    const x = [draw(1, 4), groups * c, ...list(rank, i % 6 === 0 ? 46 : 11, [0, 4000, 150, 60][rank]!)];
    const w = [groups * o, c, ...list(rank, 1, i % 7 === 0 ? 6 : 4)];
    const g = convGeometry(x, w, attrs);
    const sizes = [
      ...[g.n, g.c, ...toThree(g.size, 1), g.o, ...toThree(g.kernel, 1), ...toThree(attrs.stride, 1)],
      ...[...toThree(begins(attrs), 0), ...toThree(attrs.dilation, 1), groups, ...toThree(g.out, 1)],
    ];
    convKinds.forEach((kind, k) => {
      const what = `${kind} ${JSON.stringify({ x, w, attrs })}`;
      expect(convWorkspace(kind, g, attrs), what).toBe(exported(k, ...sizes));
    });
  }
});
