import type { MessagePort } from 'node:worker_threads';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { ComputingBackend } from '../lower/kernel-call.ts';
import type { DeviceImage, Fault, StepOptions, StepReport } from './device-image.ts';
import type { PoisonKind } from './poison.ts';

/** The protocol between coordinator and device worker. A change of meaning raises the version. */
export const WIRE_VERSION = 3;

/** What a worker is started with. */
export interface DeviceStart {
  readonly version: number;
  readonly port: MessagePort;
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
}

/** What the coordinator asks of a device; each call is answered or rejected. */
export interface DeviceApi {
  load(name: string, image: DeviceImage): void;
  attachStaging(feeds: SharedArrayBuffer, results: SharedArrayBuffer): void;
  step(options: StepOptions): Promise<StepReport>;
  measurePeak(): number;
  shutdown(): void;
}
