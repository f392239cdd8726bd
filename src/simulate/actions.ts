import { type Instruction, type StepProgram, describe as tell } from '../program/instruction.ts';
import { requireProgram } from '../program/require-program.ts';
import { type Cluster, instructionSeconds } from './cluster.ts';

export const actionKinds = ['compute', 'other', 'post', 'send', 'receive', 'barrier'] as const;
/** `other`: inputs, outputs and copies within the device. */
export type ActionKind = (typeof actionKinds)[number];

/**
 * What the simulator sees of an instruction. A device's actions are read one by one and never twice, so they may be made
 * as they are read: a program for thousands of devices need never exist as a whole. All have one shape, since millions of
 * them are read.
 *
 * Messages of a pair of devices are numbered from 0 in the order in which they are sent, and posted in that order.
 */
export interface Action {
  readonly kind: ActionKind;
  /** That it occupies its device, behind all waiting and before a transfer. */
  readonly seconds: number;
  /** The other device of a message; −1: none. */
  readonly peer: number;
  readonly message: number;
  /** Of a send. */
  readonly bytes: number;
}

const make = (kind: ActionKind, seconds: number, peer: number, message: number, bytes: number): Action => ({
  kind,
  seconds,
  peer,
  message,
  bytes,
});

/** Actions by kind; what concerns other devices takes no time of its own unless it is given. */
export const action = {
  compute: (seconds: number): Action => make('compute', seconds, -1, -1, 0),
  other: (seconds: number): Action => make('other', seconds, -1, -1, 0),
  post: (from: number, message: number, seconds = 0): Action => make('post', seconds, from, message, 0),
  send: (to: number, message: number, bytes: number, seconds = 0): Action => make('send', seconds, to, message, bytes),
  receive: (from: number, message: number, seconds = 0): Action => make('receive', seconds, from, message, 0),
  barrier: (seconds = 0): Action => make('barrier', seconds, -1, -1, 0),
};

export interface ActionSource {
  readonly devices: number;
  readonly actions: (device: number) => Iterator<Action>;
  /** The action in words, for errors and reports. */
  readonly describe: (device: number, index: number) => string;
  /** The task it belongs to (`2F0`), where it belongs to one. */
  readonly task: (device: number, index: number) => string | null;
}

/** A step's program as the simulator reads it: action i of a device is its instruction i. */
export function actionsOf(program: StepProgram, cluster: Cluster): ActionSource {
  requireProgram('actionsOf', program);
  const instruction = (device: number, index: number) => program.devices[device]!.instructions[index]!;
  const read = (i: Instruction, device: number): Action => {
    const { buffers } = program.devices[device]!;
    const seconds = instructionSeconds(i, cluster.devices[device]!, cluster.costs, buffers);
    switch (i.kind) {
      case 'post':
      case 'receive':
        return action[i.kind](i.from, i.message, seconds);
      case 'send':
        return action.send(i.to, i.message, buffers[i.buffer]!.bytes, seconds);
      case 'barrier':
        return action.barrier(seconds);
      case 'compute':
        return action.compute(seconds);
      default:
        return action.other(seconds);
    }
  };
  return {
    devices: program.devices.length,
    *actions(device) {
      for (const i of program.devices[device]!.instructions) yield read(i, device);
    },
    describe: (device, index) => tell(instruction(device, index), program.devices[device]!),
    task: (device, index) => {
      const i = instruction(device, index);
      return i.kind === 'compute' ? i.task : null;
    },
  };
}
