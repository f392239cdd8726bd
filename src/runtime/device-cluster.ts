import { DeviceError, PlanError, UsageError } from '../core/errors.ts';
import { formatBytes } from '../core/format.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { ComputingBackend, SimdVariant } from '../lower/kernel-call.ts';
import type { DeviceImage, Fault, StepOptions, StepReport } from './device-image.ts';
import type { DeviceThreads } from './device-threads.ts';
import type { PoisonKind } from './poison.ts';

/**
 * The coordinator's side of a group of devices, whatever carries them (threads, this thread, later processes).
 *
 * The first failure ends the group: every device is told, every call under way is rejected with it, and each later call
 * throws `session-failed`, so that nothing half-updated is ever read. `close` joins everything, is idempotent and safe in
 * every state.
 */
export interface DeviceCluster extends AsyncDisposable {
  readonly devices: number;
  /** Gives every device its program of this name. */
  load(name: string, images: readonly DeviceImage[]): Promise<void>;
  /** Areas shared with the host, before the first program: those that tensors are fed through, and those of the results. */
  attachStaging(feeds: readonly SharedArrayBuffer[], results: readonly SharedArrayBuffer[]): Promise<void>;
  write(device: number, offset: number, data: Uint8Array): Promise<void>;
  /** Has `fill` write these bytes, where it can be in the device's memory itself. */
  fill(device: number, offset: number, bytes: number, fill: (target: Uint8Array) => void): Promise<void>;
  read(device: number, offset: number, bytes: number): Promise<Uint8Array>;
  /** The end of the highest byte each device has ever written, found in its memory. */
  measurePeaks(): Promise<number[]>;
  /** Runs one step on all devices, which have begun when this returns; `predict` gives the hang limit. */
  step(options: StepOptions, predict: PredictSeconds, signal?: AbortSignal): Promise<StepReport[]>;
  /**
   * Has the devices begin a step behind the one under way, before it is asked for: they hold it at its barrier. The next
   * `step` is to be of the same options, and takes it up; a failure in it is that step's. False where the group cannot. The
   * program must be one that may (`mayBeginAhead`).
   */
  begin(options: StepOptions, predict: PredictSeconds): boolean;
  /**
   * Has the devices leave what they have begun and nobody has asked for: to be called before anything but that step and
   * reading. Resolves when nothing of it is left, a failure in it included.
   */
  forgo(): Promise<void>;
  /** Ends the step under way on every device; the group is failed from then on. */
  abort(reason?: unknown): void;
  close(): Promise<void>;
}

export interface DeviceSpec {
  readonly backend: ComputingBackend;
  /** Which kernels a WebAssembly device runs; default `strict`. */
  readonly simd?: SimdVariant | undefined;
  /** Planned bytes: the memory has just the pages this needs. */
  readonly bytes: number;
  /** Capacity in bytes, rounded down to pages: the memory's maximum. null: as much as needed. */
  readonly capacity: number | null;
}

export interface ClusterOptions {
  /** For devices with the backend `blas`; proven to bear several threads at once. */
  readonly blas?: BlasLibrary | undefined;
  readonly audit?: boolean;
  readonly poison?: PoisonKind;
  /** Faults to provoke, by device; for tests of the failure paths. */
  readonly faults?: Readonly<Record<number, readonly Fault[]>>;
  /** A running instruction counts as stuck after max(2 s, this × its predicted time). Default 100. */
  readonly hangFactor?: number;
  /** JavaScript heap of a device's thread, MB; tensors lie outside it. Default 512. */
  readonly heapMegabytes?: number;
  /**
   * For how long a device's thread that waits looks on (spins) before it sleeps, in seconds, where nobody else wants its core:
   * waking it takes longer than many a wait, and threads that sleep in turns end up on one core. At most a tenth of a second,
   * default 4 ms; 0: it sleeps at once. More devices than cores never look on, nor do those of transport `local`.
   */
  readonly lookSeconds?: number;
  /**
   * Threads that were started before there was a plan; where they do not suffice, more are started.
   * @internal Its type is one of another package.
   */
  readonly threads?: Pick<DeviceThreads, 'take'> | undefined;
  /** Ends the start, with the signal's reason as the error; what has started by then is closed. */
  readonly signal?: AbortSignal | undefined;
}

/** Longer, one that looks on would be taken for stuck, and would not hear in time that a step has ended. */
const MOST_LOOK_SECONDS = 0.1;

export function refuseLook(lookSeconds: number): void {
  if (lookSeconds >= 0 && lookSeconds <= MOST_LOOK_SECONDS) return;
  throw new UsageError(
    'look-seconds',
    `lookSeconds: a device looks on for 0 to ${MOST_LOOK_SECONDS} s before it sleeps, not ${lookSeconds}`,
    { fields: { lookSeconds }, remedy: 'lookSeconds: 0.004, or 0 to sleep at once' },
  );
}

/** Seconds an instruction is expected to take, for the hang limit. */
export type PredictSeconds = (device: number, instruction: number) => number;

/** The first failure of a group: what ended it, and what every later call is told. */
export class FirstFailure {
  error: Error | undefined;

  /** Keeps the first. */
  note(error: Error): void {
    this.error ??= error;
  }

  throwIfAny(): void {
    if (!this.error) return;
    throw new DeviceError('session-failed', `the session has ended: ${this.error.message}`, {
      cause: this.error,
      fields: this.error instanceof DeviceError ? { ...this.error.fields } : {},
      remedy: 'start a new session',
    });
  }
}

export const abortedBy = (reason: unknown): DeviceError =>
  new DeviceError(
    'aborted',
    `the step was aborted${reason instanceof Error && reason.message ? `: ${reason.message}` : ''}`,
    {
      cause: reason,
      remedy: 'start a new session',
    },
  );

export const closed = (): DeviceError =>
  new DeviceError('closed', 'the session is closed', { remedy: 'start a new session' });

const PAGE = 65536;
/** What a wasm memory can hold at most (32-bit addresses). */
const MAX_PAGES = 65536;

/**
 * A device's memory: as many pages as planned, growing never past the capacity. Throws PlanError where it cannot be.
 * @internal Its type is one of the DOM's or Node's.
 */
export function createMemory(device: number, spec: DeviceSpec): WebAssembly.Memory {
  const initial = Math.max(1, Math.ceil(spec.bytes / PAGE));
  const maximum = Math.min(MAX_PAGES, spec.capacity === null ? initial : Math.floor(spec.capacity / PAGE));
  if (initial > maximum) {
    throw new PlanError(
      'capacity-exceeded',
      `device ${device} needs ${formatBytes(spec.bytes)} and has ${formatBytes(maximum * PAGE)}`,
      {
        fields: { device, needBytes: spec.bytes, capacityBytes: maximum * PAGE },
        remedy: 'use more devices, more microbatches, or a larger --memory',
      },
    );
  }
  return new WebAssembly.Memory({ initial, maximum, shared: true });
}
