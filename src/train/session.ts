import { nearest, UsageError } from '../core/errors.ts';
import { checkOptions, shown } from '../core/options.ts';
import type { HostTensor } from '../core/types.ts';
import { analyticCosts } from '../cost/model.ts';
import { hasNullDevices, refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { mayBeginAhead } from '../program/ahead.ts';
import type { DeviceCluster, PredictSeconds } from '../runtime/device-cluster.ts';
import type { StepReport } from '../runtime/device-image.ts';
import { instructionSeconds } from '../simulate/cluster.ts';
import { checkSessionOptions, requireBatch, requireTensorMap } from './check-session.ts';
import { Feeder } from './feeder.ts';
import { checkLiveBytes, checkPeaks, plannedPeaksOf } from './measured.ts';
import { noiseOfResults } from './noise-tracker.ts';
import { PersistentValues } from './persistent.ts';
import {
  type RunOptions,
  type RunResult,
  runNames,
  type SessionOptions,
  type SessionState,
  type StagedBatch,
  type StagedRunOptions,
  type StageOptions,
  sessionNames,
  stagedRunNames,
  stageNames,
} from './session-options.ts';
import { unpackResult } from './staging-area.ts';
import { imagesOf, refuseOfNullDevices, startDevices } from './start-devices.ts';

export type { RunOptions, RunResult, SessionOptions, SessionState, StagedBatch, StagedRunOptions, StageOptions };

/** What looking at a byte of memory costs an audit, with room to spare; the hang limit allows for it. */
const AUDIT_SECONDS_PER_BYTE = 1e-9;

/**
 * A plan running on its devices: loads programs and parameters, runs steps, reads results. After a failure every call
 * throws; nothing half-updated can be read.
 */
export class Session implements AsyncDisposable {
  readonly plan: Plan;
  readonly #cluster: DeviceCluster;
  readonly #values: PersistentValues;
  /** Two areas: while the devices read one, the next batch is put into the other. */
  readonly #feeder: Feeder;
  /** Likewise: devices may write those of the next step while these are read. */
  readonly #results: readonly Uint8Array[];
  /** The area that a step under way reads. */
  #reading: number | undefined;
  /** What lies ready, and in which area. */
  #staged: { readonly batch: StagedBatch; readonly area: number } | undefined;
  /** The staged batch that devices have begun, though nobody has asked for it yet, and its area. */
  #begun: { readonly batch: StagedBatch; readonly area: number } | undefined;
  /** Programs that may be begun so. */
  readonly #mayBegin = new Map<string, boolean>();
  readonly #ran = new Set<string>();
  readonly #audit: boolean;
  /** Of first values and of random numbers within the model. */
  readonly seed: number;
  /** A run is under way or has failed. */
  #interrupted = false;
  /** Settles with the latest call. */
  #last: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;
  #steps = 0;

  private constructor(
    plan: Plan,
    cluster: DeviceCluster,
    feeds: readonly SharedArrayBuffer[],
    results: readonly SharedArrayBuffer[],
    audit: boolean,
    seed: number,
  ) {
    this.plan = plan;
    this.#cluster = cluster;
    this.#values = new PersistentValues(plan, cluster);
    const areas = feeds.map((area) => new Uint8Array(area));
    this.#feeder = new Feeder(plan, areas, seed);
    this.#results = results.map((area) => new Uint8Array(area));
    this.#audit = audit;
    this.seed = seed;
  }

  /** Starts devices, loads all programs and writes parameters, constants and optimizer state. */
  static async open(plan: Plan, options: SessionOptions = {}): Promise<Session> {
    requirePlan('Session.open', plan);
    checkOptions('Session.open', options, sessionNames);
    checkSessionOptions(options, plan.request.devices.length);
    const { programs } = plan;
    // The test suite turns audit on for every session it opens.
    const audit = options.audit ?? process.env.PARTITA_AUDIT === '1';
    const isNull = hasNullDevices(plan.request.devices);
    if (isNull) refuseOfNullDevices(plan, options);
    const { signal } = options;
    const cluster = await startDevices(plan, { ...options, audit });
    // Devices that are not up yet answer nothing; closed, they reject what waits for them.
    const end = () => void cluster.close();
    signal?.addEventListener('abort', end, { once: true });
    try {
      const most = (of: (name: string) => number) => (isNull ? 0 : Math.max(16, ...Object.keys(programs).map(of)));
      // The second takes no memory until a batch is staged.
      const feeds = [0, 1].map(() => new SharedArrayBuffer(most((name) => programs[name]!.feedBytes)));
      const results = [0, 1].map(() => new SharedArrayBuffer(most((name) => programs[name]!.resultBytes)));
      // Answered by every device, so it is up; its memory is untouched until its first program.
      await cluster.attachStaging(feeds, results);
      await options.onStart?.();
      for (const [name, program] of Object.entries(programs)) await cluster.load(name, imagesOf(plan, name, program));
      const session = new Session(plan, cluster, feeds, results, audit, options.seed ?? 0);
      await session.#values.initialize(session.seed, options.parameters);
      signal?.throwIfAborted();
      return session;
    } catch (error) {
      await cluster.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', end);
    }
  }

  /**
   * Runs a program of the plan on a batch. Calls of a session run one after the other, so that a read beside a step sees
   * the parameters before it or behind it, never some of each.
   */
  run(program: string, batch: Readonly<Record<string, HostTensor>>, options: RunOptions = {}): Promise<RunResult> {
    return this.#inTurn(async () => {
      checkOptions('Session.run', options, runNames);
      await this.#forgo();
      // Beside what is staged, which another run is for.
      const area = this.#staged?.area === 0 ? 1 : 0;
      this.#programOf(program);
      requireBatch('Session.run', batch);
      this.#feeder.pack(program, area, batch, options);
      return this.#run(program, area, options, options);
    });
  }

  /**
   * Puts a batch beside the one that a step under way reads, for `runStaged`: so a training reads, shuffles and copies its
   * next batch while the devices compute. The tensors may be changed afterwards. One batch is kept: another takes its place,
   * but not of one that devices are to begin behind the step under way.
   */
  stage(program: string, batch: Readonly<Record<string, HostTensor>>, options: StageOptions = {}): StagedBatch {
    checkOptions('Session.stage', options, stageNames);
    if (this.#begun && this.#reading !== undefined) {
      throw new UsageError('staged-batch', 'a batch is staged already that devices begin behind the step under way', {
        fields: { program: this.#begun.batch.program },
        remedy: 'stage one batch with `ahead` while a step is under way, or wait for the step',
      });
    }
    const taken = this.#reading ?? this.#begun?.area;
    const area = taken === 0 ? 1 : 0;
    this.#programOf(program);
    requireBatch('Session.stage', batch);
    this.#staged = undefined;
    this.#feeder.pack(program, area, batch, options);
    const staged = { program, options };
    this.#staged = { batch: staged, area };
    if (options.ahead && this.#reading !== undefined && this.#canBegin(program)) {
      const step = { program, step: this.#steps, area };
      if (this.#cluster.begin(step, this.#predictOf(program))) this.#begun = this.#staged;
    }
    return staged;
  }

  /** Runs the batch that was staged last. */
  runStaged(staged: StagedBatch, options: StagedRunOptions = {}): Promise<RunResult> {
    return this.#inTurn(async () => {
      checkOptions('Session.runStaged', options, stagedRunNames);
      if (this.#staged === undefined || this.#staged.batch !== staged) {
        throw new UsageError('staged-batch', 'this staged batch has run, or another was staged in its place', {
          fields: { program: staged?.program ?? null },
          remedy: 'run a staged batch before the next is staged',
        });
      }
      const { area } = this.#staged;
      // Begun without a record of its times.
      if (this.#begun?.batch !== staged || options.profile) await this.#forgo();
      this.#staged = undefined;
      return this.#run(staged.program, area, staged.options, options);
    });
  }

  /** Runs `call` when all earlier calls have ended, however they ended. */
  #inTurn<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#last.then(call);
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(program: string, area: number, staged: StageOptions, options: StagedRunOptions): Promise<RunResult> {
    const plan = this.#programOf(program);
    if (!this.#computes && options.profile)
      refuseNullDevices(this.plan.request.devices, 'there are no times to record');
    const { lr, momentum } = options;
    if (this.#computes) this.#feeder.packScalars(program, area, { ...staged, lr, momentum });
    this.#interrupted = true;
    const begin = performance.now();
    const predict = this.#predictOf(program);
    const step = { program, step: this.#steps++, profile: options.profile ?? false, area };
    this.#reading = area;
    let reports: StepReport[];
    let failure: { error: unknown } | undefined;
    try {
      const running = this.#cluster.step(step, predict, options.signal);
      this.#begun = undefined;
      try {
        options.meanwhile?.();
      } catch (error) {
        failure = { error }; // the step is none the worse for it
      }
      reports = await running;
    } finally {
      this.#reading = undefined;
    }
    if (this.#audit) checkLiveBytes(this.plan, program, reports);
    this.#ran.add(program);
    this.#interrupted = false;
    if (failure) throw failure.error;
    const results = new Map(
      this.#computes ? plan.results.map((r) => [r.name, unpackResult(r, this.#results[area]!)]) : [],
    );
    return {
      loss: results.get('loss')?.data[0] ?? Number.NaN,
      gradNorm: normOf(results),
      noise: noiseOfResults(results, plan.chunks) ?? null,
      results,
      // A step that was begun ahead began when the one before had ended.
      seconds: Math.max((performance.now() - begin) / 1000, ...reports.map((r) => r.seconds)),
      reports,
    };
  }

  /** How long an instruction is expected to take. */
  #predictOf(program: string): PredictSeconds {
    const { devices, costs = analyticCosts() } = this.plan.request;
    const plan = this.#programOf(program);
    return (device, instruction) => {
      const { instructions, buffers } = plan.devices[device]!;
      const i = instructions[instruction];
      const seconds = i ? instructionSeconds(i, devices[device]!, costs, buffers) : 0;
      // An audit looks at the whole memory behind every instruction.
      return this.#audit ? seconds + this.plan.memory[device]!.peakBytes * AUDIT_SECONDS_PER_BYTE : seconds;
    };
  }

  /** An audit follows one step at a time; a program's peak is its planned one only when it has run to its end. */
  #canBegin(program: string): boolean {
    if (this.#audit || !this.#ran.has(program)) return false;
    let may = this.#mayBegin.get(program);
    if (may === undefined) {
      may = mayBeginAhead(this.#programOf(program), this.#feeder.scalarsOf(program));
      this.#mayBegin.set(program, may);
    }
    return may;
  }

  /** Before anything but reading and the very step that devices have begun. */
  async #forgo(): Promise<void> {
    if (!this.#begun) return;
    try {
      await this.#cluster.forgo();
    } finally {
      this.#begun = undefined;
    }
  }

  get #computes(): boolean {
    return !hasNullDevices(this.plan.request.devices);
  }

  #programOf(program: string): Plan['programs'][string] {
    const names = Object.keys(this.plan.programs);
    if (names.includes(program)) return this.plan.programs[program]!;
    throw new UsageError(
      'unknown-program',
      `the plan has no program ${typeof program === 'string' ? program : shown(program)}`,
      {
        fields: { programs: names },
        remedy: `'${nearest(program, names) ?? names[0]}'`,
      },
    );
  }

  /** Values of all parameters by name, in graph order. */
  parameters(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#values.read('parameter'));
  }

  /** Buffers (running statistics) by name, in graph order. */
  buffers(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#values.read('buffer'));
  }

  /** Optimizer state by name (`m/encoder.weight`). */
  optimizerState(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#values.read('state'));
  }

  /** Parameters, buffers and optimizer state as one step left them. */
  state(): Promise<SessionState> {
    return this.#inTurn(async () => ({
      parameters: await this.#values.read('parameter'),
      buffers: await this.#values.read('buffer'),
      optimizerState: await this.#values.read('state'),
    }));
  }

  /** Overwrites parameters, buffers or optimizer state by name: all of them, or none where one does not fit. */
  write(values: ReadonlyMap<string, HostTensor>): Promise<void> {
    return this.#inTurn(async () => {
      requireTensorMap('Session.write', values);
      await this.#forgo();
      await this.#values.write(values);
    });
  }

  /** Highest byte each device has ever written, as it finds itself. */
  measuredPeaks(): Promise<number[]> {
    return this.#inTurn(async () => {
      await this.#forgo();
      return await this.#cluster.measurePeaks();
    });
  }

  /** The planned peak of the programs that have run so far: what `measuredPeaks` must equal. */
  plannedPeaks(): number[] {
    return plannedPeaksOf(this.plan, this.#ran);
  }

  /** Ends the step under way; the session is failed from then on. */
  abort(reason?: unknown): void {
    this.#cluster.abort(reason);
  }

  /**
   * Joins all devices, at once also where a step is under way. Idempotent. A session that has not failed first holds its
   * measured peaks against the plan, and throws where they differ: then the plan's promise is broken.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    try {
      if (!this.#interrupted && this.#ran.size > 0) {
        await this.#forgo();
        checkPeaks(this.plannedPeaks(), await this.#cluster.measurePeaks());
      }
    } finally {
      await this.#cluster.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** √Σ of the parameters' squared norms, added in f64 in the order of the graph. */
function normOf(results: ReadonlyMap<string, HostTensor>): number | null {
  const squares = [...results].filter(([name]) => name.startsWith('grad_square/'));
  return squares.length > 0 ? Math.sqrt(squares.reduce((sum, [, t]) => sum + t.data[0]!, 0)) : null;
}
