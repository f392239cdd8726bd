import type { DeviceModel } from '../cost/analytic.ts';
import { analyticCosts, type CostModel } from '../cost/model.ts';
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

/** Bytes of each buffer: of what an instruction copies. */
type Buffers = readonly { readonly bytes: number }[];

/** What kernels cost on a device of speed 1: by its own roofline where it has one. */
export const deviceCosts = ({ model }: SimulatedDevice, costs: CostModel): CostModel =>
  model ? rooflineOf(model) : costs;

/** Seconds that an instruction occupies its device, without waiting and transfers to other devices. */
export function instructionSeconds(
  instruction: Instruction,
  device: SimulatedDevice,
  costs: CostModel,
  buffers: Buffers,
): number {
  const { backend, speed } = device;
  const { kind } = instruction;
  const own = deviceCosts(device, costs);
  const copied = kind === 'input' || kind === 'output' || kind === 'copy' ? buffers[instruction.buffer]!.bytes : 0;
  const beside = own.instructionSeconds(backend, copied);
  if (kind !== 'compute') return beside / speed;
  return instruction.parts.reduce((sum, part) => sum + part.repeat * own.kernelSeconds(part, backend), beside) / speed;
}

const rooflines = new WeakMap<DeviceModel, CostModel>();

/** The same for every backend: the device is what it is. */
function rooflineOf(model: DeviceModel): CostModel {
  let costs = rooflines.get(model);
  if (!costs) {
    const { kernelSeconds, instructionSeconds: beside, ...rest } = analyticCosts({ device: model });
    costs = {
      ...rest,
      kernelSeconds: (run) => kernelSeconds(run, 'wasm'),
      instructionSeconds: (_, bytes) => beside('wasm', bytes),
    };
    rooflines.set(model, costs);
  }
  return costs;
}
