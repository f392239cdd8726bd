import type { BackendName, KernelCall, Lowered, NodeSignature } from '../lower/kernel-call.ts';

/**
 * The contract between a device and what computes on it.
 *
 * - A backend works in one device's memory: byte offsets in, results at byte offsets out. It allocates nothing there.
 * - `lower` is pure: the same node gives the same calls, whatever the partition, schedule or device. This fixes the bits.
 * - Calls bound by `bind` run in the order they are started. A synchronous backend returns nothing; an asynchronous one
 *   (WebGPU) returns a promise that resolves once the results are in memory and may be sent.
 * - Errors thrown by a kernel (an index out of range traps) end the step; the device adds its place.
 */
export interface Backend {
  readonly name: BackendName;
  lower(node: NodeSignature): Lowered;
  /** Resolves the call's operands; the returned function runs it, any number of times. */
  bind(call: KernelCall, node: NodeSignature, at: Binding): BoundCall;
}

/** Byte offsets of a node's operands in the device's memory. */
export interface Binding {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly workspace: number;
}

export type BoundCall = () => void | Promise<void>;
