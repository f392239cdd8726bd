import type { TensorType } from '../core/types.ts';
import type { KernelCall, NodeSignature } from '../lower/kernel-call.ts';

/**
 * A step as data: per device a list of instructions. The validator, the memory planner, the simulator, the trace and the
 * devices all read this list; nothing else decides what a device does.
 *
 * Hazards of passing data between devices, and what rules them out:
 *
 *     sender                                  receiver
 *       │                                       ├─ post b       [1] b's bytes are the sender's from here …
 *       ├─ compute v                            │
 *       ├─ send v ──── waits for the post ──►   │               [2] … so nobody else may live there
 *       │                 copies, rings         ├─ receive b    [3] … until the message has arrived
 *       ├─ (v may be overwritten) [4]           ├─ compute … b
 *
 * [1] a buffer is alive from its post; [2] the memory plan sees the post as the buffer's birth; [3] instructions that read
 * b stand behind its receive; [4] the copy is complete when send returns. Messages between two devices are posted, sent
 * and numbered in one order, the sender's. A cycle of sends waiting for posts cannot occur: `validate.ts` plays the
 * program before it is used, and `build.ts` posts earlier until it passes.
 */
export type Instruction =
  | ComputeInstruction
  /** Makes `buffer` ready to take message `message` of device `from`. */
  | { readonly kind: 'post'; readonly from: number; readonly message: number; readonly buffer: number }
  /** Waits until message `message` of device `from` is in `buffer`. */
  | {
      readonly kind: 'receive';
      readonly from: number;
      readonly message: number;
      readonly buffer: number;
      readonly microbatch: number | null;
    }
  /** Waits for the post of message `message` at device `to`, then copies `buffer` into `toBuffer` there. */
  | {
      readonly kind: 'send';
      readonly to: number;
      readonly message: number;
      readonly buffer: number;
      readonly toBuffer: number;
      readonly microbatch: number | null;
    }
  /** Copies a chunk of a fed tensor from the host's staging area. */
  | { readonly kind: 'input'; readonly feed: string; readonly microbatch: number | null; readonly buffer: number }
  /** Copies a result to the host's staging area. */
  | { readonly kind: 'output'; readonly result: string; readonly microbatch: number | null; readonly buffer: number }
  /** Waits until every device is here: updates start only when all gradients are complete. */
  | { readonly kind: 'barrier'; readonly name: 'gradients' }
  /** Copies `from` to `buffer`: an assignment whose update was not computed in place. */
  | { readonly kind: 'copy'; readonly from: number; readonly buffer: number };

export interface ComputeInstruction {
  readonly kind: 'compute';
  /** `2F0`: stage, kind and microbatch; `U` for the step region. */
  readonly task: string;
  readonly microbatch: number | null;
  readonly node: string;
  readonly op: string;
  /** What runs, one behind the other. */
  readonly parts: readonly Part[];
  /** All buffers that the parts read and write; a node's own are in its order. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly workspace: number | null;
  /** The input that dies here and whose bytes `outputs[0]` takes over; null: the output has bytes of its own. */
  readonly overwrites: number | null;
  /** FLOPs and bytes of all parts. */
  readonly flops: number;
  readonly bytes: number;
}

/** A node's kernels, run `repeat` times: once for a microbatch as a whole, or once for each of its samples. */
export interface Part {
  readonly signature: NodeSignature;
  readonly calls: readonly KernelCall[];
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  /** Positions of the inputs that output 0 may be written over, element by element in the same places. */
  readonly overwritable: readonly number[];
  readonly repeat: number;
  /** Of one repetition, for cost models. */
  readonly flops: number;
  readonly bytes: number;
}

/** Bytes of a buffer: from `plus` on, and `stride` further at each repetition. */
export interface Place {
  readonly buffer: number;
  readonly plus: number;
  readonly stride: number;
}

export const memoryCategories = [
  'parameters',
  'gradients',
  'optimizerState',
  'savedActivations',
  'temporaries',
  'communication',
  'inputs',
] as const;
/**
 * What bytes are for. `parameters` include constants (masks, index tables); `gradients` every sum over microbatches;
 * `savedActivations` forward values that a backward task reads, received ones too; `communication` other received values.
 */
export type MemoryCategory = (typeof memoryCategories)[number];

/** A value's place in one device's memory. */
export interface Buffer {
  readonly id: number;
  /** `encoder.0.relu@2`: value and microbatch. */
  readonly name: string;
  readonly type: TensorType;
  readonly bytes: number;
  readonly category: MemoryCategory;
  /** Lives from load to close: the name of its parameter, state or constant. */
  readonly persistent: string | null;
  /** Where its bytes are some of another buffer's, which lives as long as it does; absent: they are its own. */
  readonly view?: { readonly of: number; readonly plus: number };
}

/** The buffer whose bytes a buffer has: itself, or what it is a view of. */
export const ownerOf = (buffers: readonly Buffer[], id: number): number => buffers[id]!.view?.of ?? id;

/** What the order of a device's tasks does to its memory. */
export interface TaskOrder {
  /** Most bytes alive at once, without what lives from load to close: with all tasks in the graph's order, and as they run. */
  readonly graphOrderBytes: number;
  readonly bytes: number;
  /** The tasks that run in another order, such as `0BW1`. */
  readonly tasks: readonly string[];
  /** No order within the task that holds the peak is better. */
  readonly exact: boolean;
}

export interface DeviceProgram {
  readonly device: number;
  readonly buffers: readonly Buffer[];
  readonly instructions: readonly Instruction[];
}

/** One chunk of a tensor in the staging area that the host shares with the devices. */
export interface StagedTensor {
  readonly name: string;
  /** Type of the whole tensor (all microbatches). */
  readonly type: TensorType;
  /** The axis that is cut into microbatches; null: one piece. */
  readonly axis: number | null;
  /** Byte offset of each microbatch's chunk (one entry where `axis` is null). */
  readonly offsets: readonly number[];
  /** The tensors it is stored as, in order along `axis`: a chunk's, or each sample's, one behind the other. */
  readonly pieces: readonly { readonly offset: number; readonly type: TensorType }[];
}

export interface StepProgram {
  readonly microbatches: number;
  /** Samples in each microbatch. */
  readonly chunks: readonly number[];
  readonly devices: readonly DeviceProgram[];
  /** By device. */
  readonly orders: readonly TaskOrder[];
  readonly feeds: readonly StagedTensor[];
  readonly results: readonly StagedTensor[];
  readonly feedBytes: number;
  readonly resultBytes: number;
}

/** `fc1.matmul@3 on device 2` */
export function describe(instruction: Instruction, program: DeviceProgram): string {
  const at = (m: number | null) => (m === null ? '' : ` (microbatch ${m})`);
  const name = (id: number) => program.buffers[id]!.name;
  switch (instruction.kind) {
    case 'compute':
      return `${instruction.task} ${instruction.node} (${instruction.op})`;
    case 'post':
      return `post ${name(instruction.buffer)} for message ${instruction.message} of device ${instruction.from}`;
    case 'receive':
      return `receive ${name(instruction.buffer)} from device ${instruction.from}${at(instruction.microbatch)}`;
    case 'send':
      return `send ${name(instruction.buffer)} to device ${instruction.to}${at(instruction.microbatch)}`;
    case 'input':
      return `input ${instruction.feed}${at(instruction.microbatch)}`;
    case 'output':
      return `output ${instruction.result}${at(instruction.microbatch)}`;
    case 'barrier':
      return `barrier ${instruction.name}`;
    case 'copy':
      return `copy ${name(instruction.from)} to ${name(instruction.buffer)}`;
  }
}

const none: readonly number[] = [];

/** Buffers that an instruction reads and writes (workspace and posted buffers among the written). */
export function touches(instruction: Instruction): { reads: readonly number[]; writes: readonly number[] } {
  switch (instruction.kind) {
    case 'compute':
      return {
        reads: instruction.inputs,
        writes: instruction.workspace === null ? instruction.outputs : [...instruction.outputs, instruction.workspace],
      };
    case 'post':
    case 'receive':
    case 'input':
      return { reads: none, writes: [instruction.buffer] };
    case 'send':
    case 'output':
      return { reads: [instruction.buffer], writes: none };
    case 'barrier':
      return { reads: none, writes: none };
    case 'copy':
      return { reads: [instruction.from], writes: [instruction.buffer] };
  }
}
