import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { convKinds, convWorkspace } from '../../src/lower/wasm/conv-workspace.ts';
import { type ConvAttrs, convGeometry } from '../../src/ops/conv.ts';
import { generator } from './helpers.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const bytes = readFileSync(new URL('../../dist/kernels.wasm', import.meta.url));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const conv2dWorkspace = exports.conv2dWorkspace as (...sizes: number[]) => number;

it('the workspace of convolutions agrees with the kernels’ own', () => {
  const next = generator(5);
  const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
  for (let i = 0; i < 500; i++) {
    const groups = draw(1, 3);
    const window = i % 5 === 0 ? 1 : draw(1, 5); // 1 × 1 windows take the path without columns
    const attrs: ConvAttrs = {
      stride: i % 5 === 0 ? [1, 1] : [draw(1, 3), draw(1, 3)],
      padding: i % 5 < 2 ? [0, 0, 0, 0] : [draw(0, 2), draw(0, 2), draw(0, 2), draw(0, 2)],
      dilation: [draw(1, 2), draw(1, 2)],
      groups,
    };
    const x = [draw(1, 4), groups * draw(1, 40), draw(9, 40), draw(9, 40)];
    const w = [groups * draw(1, 80), x[1]! / groups, window, window];
    const g = convGeometry(x, w, attrs);
    const [top, left] = attrs.padding as [number, number];
    const sizes = [
      g.n,
      g.c,
      g.h,
      g.w,
      g.o,
      g.kh,
      g.kw,
      ...attrs.stride,
      top,
      left,
      ...attrs.dilation,
      groups,
      g.oh,
      g.ow,
    ];
    convKinds.forEach((kind, k) => {
      expect(convWorkspace(kind, g, attrs), `${kind} ${JSON.stringify({ x, w, attrs })}`).toBe(
        conv2dWorkspace(k, ...sizes),
      );
    });
  }
});
