import { byteSize } from '../core/types.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import type { Cost } from '../graph/op-record.ts';

/** How fast a device computes, as a roofline. */
export interface DeviceModel {
  /** Peak of arithmetic. */
  readonly flopsPerSecond: number;
  /** Peak of memory traffic, read and written. */
  readonly bytesPerSecond: number;
  /** Spent on each kernel whatever its size. */
  readonly secondsPerKernel: number;
  /** Factor on all of the above: 2 is twice as fast. */
  readonly speed: number;
}

/** How fast values travel between two devices. */
export interface LinkModel {
  readonly bytesPerSecond: number;
  readonly secondsLatency: number;
  /** What a message costs its sender beside the copy: ringing the receiver. Default: nothing. */
  readonly secondsSend?: number;
  /**
   * The latency is that of waking a device which sleeps, as between threads: one that comes when the value is there does
   * not wait, and one that sleeps for a place to send to, or at a barrier, wakes as late. Default: the value itself is on
   * its way for so long.
   */
  readonly wakes?: boolean;
  /** With `wakes`: who has waited no longer looks on still, and goes on at once. Default: nobody looks on. */
  readonly secondsLook?: number;
}

/**
 * Default: one core running the WebAssembly kernels. Orders of magnitude of a recent desktop core with 128-bit SIMD, for
 * plans made before anything was measured; profiles replace them.
 */
export const defaultDevice: DeviceModel = {
  flopsPerSecond: 45e9,
  bytesPerSecond: 10e9,
  secondsPerKernel: 0.5e-6,
  speed: 1,
};

/**
 * The same core with a native BLAS: its wider registers make products several times as fast, and what is not a product is
 * bound by traffic either way.
 */
export const withNativeProducts = (device: DeviceModel): DeviceModel => ({
  ...device,
  flopsPerSecond: 2.5 * device.flopsPerSecond,
});

/**
 * The reference backend computes element by element in JavaScript and f64: a few tens of millions of operations a second.
 */
export const referenceDevice: DeviceModel = {
  flopsPerSecond: 30e6,
  bytesPerSecond: 200e6,
  secondsPerKernel: 20e-6,
  speed: 1,
};

/**
 * For how long a thread looks on before it sleeps, where nobody else wants its core: what devices wait for each other within
 * a step of a few milliseconds, many times what waking it would take. The run time's own figures.
 */
export const LOOK_SECONDS = 4e-3;
/** The most behind a step, where the host may want a core to say what comes next. */
export const LOOK_FOR_WORK_SECONDS = 5e-4;
/** The same where others may want it, or nobody tells: what falling asleep takes, so that looking on costs no more than it may save. */
export const BRIEF_LOOK_SECONDS = 10e-6;

/** Default: a copy between two workers' memories, and waking the receiver (a futex: about 3 µs). */
export const defaultLink: LinkModel = { bytesPerSecond: 8e9, secondsLatency: 3e-6, wakes: true };

/** FLOPs and bytes of one run of a node by its op's record. Sources and aliases run no kernel and cost nothing. */
export function nodeCost(node: Node): Cost {
  if (!node.op || node.op.alias) return { flops: 0, bytes: 0 };
  return node.op.cost(
    node.inputs.map((t) => t.type),
    node.outputs.map((t) => t.type),
    node.attrs,
  );
}

/** Roofline (Williams, Waterman, Patterson 2009): arithmetic and traffic overlap, the slower one counts. */
export function costSeconds(cost: Cost, device: DeviceModel = defaultDevice): number {
  const seconds = Math.max(cost.flops / device.flopsPerSecond, cost.bytes / device.bytesPerSecond);
  return (seconds + device.secondsPerKernel) / device.speed;
}

/** Seconds until `messages` messages of `bytes` bytes together have arrived. */
export const transferSeconds = (bytes: number, messages = 1, link: LinkModel = defaultLink): number =>
  messages === 0 ? 0 : bytes / link.bytesPerSecond + messages * link.secondsLatency;

/** Predicted seconds to send one value. */
export const tensorSeconds = (tensor: Tensor, link: LinkModel = defaultLink): number =>
  transferSeconds(byteSize(tensor.type), 1, link);
