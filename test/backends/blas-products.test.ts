import { expect, it, vi } from 'vitest';
import type { AttentionExports } from '../../src/backends/blas/attention.ts';
import type { ConvExports } from '../../src/backends/blas/convolutions.ts';
import type { Sgemm } from '../../src/backends/blas/library.ts';
import { nativeProducts } from '../../src/backends/blas/products.ts';

const BASE = 2 ** 20;

/** What the native kernel gives to the library, call by call. */
function callsOf(kernel: string, args: readonly number[]): number[][] {
  const sgemm = vi.fn<Sgemm>();
  const memory = new WebAssembly.Memory({ initial: 1 });
  const blas = { sgemm, addressOf: () => BASE, file: 'blas.so', version: '1' };
  const none = {} as ConvExports & AttentionExports;
  const { [kernel]: bind } = nativeProducts(blas, memory, none);
  bind!(args)();
  return sgemm.mock.calls;
}

it.each([0, 1])('a product is one call with its own beta: %i', (beta) => {
  expect(callsOf('sgemm', [1, 0, 5, 6, 7, 16, 8, 400, 9, beta, 800, 10])).toEqual([
    [1, 0, 5, 6, 7, BASE + 16, 8, BASE + 400, 9, beta, BASE + 800, 10],
  ]);
});

it.each([0, 1])('products in a batch go on by their steps, each with the beta of the call: %i', (beta) => {
  const operands = [16, 35, 8, 400, 42, 9, beta, 800, 30, 10];
  expect(callsOf('sgemmBatched', [3, 0, 1, 5, 6, 7, ...operands])).toEqual(
    [0, 1, 2].map((i) => [
      ...[0, 1, 5, 6, 7, BASE + 16 + 4 * 35 * i, 8, BASE + 400 + 4 * 42 * i, 9],
      ...[beta, BASE + 800 + 4 * 30 * i, 10],
    ]),
  );
});
