import type { DeviceProgram, MemoryCategory, StagedTensor } from '../program/instruction.ts';

/** A program with its addresses: all that a device needs to run a step. Plain data, sent once. */
export interface DeviceImage {
  readonly program: DeviceProgram;
  /** Byte offset of every buffer in this device's memory; −1: never alive. */
  readonly offsets: readonly number[];
  /** Byte offsets of the buffers of every device, for sends. */
  readonly peerOffsets: readonly (readonly number[])[];
  /** Buffers that die behind each instruction. */
  readonly deaths: readonly (readonly number[])[];
  /** Everything that lives from load to close on this device, other programs' constants too. */
  readonly persistent: readonly {
    readonly offset: number;
    readonly bytes: number;
    readonly category: MemoryCategory;
  }[];
  readonly feeds: readonly StagedTensor[];
  readonly results: readonly StagedTensor[];
}

/** A fault to provoke, for tests of the failure paths: on this instruction of this step (counted from 0). */
export const faultKinds = ['throw', 'exit', 'hang', 'out-of-memory', 'delay', 'wild-write', 'read-poison'] as const;

export interface Fault {
  readonly kind: (typeof faultKinds)[number];
  readonly step: number;
  readonly instruction: number;
  /** For `delay`. */
  readonly seconds?: number;
}

export interface StepOptions {
  readonly program: string;
  /** Counted by the session from 0. */
  readonly step: number;
  /** Record start and end of every instruction. */
  readonly profile?: boolean;
  /** Which of the staging areas its feeds and results lie in; default the first. */
  readonly area?: number;
  /** The order that the device holds at the barrier until the host has decided on it; default: it goes on by itself. */
  readonly ahead?: number;
}

export interface StepReport {
  readonly seconds: number;
  /** Time not spent waiting for other devices. */
  readonly busySeconds: number;
  /** Start and end of each instruction, milliseconds of a clock that all devices share, when profiling. */
  readonly times: Float64Array | null;
  /** Audit mode: measured live bytes behind each instruction, by category of the range they lie in. */
  readonly audit: AuditReport | null;
  /** Of null devices, whose seconds tell nothing: what the step was made of. */
  readonly played?: PlayedStep;
}

export interface PlayedStep {
  readonly instructions: number;
  /** Sent to other devices, and their bytes. */
  readonly messages: number;
  readonly sentBytes: number;
}

export interface AuditReport {
  /** One row an instruction: live bytes in the order of `memoryCategories`. */
  readonly liveBytes: readonly (readonly number[])[];
}
