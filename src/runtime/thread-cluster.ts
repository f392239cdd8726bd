import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import * as Comlink from 'comlink';
import type { Piscina } from 'piscina';
import { kernelsModule } from '../backends/kernels-module.ts';
import { DeviceError } from '../core/errors.ts';
import { LOOK_SECONDS } from '../cost/analytic.ts';
import { describe } from '../program/instruction.ts';
import { Control, StepAborted } from './control.ts';
import { accountOfThread } from './core-watch.ts';
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
import { refuseTooManyThreads, startThread } from './device-threads.ts';
import { nodeEndpoint } from './node-endpoint.ts';
import './remote-errors.ts';
import { Watchdog } from './watchdog.ts';
import { type DeviceApi, type DeviceStart, STEP_ENDED, WIRE_VERSION } from './wire.ts';

/** An order whose end the host waits for. */
interface Underway {
  readonly order: number;
  readonly program: string;
  /** It was begun ahead and is not wanted. */
  readonly isForgone?: boolean;
}

interface Member {
  readonly device: number;
  readonly pool: Piscina;
  readonly port: MessagePort;
  /** A strong reference: were the proxy collected, Comlink would close the port. */
  readonly api: Comlink.Remote<DeviceApi>;
  readonly task: Promise<unknown>;
  /** The port is gone from the event loop: some turns after it was told to close. */
  readonly portClosed: Promise<void>;
  /** Rejecters of calls under way: a dead worker would leave them pending for ever. */
  readonly pending: Set<(error: Error) => void>;
  /** Told when the device has ended the step under way. */
  ended: (() => void) | undefined;
  /** It has answered a call, and so would answer the last. */
  isUp: boolean;
  gone: DeviceError | undefined;
  closing: boolean;
}

/**
 * The coordinator's side of the devices: one Piscina of one thread each, Comlink as the typed control channel. It starts,
 * loads, steps, reads, aborts and joins them; data between devices never passes here. A step begins and ends in the control
 * block: a message to each device and one from each would cost more than many a step.
 *
 * The first failure ends the cluster: every device is told (control block), every call under way is rejected, and from
 * then on each call fails with that first error, so that nothing half-updated is ever read.
 */
export class ThreadCluster implements DeviceCluster {
  readonly #members: Member[] = [];
  readonly #control: Control;
  /**
   * Shared with the devices: parameters go in and out without a message, whose copies would wait in heaps for their
   * collection.
   */
  readonly #memories: readonly WebAssembly.Memory[];
  readonly #images = new Map<string, readonly DeviceImage[]>();
  /** Recorded times of each program's devices, which write them there. */
  readonly #times = new Map<string, readonly SharedArrayBuffer[]>();
  readonly #options: ClusterOptions;
  readonly #failure = new FirstFailure();
  #closed: Promise<void> | undefined;
  /** What the host waits for. */
  #step: Underway | undefined;
  /** What devices have begun and nobody has asked for yet. */
  #ahead: { readonly order: number; readonly program: string; readonly predict: PredictSeconds } | undefined;
  #overdue: NodeJS.Timeout | undefined;

  private constructor(memories: readonly WebAssembly.Memory[], options: ClusterOptions) {
    this.#control = Control.create(memories.length);
    this.#memories = memories;
    this.#options = options;
  }

  static async start(specs: readonly DeviceSpec[], options: ClusterOptions = {}): Promise<ThreadCluster> {
    refuseTooManyThreads(specs.length);
    const { lookSeconds = LOOK_SECONDS } = options;
    const hostAccount = specs.length < availableParallelism() ? undefined : accountOfThread();
    const memories = specs.map((spec, device) => createMemory(device, spec));
    const kernels = await Promise.all(specs.map(({ simd }) => kernelsModule(simd)));
    const cluster = new ThreadCluster(memories, options);
    for (const [device, spec] of specs.entries()) {
      // Each thread holds the event loop for milliseconds, and among hundreds of them signals are to be heard.
      if (device > 0 && device % STARTED_AT_ONCE === 0) await setImmediate();
      if (options.signal?.aborted) break;
      const ready = options.heapMegabytes === undefined ? options.threads?.take() : undefined;
      const thread = ready ?? startThread(options.heapMegabytes);
      const { port } = thread;
      const start: DeviceStart = {
        version: WIRE_VERSION,
        device,
        backend: spec.backend,
        kernels: kernels[device]!,
        blas: options.blas,
        control: cluster.#control.buffer,
        devices: specs.length,
        memories,
        poison: options.poison ?? 'standard',
        audit: options.audit ?? false,
        faults: options.faults?.[device] ?? [],
        lookSeconds,
        hostAccount,
      };
      port.postMessage(start);
      const member: Member = {
        device,
        pool: thread.pool,
        port,
        api: Comlink.wrap<DeviceApi>(nodeEndpoint(port)),
        task: thread.task,
        portClosed: new Promise((resolve) => port.once('close', () => resolve())),
        pending: new Set(),
        ended: undefined,
        isUp: false,
        gone: undefined,
        closing: false,
      };
      thread.onLost((why, cause) => cluster.#lost(member, why, cause));
      port.on('message', (message: unknown) => {
        if (message === STEP_ENDED) cluster.#stepEnded();
      });
      cluster.#members.push(member);
    }
    const { error } = cluster.#failure;
    if (error || options.signal?.aborted) {
      await cluster.close();
      throw error ?? options.signal!.reason;
    }
    return cluster;
  }

  get devices(): number {
    return this.#members.length;
  }

  /** Gives every device its program of this name. */
  async load(name: string, images: readonly DeviceImage[]): Promise<void> {
    const times = images.map(({ program }) => new SharedArrayBuffer(16 * program.instructions.length));
    this.#images.set(name, images);
    this.#times.set(name, times);
    await this.#all((m) => this.#ask(m, (api) => api.load(name, images[m.device]!, times[m.device]!) as Promise<void>));
  }

  async attachStaging(feeds: readonly SharedArrayBuffer[], results: readonly SharedArrayBuffer[]): Promise<void> {
    await this.#all((m) => this.#ask(m, (api) => api.attachStaging(feeds, results) as Promise<void>));
  }

  /** Between steps only, and behind the first program: a device fills its memory when that comes. */
  async write(device: number, offset: number, data: Uint8Array): Promise<void> {
    this.#view(device).set(data, offset);
  }

  async fill(device: number, offset: number, bytes: number, fill: (target: Uint8Array) => void): Promise<void> {
    fill(this.#view(device).subarray(offset, offset + bytes));
  }

  async read(device: number, offset: number, bytes: number): Promise<Uint8Array> {
    return this.#view(device).slice(offset, offset + bytes);
  }

  #view(device: number): Uint8Array {
    this.#failure.throwIfAny();
    if (this.#images.size === 0) throw new DeviceError('nothing-loaded', `device ${device} has no program yet`);
    return new Uint8Array(this.#memories[device]!.buffer);
  }

  async measurePeaks(): Promise<number[]> {
    return this.#all((m) => this.#ask(m, (api) => api.measurePeak() as Promise<number>));
  }

  /**
   * Runs one step on all devices. `predict` gives the hang limit. Rejects with the first failure, at latest 2 s after a
   * device has failed (or its hang limit, where it is stuck); by then no device works on the step any more.
   */
  async step(options: StepOptions, predict: PredictSeconds, signal?: AbortSignal): Promise<StepReport[]> {
    this.#failure.throwIfAny();
    if (signal?.aborted) throw abortedBy(signal.reason); // nothing has started: the session lives on
    const onAbort = () => this.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const ahead = this.#ahead;
      this.#ahead = undefined;
      const order = ahead?.order ?? this.#give(options, false);
      if (ahead) this.#control.decide(order, true);
      const reports = await this.#ended({ order, program: options.program }, predict, (m) =>
        this.#reportOf(m, order, options).catch((error: Error) => {
          if (!(error instanceof StepAborted)) this.#fail(error, m.device);
          throw error;
        }),
      );
      if (this.#failure.error) throw this.#failure.error; // aborted behind the last instruction
      return reports;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  begin(options: StepOptions, predict: PredictSeconds): boolean {
    // A device that has failed in the step under way is to be asked what it died of, not to play on.
    const { order } = this.#step ?? {};
    const isWhole =
      order === undefined || this.#members.every((m) => this.#control.outcome(m.device, order) !== 'detailed');
    if (this.#failure.error || this.#ahead || !isWhole) return false;
    this.#ahead = { order: this.#give(options, true), program: options.program, predict };
    return true;
  }

  async forgo(): Promise<void> {
    const { order, program, predict } = this.#ahead ?? {};
    if (order === undefined) return;
    this.#ahead = undefined;
    if (this.#failure.error) return;
    this.#control.decide(order, false);
    const underway = { order, program: program!, isForgone: true };
    const outcomes = await this.#ended(underway, predict!, async (m) => this.#control.outcome(m.device, order));
    // Some device has failed, and the others have waited for it in vain: all is as if it had never begun.
    if (!this.#failure.error && outcomes.includes('detailed')) this.#control.reset();
  }

  #give({ program: name, step, profile = false, area = 0 }: StepOptions, isAhead: boolean): number {
    const program = [...this.#images.keys()].indexOf(name);
    if (program < 0) throw new DeviceError('unknown-program', `no program ${name} has been loaded`);
    return this.#control.give({ program, step, profile, area, isAhead });
  }

  /** Waits for every device to end an order, and asks each for what comes of it. */
  async #ended<T>(underway: Underway, predict: PredictSeconds, result: (m: Member) => Promise<T>): Promise<T[]> {
    this.#step = underway;
    const watchdog = new Watchdog(this.#control, this.devices, predict, this.#options.hangFactor ?? 100, {
      describe: (device) => this.#describe(device),
      microbatch: (device) => this.#microbatchAt(device),
      stuck: (device, error) => {
        this.#fail(error);
        if (device !== null) void this.#members[device]!.pool.destroy().catch(() => {});
      },
    });
    try {
      const results = this.#all((m) =>
        new Promise<void>((resolve) => {
          m.ended = resolve;
        }).then(() => result(m)),
      );
      this.#stepEnded(); // what was begun ahead may have ended
      return await results;
    } finally {
      watchdog.stop();
      clearTimeout(this.#overdue);
      this.#step = undefined;
    }
  }

  /** Some device says that it, or all, have ended a step. */
  #stepEnded(): void {
    const { order, isForgone } = this.#step ?? {};
    if (order === undefined) return;
    for (const m of this.#members) {
      const outcome = this.#control.outcome(m.device, order);
      if (outcome === 'none') continue;
      if (isForgone && outcome === 'detailed') this.#control.abort(m.device);
      m.ended?.();
    }
  }

  async #reportOf(member: Member, order: number, { program, profile }: StepOptions): Promise<StepReport> {
    const { device } = member;
    if (this.#control.outcome(device, order) === 'detailed') {
      return await this.#ask(member, (api) => api.takeReport(order) as Promise<StepReport>);
    }
    const times = profile ? new Float64Array(this.#times.get(program)![device]!).slice() : null;
    return { ...this.#control.seconds(device, order), times, audit: null };
  }

  /** A call, and word of it in the control block: the device may sleep there. */
  #ask<T>({ api, device }: Member, call: (api: Comlink.Remote<DeviceApi>) => Promise<T>): Promise<T> {
    const answer = call(api);
    this.#control.countMail(device);
    return answer;
  }

  /** Ends the step under way on every device; the cluster is failed from then on. */
  abort(reason?: unknown): void {
    if (this.#failure.error) return;
    this.#fail(abortedBy(reason));
  }

  /** Joins every thread; idempotent, and safe in every state. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const interrupted = this.#step !== undefined;
    if (this.#ahead) this.#control.abort(-1);
    for (const m of this.#members) m.closing = true;
    if (interrupted) {
      this.#failure.note(
        new DeviceError('closed', 'the session was closed during a step', {
          remedy: 'close it when the step has ended',
        }),
      );
      this.#control.abort(-1);
    }
    await Promise.all(
      this.#members.map(async (m) => {
        const ended = m.task.catch(() => {});
        if (!m.gone && m.isUp) {
          void this.#ask(m, (api) => api.shutdown() as Promise<void>).catch(() => {});
          await withTimeout(ended, 1000);
        }
        await m.pool.destroy().catch(() => {});
        await ended;
        // Comlink's finalizer table holds the port, and through its listeners all of this, until the proxy is released.
        m.api[Comlink.releaseProxy]();
        m.port.removeAllListeners('message');
        m.port.close();
        await withTimeout(m.portClosed, 1000);
        const error = this.#failure.error ?? closed();
        for (const reject of m.pending) reject(error);
        m.pending.clear();
      }),
    );
    this.#failure.note(closed());
  }

  /**
   * Notes the first failure and tells every device. One that computes sees it at its next instruction; one that does not
   * within GRACE_MS is ended, so that the step ends in time whatever it is doing.
   */
  #fail(error: Error, culprit = -1): void {
    const isFirst = this.#failure.error === undefined;
    this.#failure.note(error);
    this.#control.abort(culprit);
    if (!isFirst || !this.#step) return;
    this.#overdue = setTimeout(() => {
      for (const m of this.#members) {
        if (m.pending.size === 0) continue;
        void m.pool.destroy().catch(() => {});
        for (const reject of m.pending) reject(error);
        m.pending.clear();
      }
    }, GRACE_MS);
  }

  /** A device that is gone without being asked: says where it was, ends the step for all. */
  #lost(member: Member, why: string, cause?: Error): void {
    if (member.gone || member.closing) {
      member.gone ??= new DeviceError('device-lost', why, { fields: { device: member.device }, remedy: RUN_AGAIN });
      return;
    }
    const at = this.#step ? this.#control.position(member.device) : null;
    member.gone = new DeviceError(
      'device-lost',
      `device ${member.device} was lost${at === null ? '' : ` at instruction ${at}, ${this.#describe(member.device)}`}: ${why}`,
      {
        fields: {
          device: member.device,
          instruction: at,
          microbatch: at === null ? null : this.#microbatchAt(member.device),
        },
        remedy: RUN_AGAIN,
        cause,
      },
    );
    this.#fail(member.gone, member.device);
    for (const reject of member.pending) reject(member.gone);
    member.pending.clear();
  }

  #microbatchAt(device: number): number | null {
    const program = this.#step && this.#images.get(this.#step.program)?.[device]?.program;
    const instruction = program?.instructions[this.#control.position(device)];
    return instruction && 'microbatch' in instruction ? instruction.microbatch : null;
  }

  #describe(device: number): string {
    const program = this.#step && this.#images.get(this.#step.program)?.[device]?.program;
    const instruction = program?.instructions[this.#control.position(device)];
    return program && instruction ? describe(instruction, program) : 'no instruction';
  }

  /** The same call on all devices; waits for all of them, then throws the session's first failure if any failed. */
  async #all<T>(call: (m: Member) => Promise<T>): Promise<T[]> {
    const results = await Promise.allSettled(this.#members.map((m) => this.#call(m, call)));
    const failed = results.find((r) => r.status === 'rejected');
    if (failed) throw this.#failure.error ?? failed.reason;
    return results.map((r) => (r as PromiseFulfilledResult<T>).value);
  }

  #call<T>(member: Member, call: (m: Member) => Promise<T>): Promise<T> {
    this.#failure.throwIfAny();
    return new Promise<T>((resolve, reject) => {
      const settle = () => member.pending.delete(reject);
      member.pending.add(reject);
      call(member).then(
        (value) => {
          settle();
          member.isUp = true;
          resolve(value);
        },
        (error) => {
          settle();
          reject(error);
        },
      );
    });
  }
}

/** Threads that are started in one turn of the event loop. */
const STARTED_AT_ONCE = 4;

/** How long devices that compute may take to notice that a step has failed; a step ends within 2 s of a failure. */
const GRACE_MS = 1200;
const RUN_AGAIN = 'open another session; a training goes on from its newest checkpoint with --resume';

async function withTimeout(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
