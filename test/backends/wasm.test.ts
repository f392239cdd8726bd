import { describe, expect, it } from 'vitest';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { createReferenceBackend } from '../../src/backends/reference/reference-backend.ts';
import { close } from '../../src/backends/wasm/close.ts';
import { createWasmBackend } from '../../src/backends/wasm/wasm-backend.ts';
import type { NodeSignature } from '../../src/lower/kernel-call.ts';
import { input, output } from '../../src/lower/kernel-call.ts';
import { gemmWorkspace } from '../../src/lower/wasm/workspace.ts';

const sharedMemory = () => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const vector = { dtype: 'f32', shape: [3] } as const;
const node: NodeSignature = { op: 'neg', inputs: [vector], outputs: [vector], attrs: {} };

describe('wasm backend', () => {
  it('compiles the kernels once a process', async () => {
    expect(await kernelsModule()).toBe(await kernelsModule());
  });

  it('refuses kernels it does not have and argument lists that do not fit', async () => {
    const backend = createWasmBackend(await kernelsModule(), sharedMemory());
    const at = { inputs: [0], outputs: [16], workspace: 0 };
    expect(() => backend.bind({ kernel: 'nope', args: [] }, node, at)).toThrow(/neg needs the kernel nope/);
    const short = { kernel: 'neg', args: [3, input(0)] };
    expect(() => backend.bind(short, node, at)).toThrow(/kernel neg takes 3 arguments and neg was lowered to 2/);
  });

  it('adds byte offsets to operands', async () => {
    const memory = sharedMemory();
    const floats = new Float32Array(memory.buffer);
    floats.set([1, 2, 3, 4], 0);
    const backend = createWasmBackend(await kernelsModule(), memory);
    const call = { kernel: 'neg', args: [2, input(0, 8), output(0, 4)] };
    backend.bind(call, node, { inputs: [0], outputs: [64], workspace: 0 })();
    expect([...floats.subarray(16, 20)]).toEqual([0, -3, -4, 0]);
  });

  it('binds every number of arguments in order', () => {
    for (let n = 1; n <= 24; n++) {
      const seen: number[][] = [];
      const args = Array.from({ length: n }, (_, i) => i + 1);
      close((...got) => void seen.push(got), args)();
      expect(seen).toEqual([args]);
    }
  });

  it('agrees with the kernels on the workspace of products', async () => {
    const memory = sharedMemory();
    const { exports } = new WebAssembly.Instance(await kernelsModule(), { env: { memory } });
    const exported = exports.gemmWorkspace as (m: number, n: number, k: number) => number;
    const sizes = [1, 2, 3, 7, 8, 9, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 3000];
    for (const m of sizes) {
      for (const n of sizes) {
        for (const k of sizes) expect(gemmWorkspace(m, n, k), `${m} ${n} ${k}`).toBe(exported(m, n, k));
      }
    }
  });
});

describe.each(['wasm', 'reference'] as const)('accumulate on %s', (kind) => {
  it('copies the first microbatch and adds the later ones', async () => {
    const memory = sharedMemory();
    const floats = new Float32Array(memory.buffer);
    const backend = kind === 'wasm' ? createWasmBackend(await kernelsModule(), memory) : createReferenceBackend(memory);
    const at = { inputs: [0], outputs: [64], workspace: 0 };
    floats.fill(Number.NaN);
    for (const [microbatch, x] of [
      [1, 2, 3],
      [10, 20, 30],
      [100, 200, 300],
    ].entries()) {
      floats.set(x);
      const accumulate = { ...node, op: 'accumulate', attrs: { first: microbatch === 0 } };
      for (const call of backend.lower(accumulate).calls) backend.bind(call, accumulate, at)();
    }
    expect([...floats.subarray(16, 19)]).toEqual([111, 222, 333]);
    expect(floats[19]).toBeNaN();
  });
});

describe('reference backend', () => {
  it('reads all inputs before it writes: an output may be an input', () => {
    const memory = sharedMemory();
    const floats = new Float32Array(memory.buffer);
    floats.set([1, 2, 3, 4]);
    const backend = createReferenceBackend(memory);
    const matrix = { dtype: 'f32', shape: [2, 2] } as const;
    const transpose: NodeSignature = { op: 'transpose', inputs: [matrix], outputs: [matrix], attrs: { perm: [1, 0] } };
    for (const call of backend.lower(transpose).calls) {
      backend.bind(call, transpose, { inputs: [0], outputs: [0], workspace: 0 })();
    }
    expect([...floats.subarray(0, 4)]).toEqual([1, 3, 2, 4]);
  });
});
