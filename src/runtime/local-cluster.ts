import { createBackend } from '../backends/create-backend.ts';
import { kernelsModule } from '../backends/kernels-module.ts';
import { UsageError } from '../core/errors.ts';
import { pauses } from '../partition/pause.ts';
import type { Channel, Exchange } from './channel.ts';
import { Control, StepAborted } from './control.ts';
import { Device } from './device.ts';
import {
  abortedBy,
  type ClusterOptions,
  closed,
  createMemory,
  type DeviceCluster,
  type DeviceSpec,
  FirstFailure,
  type PredictSeconds,
} from './device-cluster.ts';
import type { DeviceImage, StepOptions, StepReport } from './device-image.ts';
import { NullDevice } from './null-device.ts';

/** What the cluster asks of a device. */
type Member = Pick<Device, 'load' | 'attachStaging' | 'write' | 'fill' | 'read' | 'measurePeak' | 'step'>;

/** All devices in this thread: each waits by awaiting, and the others go on meanwhile. */
export class LocalCluster implements DeviceCluster {
  readonly #members: readonly Member[];
  readonly #control: Control;
  readonly #hub: Hub;
  readonly #failure = new FirstFailure();

  private constructor(members: readonly Member[], control: Control, hub: Hub) {
    this.#members = members;
    this.#control = control;
    this.#hub = hub;
  }

  static async start(specs: readonly DeviceSpec[], options: ClusterOptions = {}): Promise<LocalCluster> {
    const memories = specs.map((spec, device) => createMemory(device, spec));
    const kernels = await Promise.all(specs.map(({ simd }) => kernelsModule(simd)));
    const control = Control.create(specs.length);
    const hub = new Hub(control);
    const views = memories.map((m) => new Uint8Array(m.buffer));
    const members = specs.map((spec, device) => {
      const memory = memories[device]!;
      return new Device({
        device,
        memory,
        control,
        channel: new LocalChannel(control, hub, device, (to, source, target, bytes) => {
          views[to]!.set(views[device]!.subarray(source, source + bytes), target);
        }),
        backend: createBackend(spec.backend, { kernels: kernels[device]!, memory, blas: options.blas }),
        poison: options.poison ?? 'standard',
        audit: options.audit ?? false,
        faults: options.faults?.[device] ?? [],
        now: () => performance.now(),
        exit: () => {
          throw new Error('a device without a thread cannot exit');
        },
      });
    });
    return new LocalCluster(members, control, hub);
  }

  /** Devices that play their programs and nothing else: they need neither memories nor kernels, nor threads to compute in. */
  static startNull(devices: number, { audit = false, faults }: ClusterOptions = {}): LocalCluster {
    if (faults && Object.keys(faults).length > 0) {
      throw new UsageError('null-devices', 'faults: null devices compute nothing that could fail', {
        remedy: 'provoke faults on devices of another backend',
      });
    }
    const control = Control.create(devices);
    const hub = new Hub(control);
    const pause = pauses();
    const members: NullDevice[] = [];
    for (let device = 0; device < devices; device++) {
      const channel = new LocalChannel(control, hub, device, (to, _source, target, bytes) => {
        members[to]!.deliver(target, bytes);
      });
      members.push(new NullDevice({ device, control, channel, audit, pause }));
    }
    return new LocalCluster(members, control, hub);
  }

  get devices(): number {
    return this.#members.length;
  }

  async load(name: string, images: readonly DeviceImage[]): Promise<void> {
    this.#failure.throwIfAny();
    for (const [d, m] of this.#members.entries()) m.load(name, images[d]!);
  }

  async attachStaging(feeds: readonly SharedArrayBuffer[], results: readonly SharedArrayBuffer[]): Promise<void> {
    this.#failure.throwIfAny();
    for (const m of this.#members) m.attachStaging(feeds, results);
  }

  async write(device: number, offset: number, data: Uint8Array): Promise<void> {
    this.#failure.throwIfAny();
    this.#members[device]!.write(offset, data);
  }

  async fill(device: number, offset: number, bytes: number, fill: (target: Uint8Array) => void): Promise<void> {
    this.#failure.throwIfAny();
    this.#members[device]!.fill(offset, bytes, fill);
  }

  async read(device: number, offset: number, bytes: number): Promise<Uint8Array> {
    this.#failure.throwIfAny();
    return this.#members[device]!.read(offset, bytes);
  }

  async measurePeaks(): Promise<number[]> {
    this.#failure.throwIfAny();
    return this.#members.map((m) => m.measurePeak());
  }

  async step(options: StepOptions, _predict: PredictSeconds, signal?: AbortSignal): Promise<StepReport[]> {
    this.#failure.throwIfAny();
    if (signal?.aborted) throw abortedBy(signal.reason); // nothing has started: the session lives on
    const onAbort = () => this.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const results = await Promise.allSettled(
        this.#members.map((m, device) =>
          m.step(options).catch((error: Error) => {
            if (!(error instanceof StepAborted)) this.#fail(error, device);
            throw error;
          }),
        ),
      );
      const failed = results.find((r) => r.status === 'rejected');
      if (failed) throw this.#failure.error ?? failed.reason;
      if (this.#failure.error) throw this.#failure.error; // aborted behind the last instruction
      return results.map((r) => (r as PromiseFulfilledResult<StepReport>).value);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Devices that take turns in the host's thread gain nothing by it. */
  begin(): boolean {
    return false;
  }

  async forgo(): Promise<void> {}

  abort(reason?: unknown): void {
    if (this.#failure.error) return;
    this.#fail(abortedBy(reason), -1);
  }

  async close(): Promise<void> {
    this.#failure.note(closed());
    this.#control.abort(-1);
    this.#hub.changed();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fail(error: Error, culprit: number): void {
    this.#failure.note(error);
    this.#control.abort(culprit);
    this.#hub.changed();
  }
}

/** Wakes whoever waits for a counter to change. */
class Hub {
  readonly #control: Control;
  #waiting: { ready: () => boolean; resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(control: Control) {
    this.#control = control;
  }

  until(ready: () => boolean): void | Promise<void> {
    if (ready()) return;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ready, resolve, reject });
      this.changed();
    });
  }

  changed(): void {
    const aborted = this.#control.aborted;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const w of waiting) {
      if (aborted) {
        try {
          this.#control.throwIfAborted();
        } catch (error) {
          w.reject(error as Error);
        }
      } else if (w.ready()) w.resolve();
      else this.#waiting.push(w);
    }
  }
}

/** Brings bytes of the sender to a place of device `to`. */
type Copy = (to: number, source: number, target: number, bytes: number) => void;

/** The channel's contract with awaited waits: what a transport of messages looks like to a device. */
class LocalChannel implements Channel {
  readonly waitedSeconds = 0;
  readonly #control: Control;
  readonly #hub: Hub;
  readonly #device: number;
  readonly #copy: Copy;
  readonly #sentBefore: number[] = [];
  readonly #receivedBefore: number[] = [];
  #arrivals = 0;

  constructor(control: Control, hub: Hub, device: number, copy: Copy) {
    this.#control = control;
    this.#hub = hub;
    this.#device = device;
    this.#copy = copy;
  }

  startStep(): void {
    for (let peer = 0; peer < this.#control.devices; peer++) {
      this.#sentBefore[peer] = this.#control.sent(this.#device, peer);
      this.#receivedBefore[peer] = this.#control.posted(peer, this.#device);
    }
  }

  post(from: number): Exchange {
    return () => {
      this.#control.countPosted(from, this.#device);
      this.#hub.changed();
    };
  }

  send(to: number, message: number, source: number, target: number, bytes: number): Exchange {
    const copy = () => {
      this.#copy(to, source, target, bytes);
      this.#control.countSent(this.#device, to);
      this.#hub.changed();
    };
    return () => {
      const goal = this.#sentBefore[to]! + message + 1;
      return this.#hub.until(() => this.#control.posted(this.#device, to) >= goal)?.then(copy) ?? copy();
    };
  }

  receive(from: number, message: number): Exchange {
    return () => {
      const goal = this.#receivedBefore[from]! + message + 1;
      return this.#hub.until(() => this.#control.sent(from, this.#device) >= goal);
    };
  }

  barrier(): Exchange {
    return () => {
      this.#control.countArrived(this.#device);
      this.#arrivals++;
      this.#hub.changed();
      return this.#hub.until(() => {
        for (let d = 0; d < this.#control.devices; d++) if (this.#control.arrived(d) < this.#arrivals) return false;
        return true;
      });
    };
  }
}
