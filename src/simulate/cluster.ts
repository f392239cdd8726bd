import { costSeconds, type DeviceModel, type LinkModel } from '../cost/analytic.ts';
import type { CostModel } from '../cost/model.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import type { Instruction } from '../program/instruction.ts';

export interface SimulatedDevice {
  readonly backend: BackendName;
  /** Factor on the speed of all it computes. */
  readonly speed: number;
  /** A roofline of its own, which counts instead of the cost model's kernels. */
  readonly model?: DeviceModel;
}

/**
 * A capacity that several links use at once: a node's network card, a bus, a memory. The transfers under way share it
 * max-min fairly: none gets more while another that has less could have it.
 */
export interface Medium {
  readonly name: string;
  readonly bytesPerSecond: number;
  /** Whether transfers from one device to another pass through it. */
  readonly carries: (from: number, to: number) => boolean;
}

/** Where a program is played: nothing of it needs to exist. */
export interface Cluster {
  readonly devices: readonly SimulatedDevice[];
  readonly costs: CostModel;
  /**
   * What links share; default nothing. Devices of one machine are such: a transfer is a copy by the sender's own thread, so
   * a device makes one at a time, and the memory's bandwidth is a medium where it is known.
   */
  readonly media?: readonly Medium[];
}

export const linkOf = ({ costs }: Cluster, from: number, to: number): LinkModel => costs.link(from, to);

/** Seconds that an instruction occupies its device, without waiting and transfers; posts, receives and barriers none. */
export function workSeconds(instruction: Instruction, { devices, costs }: Cluster, device: number): number {
  return instructionSeconds(instruction, devices[device]!, costs);
}

/** The same for one device. */
export function instructionSeconds(instruction: Instruction, device: SimulatedDevice, costs: CostModel): number {
  const { backend, speed, model } = device;
  if (instruction.kind !== 'compute') {
    return model ? model.secondsPerKernel / (model.speed * speed) : costs.instructionSeconds(backend) / speed;
  }
  return (
    instruction.parts.reduce(
      (sum, part) => sum + part.repeat * (model ? costSeconds(part, model) : costs.kernelSeconds(part, backend)),
      0,
    ) / speed
  );
}
