import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { samplesBytes } from '../../src/lower/wasm/conv-samples.ts';
import { convKinds, convWorkspace } from '../../src/lower/wasm/conv-workspace.ts';
import { type ConvAttrs, convGeometry } from '../../src/ops/conv.ts';
import { begins, toThree } from '../../src/ops/window.ts';
import { generator } from './helpers.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
const bytes = readFileSync(new URL('../../dist/kernels.wasm', import.meta.url));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const exported = exports.convWorkspace as (...sizes: number[]) => number;

function expectSame(x: number[], w: number[], attrs: ConvAttrs): void {
  const g = convGeometry(x, w, attrs);
  const window = [g.kernel, attrs.stride].flatMap((l) => toThree(l, 1));
  const sizes = [
    ...[g.n, g.c, ...toThree(g.size, 1), g.o, ...window],
    ...[...toThree(begins(attrs), 0), ...toThree(attrs.dilation, 1), attrs.groups, ...toThree(g.out, 1)],
  ];
  convKinds.forEach((kind, k) => {
    const what = `${kind} ${JSON.stringify({ x, w, attrs })}`;
    expect(convWorkspace(kind, g, attrs), what).toBe(exported(k, ...sizes));
  });
}

it.each([1, 2, 3])('the workspace of convolutions over %i axes agrees with the kernels’ own', (rank) => {
  const next = generator(rank === 2 ? 5 : rank);
  const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
  const list = (length: number, low: number, high: number) => Array.from({ length }, () => draw(low, high));
  const largest = [0, 200, 40, 12][rank]!;
  for (let i = 0; i < 300; i++) {
    const groups = draw(1, 3);
    const small = i % 5 === 0; // windows of one element take the path without columns
    const sixteens = i % 7 === 3; // of whole sixteens of channels input gradients go pixel by pixel
    const attrs: ConvAttrs = {
      stride: small || i % 3 === 0 ? list(rank, 1, 1) : list(rank, 1, 3),
      padding: i % 5 < 2 ? list(2 * rank, 0, 0) : list(2 * rank, 0, 2),
      dilation: list(rank, 1, sixteens ? 1 : 2),
      groups,
    };
    // One channel a group every fourth time, every eighth one output of it as well; whole sixteens of outputs take several samples
    // at once where windows have taps enough.
    const x = [
      draw(1, 4),
      groups * (i % 4 === 0 ? 1 : sixteens ? 16 * draw(1, 5) : draw(1, 40)),
      ...list(rank, 9, largest),
    ];
    const w = [
      groups * (i % 8 === 0 ? 1 : i % 4 === 1 ? 16 * draw(1, 5) : draw(1, 80)),
      x[1]! / groups,
      ...(small ? list(rank, 1, 1) : list(rank, 1, 5)),
    ];
    expectSame(x, w, attrs);
  }
});

it.each([1, 2, 3])('and with many samples of small images, whose lanes they are or not, over %i axes', (rank) => {
  const next = generator(10 + rank);
  const draw = (low: number, high: number): number => low + Math.floor(((next() + 1) / 2) * (high - low + 1));
  const list = (length: number, low: number, high: number) => Array.from({ length }, () => draw(low, high));
  let chosen = 0;
  for (let i = 0; i < 400; i++) {
    const groups = draw(1, 2);
    const plain = i % 4 === 0;
    const attrs: ConvAttrs = {
      stride: plain || i % 3 > 0 ? list(rank, 1, 1) : list(rank, 1, 2),
      padding: plain ? list(2 * rank, 0, 0) : list(2 * rank, 0, 2),
      dilation: i % 5 > 0 ? list(rank, 1, 1) : list(rank, 1, 2),
      groups,
    };
    const x = [
      i % 4 === 1 ? draw(1, 4) : draw(5, 40),
      groups * draw(1, i % 2 ? 16 : 40),
      ...list(rank, plain ? 1 : 3, i % 7 === 0 ? 24 : 6),
    ];
    const taps = plain ? list(rank, 1, 1) : [...list(rank - 1, 1, 2), attrs.dilation.at(-1) === 1 ? 3 : 2];
    const w = [groups * draw(1, 20), x[1]! / groups, ...taps];
    const g = convGeometry(x, w, attrs);
    expectSame(x, w, attrs);
    if (convWorkspace('conv', g, attrs) === samplesBytes(g, attrs, false)) chosen++;
  }
  expect(chosen).toBeGreaterThan(40);
  expect(chosen).toBeLessThan(360);
});
