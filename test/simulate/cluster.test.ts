import { describe, expect, it } from 'vitest';
import { analyticCosts, type CostModel } from '../../src/cost/model.ts';
import type { Instruction } from '../../src/program/instruction.ts';
import { instructionSeconds } from '../../src/simulate/cluster.ts';
import { barrier, buffersOf, compute, copy, input } from '../support/instructions.ts';

describe('what an instruction takes of its device', () => {
  // 1 s beside each, 1 s more a byte that is copied, 100 s a kernel.
  const costs: CostModel = {
    ...analyticCosts(),
    kernelSeconds: () => 100,
    instructionSeconds: (_, bytes = 0) => 1 + bytes,
  };
  const on = (instruction: Instruction, speed = 1): number =>
    instructionSeconds(instruction, { backend: 'wasm', speed }, costs, buffersOf(3));

  it('is its kernels, each as often as it runs, and what is spent beside them, on a device of that speed', () => {
    const one = compute([0], [1]);
    const [part] = one.parts;
    expect(on(one)).toBe(101);
    expect(on({ ...one, parts: [{ ...part!, repeat: 3 }, part!] })).toBe(401);
    expect(on({ ...one, parts: [] })).toBe(1);
    expect(on(one, 4)).toBe(101 / 4);
  });

  it('is the bytes that inputs, outputs and copies move, and of all others nothing', () => {
    const output: Instruction = { kind: 'output', result: 'y', microbatch: 0, buffer: 1 };
    for (const moving of [input(1), copy(0, 1), output]) expect([on(moving), on(moving, 2)]).toEqual([17, 8.5]);
    const send: Instruction = { kind: 'send', to: 1, message: 0, buffer: 1, toBuffer: 0, microbatch: 0 };
    const receive: Instruction = { kind: 'receive', from: 1, message: 0, buffer: 1, microbatch: 0 };
    for (const still of [barrier, send, receive]) expect(on(still)).toBe(1);
  });
});
