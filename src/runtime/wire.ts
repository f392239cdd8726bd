import type { BlasLibrary } from '../lower/blas/index.ts';
import type { ComputingBackend } from '../lower/kernel-call.ts';
import type { DeviceImage, Fault, StepReport } from './device-image.ts';
import type { PoisonKind } from './poison.ts';

/** The protocol between coordinator and device worker. A change of meaning raises the version. */
export const WIRE_VERSION = 5;

/** The first message on a worker's port: what device it is. */
export interface DeviceStart {
  readonly version: number;
  readonly device: number;
  readonly backend: ComputingBackend;
  /** Compiled once by the coordinator. */
  readonly kernels: WebAssembly.Module;
  /** Of devices with the backend `blas`. */
  readonly blas: BlasLibrary | undefined;
  readonly control: SharedArrayBuffer;
  readonly devices: number;
  /** Memories of all devices: a sender writes into the receiver's. */
  readonly memories: readonly WebAssembly.Memory[];
  readonly poison: PoisonKind;
  readonly audit: boolean;
  readonly faults: readonly Fault[];
  /** For how long it looks on for others before it sleeps, where nobody else wants its core. */
  readonly lookSeconds: number;
  /** The system's account of the host's thread, where devices leave it no core of its own (`CoreWatch`). */
  readonly hostAccount: string | undefined;
}

/**
 * What the coordinator asks of a device between steps; each call is answered or rejected. Behind each it counts mail in the
 * control block, since a device sleeps there. Steps are no calls: they are given in the control block (`Control.give`), and the
 * last device to end one, or any that fails, sends STEP_ENDED.
 */
export interface DeviceApi {
  load(name: string, image: DeviceImage, times: SharedArrayBuffer): void;
  attachStaging(feeds: readonly SharedArrayBuffer[], results: readonly SharedArrayBuffer[]): void;
  /** Of an order whose outcome is `detailed`, one of the latest two; throws the error that ended it. */
  takeReport(order: number): StepReport;
  measurePeak(): number;
  shutdown(): void;
}

/** Beside the calls' answers, which are objects. */
export const STEP_ENDED = 'step ended';
