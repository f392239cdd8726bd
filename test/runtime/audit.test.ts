import { describe, expect, it } from 'vitest';
import type { TensorType } from '../../src/core/types.ts';
import { type Buffer, type ComputeInstruction, memoryCategories } from '../../src/program/instruction.ts';
import { Audit } from '../../src/runtime/audit.ts';
import type { DeviceImage } from '../../src/runtime/device-image.ts';
import { fillWords, type PoisonKind, poisonWord } from '../../src/runtime/poison.ts';

const temporaries = memoryCategories.indexOf('temporaries');
const WORKSPACE = 64;

/** One instruction: it writes 16 bytes at 0 and has bytes 64 to 96 for workspace. */
function image(): DeviceImage {
  const type: TensorType = { dtype: 'f32', shape: [4] };
  const common = { category: 'temporaries', persistent: null } as const;
  const buffers: Buffer[] = [
    { id: 0, name: 'y@0', type, bytes: 16, ...common },
    { id: 1, name: 'workspace', type: { dtype: 'f32', shape: [8] }, bytes: 32, ...common },
  ];
  const compute: ComputeInstruction = {
    kind: 'compute',
    task: '0F0',
    microbatch: 0,
    node: 'sum',
    op: 'sum',
    parts: [],
    inputs: [],
    outputs: [0],
    workspace: 1,
    overwrites: null,
    flops: 0,
    bytes: 0,
  };
  return {
    program: { device: 0, buffers, instructions: [compute] },
    offsets: [0, WORKSPACE],
    peerOffsets: [],
    deaths: [[0, 1]],
    persistent: [],
    feeds: [],
    results: [],
  };
}

/** What the audit says of a step whose kernel leaves `left` in the words of its workspace. */
function stepLeaving(left: (poison: number, word: number) => number, kind: PoisonKind) {
  const memory = new ArrayBuffer(256);
  const poison = poisonWord(kind);
  fillWords(memory, 0, 256, poison);
  const audit = new Audit(memory, 0, poison);
  const step = image();
  audit.start();
  audit.before(step, 0);
  new Float32Array(memory, 0, 4).fill(1);
  const words = new Int32Array(memory, WORKSPACE, 8);
  for (let i = 0; i < 8; i++) words[i] = left(poison, i);
  audit.after(step, 0);
  audit.finish(step);
  return { live: audit.report().liveBytes[0]![temporaries], peak: audit.peakBytes };
}

describe.each(['standard', 'complement'] as const)('an audit of a workspace, poison %s', (kind) => {
  it('takes its extent, whatever is left in it', () => {
    expect(stepLeaving(() => 1, kind)).toEqual({ live: 48, peak: 96 });
    // The low half of an f64: any word at all, poison's last bytes and the whole of it among them.
    expect(stepLeaving((poison, i) => (i % 2 === 0 ? (poison & 0xff000000) | i : 1), kind).live).toBe(48);
    expect(stepLeaving((poison, i) => (i % 2 === 0 ? poison : 1), kind).live).toBe(48);
    // At its very end too, where the peak is measured.
    expect(stepLeaving((poison) => (poison & 0xffff0000) | 5, kind)).toEqual({ live: 48, peak: 96 });
  });

  it('whose end the kernel left alone is an error: it is larger than it need be', () => {
    const reserved = 0x7d1b2e93;
    expect(() => stepLeaving((_, i) => (i === 7 ? reserved : 1), kind)).toThrow(/left the end of workspace unwritten/);
  });
});
