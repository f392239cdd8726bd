import type {
  Buffer,
  ComputeInstruction,
  DeviceProgram,
  Instruction,
  StepProgram,
} from '../../src/program/instruction.ts';

// Programs of a few instructions, made by hand.

/** `b0`, `b1`, …: 16 bytes that are nobody else's. */
export const bufferOf = (id: number, bytes = 16, more: Partial<Buffer> = {}): Buffer => ({
  id,
  name: `b${id}`,
  type: { dtype: 'f32', shape: [bytes / 4] },
  bytes,
  category: 'temporaries',
  persistent: null,
  ...more,
});

export const buffersOf = (count: number): Buffer[] => Array.from({ length: count }, (_, id) => bufferOf(id));

export const input = (buffer: number, feed = 'x'): Instruction => ({ kind: 'input', feed, microbatch: 0, buffer });
export const copy = (from: number, buffer: number): Instruction => ({ kind: 'copy', from, buffer });
export const barrier: Instruction = { kind: 'barrier', name: 'gradients' };

/** `allowed`: positions of inputs that the output may be written over. */
export function compute(
  inputs: readonly number[],
  outputs: readonly number[],
  {
    overwrites = null,
    allowed = [0],
    workspace = null,
  }: {
    readonly overwrites?: number | null;
    readonly allowed?: readonly number[];
    readonly workspace?: number | null;
  } = {},
): ComputeInstruction {
  const places = (ids: readonly number[]) => ids.map((id) => ({ buffer: id, plus: 0, stride: 0 }));
  const signature = { op: 'neg', inputs: [], outputs: [], attrs: {} };
  const part = { signature, calls: [], repeat: 1, flops: 0, bytes: 0, overwritable: allowed };
  return {
    kind: 'compute',
    task: '0F0',
    microbatch: 0,
    node: 'neg',
    op: 'neg',
    parts: [{ ...part, inputs: places(inputs), outputs: places(outputs) }],
    inputs,
    outputs,
    workspace,
    overwrites,
    flops: 0,
    bytes: 0,
  };
}

export const deviceOf = (
  buffers: readonly Buffer[],
  instructions: readonly Instruction[],
  device = 0,
): DeviceProgram => ({
  device,
  buffers,
  instructions,
});

export const stepOf = (devices: readonly DeviceProgram[]): StepProgram => ({
  ...{ microbatches: 1, chunks: [1], orders: [], feeds: [], results: [], feedBytes: 0, resultBytes: 0 },
  devices,
});
