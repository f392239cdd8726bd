import { type Instruction, type StepProgram, describe as tell } from '../program/instruction.ts';
import { type Cluster, workSeconds } from './cluster.ts';

/**
 * What the simulator sees of an instruction. A device's actions are read one by one and never twice, so they may be made
 * as they are read: a program for thousands of devices need never exist as a whole.
 *
 * Messages of a pair of devices are numbered from 0 in the order in which they are sent, and posted in that order.
 */
export type Action =
  /** Kernels, copies within the device, inputs and outputs: whatever occupies the device and concerns no other. */
  | { readonly kind: 'work'; readonly seconds: number; readonly computes: boolean }
  | { readonly kind: 'post'; readonly from: number; readonly message: number }
  | { readonly kind: 'send'; readonly to: number; readonly message: number; readonly bytes: number }
  | { readonly kind: 'receive'; readonly from: number; readonly message: number }
  | { readonly kind: 'barrier' };

export interface ActionSource {
  readonly devices: number;
  readonly actions: (device: number) => Iterator<Action>;
  /** The action in words, for errors and reports. */
  readonly describe: (device: number, index: number) => string;
  /** The task it belongs to (`2F0`), where it belongs to one. */
  readonly task: (device: number, index: number) => string | null;
}

const barrier: Action = { kind: 'barrier' };

/** A step's program as the simulator reads it: action i of a device is its instruction i. */
export function actionsOf(program: StepProgram, cluster: Cluster): ActionSource {
  const instruction = (device: number, index: number) => program.devices[device]!.instructions[index]!;
  const action = (i: Instruction, device: number): Action => {
    switch (i.kind) {
      case 'post':
      case 'receive':
        return i;
      case 'send':
        return {
          kind: 'send',
          to: i.to,
          message: i.message,
          bytes: program.devices[device]!.buffers[i.buffer]!.bytes,
        };
      case 'barrier':
        return barrier;
      default:
        return { kind: 'work', seconds: workSeconds(i, cluster, device), computes: i.kind === 'compute' };
    }
  };
  return {
    devices: program.devices.length,
    *actions(device) {
      for (const i of program.devices[device]!.instructions) yield action(i, device);
    },
    describe: (device, index) => tell(instruction(device, index), program.devices[device]!),
    task: (device, index) => {
      const i = instruction(device, index);
      return i.kind === 'compute' ? i.task : null;
    },
  };
}
