import { proveBlas } from '../backends/blas/self-test.ts';
import { DeviceError, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames } from '../core/options.ts';
import type { HostTensor, TensorData, TensorType } from '../core/types.ts';
import { analyticCosts } from '../cost/model.ts';
import type { Tensor } from '../graph/graph.ts';
import type { Source } from '../graph/source.ts';
import { kernelsOf } from '../lower/kernel-call.ts';
import { liveBytesOverTime } from '../memory/device-memory.ts';
import { deaths } from '../memory/liveness.ts';
import { hasNullDevices, refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import { mayBeginAhead } from '../program/ahead.ts';
import { memoryCategories, type StagedTensor } from '../program/instruction.ts';
import type { ClusterOptions, DeviceCluster, PredictSeconds } from '../runtime/device-cluster.ts';
import type { DeviceImage, StepReport } from '../runtime/device-image.ts';
import { LocalCluster } from '../runtime/local-cluster.ts';
import { ThreadCluster } from '../runtime/thread-cluster.ts';
import { instructionSeconds } from '../simulate/cluster.ts';
import { feedValue, type WholeBatch } from './feeds.ts';
import { fillInitial } from './fill.ts';
import { noiseOfResults, type StepNoise } from './noise-tracker.ts';
import { checkFeed, packFeed, unpackResult } from './staging-area.ts';

export interface SessionOptions extends ClusterOptions {
  readonly seed?: number;
  /** First values of parameters and buffers by name instead of the models' own initialisation. */
  readonly parameters?: ReadonlyMap<string, HostTensor>;
  /**
   * `threads`: one worker thread a device (default). `local`: all devices in this thread, taking turns — the same programs,
   * memory and bits without parallelism, for debugging and where threads are not to be had. Null devices are always so.
   */
  readonly transport?: 'threads' | 'local';
  /** Called, and waited for, when the devices are up with their kernels and nothing is loaded yet. */
  readonly onStart?: () => void | Promise<void>;
}

const sessionNames: OptionNames<SessionOptions> = {
  seed: true,
  parameters: true,
  transport: true,
  onStart: true,
  blas: true,
  audit: true,
  poison: true,
  faults: true,
  hangFactor: true,
  heapMegabytes: true,
  threads: true,
};
const runNames: OptionNames<RunOptions> = {
  step: true,
  lr: true,
  momentum: true,
  profile: true,
  whole: true,
  signal: true,
  meanwhile: true,
};
const { step: _step, whole: _whole, ...stagedRunNames } = runNames;

/** All that a session holds between two steps, by name. */
export interface SessionState {
  readonly parameters: ReadonlyMap<string, HostTensor>;
  readonly buffers: ReadonlyMap<string, HostTensor>;
  readonly optimizerState: ReadonlyMap<string, HostTensor>;
}

export interface RunOptions {
  /** Step number of the optimizer, from 0. */
  readonly step?: number;
  readonly lr?: number;
  /** Momentum, of Adam beta1, of this step; default the optimizer's own. It must have been made for one. */
  readonly momentum?: number;
  readonly profile?: boolean;
  /** The batch that the given one is a part of; default: it is the whole. */
  readonly whole?: WholeBatch;
  readonly signal?: AbortSignal;
  /** Called once the devices are at work: what the host does meanwhile, such as staging the next batch. */
  readonly meanwhile?: () => void;
}

/** A batch that lies ready for a program's next run: `Session.stage` makes one. */
export interface StagedBatch {
  readonly program: string;
  readonly options: StageOptions;
}

export interface StageOptions extends Pick<RunOptions, 'step' | 'whole'> {
  /**
   * Has the devices begin this step as soon as they have ended the one under way, without waiting for the host: default
   * false. They change nothing until `runStaged` asks for it, which gives its rate; any other call but reading makes them leave
   * it, and costs what they have computed. Without effect where no step is under way, in an audit, and for programs that
   * have not run yet or that update nothing.
   */
  readonly ahead?: boolean;
}

/** Of a run of a staged batch. */
export type StagedRunOptions = Omit<RunOptions, keyof StageOptions>;

export interface RunResult {
  /** Whole-batch objective before the update; NaN where the program has none, and of null devices, which compute none. */
  readonly loss: number;
  /** Global 2-norm of the whole-batch gradient over all parameters; null where the program does not compute it. */
  readonly gradNorm: number | null;
  /** What the step's microbatches tell of the gradient noise; null where the program does not compute it. */
  readonly noise: StepNoise | null;
  /** Results by name (`output/…`, `grad/…`), whole-batch tensors; of null devices there are none. */
  readonly results: ReadonlyMap<string, HostTensor>;
  /** Wall time on the coordinator. */
  readonly seconds: number;
  readonly reports: readonly StepReport[];
}

/** What looking at a byte of memory costs an audit, with room to spare; the hang limit allows for it. */
const AUDIT_SECONDS_PER_BYTE = 1e-9;

/** Where a persistent tensor lies. */
interface Home {
  readonly tensor: Tensor;
  readonly device: number;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * A plan running on its devices: loads programs and parameters, runs steps, reads results. After a failure every call
 * throws; nothing half-updated can be read.
 */
export class Session implements AsyncDisposable {
  readonly plan: Plan;
  readonly #cluster: DeviceCluster;
  readonly #homes: ReadonlyMap<string, Home>;
  /** Two areas: while the devices read one, the next batch is put into the other. */
  readonly #feeds: readonly Uint8Array[];
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
  readonly #sources = new Map<string, readonly { readonly feed: StagedTensor; readonly source: Source }[]>();
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
    homes: ReadonlyMap<string, Home>,
    feeds: readonly SharedArrayBuffer[],
    results: readonly SharedArrayBuffer[],
    audit: boolean,
    seed: number,
  ) {
    this.plan = plan;
    this.#cluster = cluster;
    this.#homes = homes;
    this.#feeds = feeds.map((area) => new Uint8Array(area));
    this.#results = results.map((area) => new Uint8Array(area));
    this.#audit = audit;
    this.seed = seed;
  }

  /** Starts devices, loads all programs and writes parameters, constants and optimizer state. */
  static async open(plan: Plan, options: SessionOptions = {}): Promise<Session> {
    checkOptions('Session.open', options, sessionNames);
    const { programs } = plan;
    // The test suite turns audit on for every session it opens.
    const audit = options.audit ?? process.env.PARTITA_AUDIT === '1';
    const isNull = hasNullDevices(plan.request.devices);
    if (isNull) refuseOfNullDevices(plan, options);
    const cluster = await startCluster(plan, { ...options, audit });
    try {
      const most = (of: (name: string) => number) => (isNull ? 0 : Math.max(16, ...Object.keys(programs).map(of)));
      // The second takes no memory until a batch is staged.
      const feeds = [0, 1].map(() => new SharedArrayBuffer(most((name) => programs[name]!.feedBytes)));
      const results = [0, 1].map(() => new SharedArrayBuffer(most((name) => programs[name]!.resultBytes)));
      // Answered by every device, so it is up; its memory is untouched until its first program.
      await cluster.attachStaging(feeds, results);
      await options.onStart?.();
      for (const [name, program] of Object.entries(programs)) await cluster.load(name, imagesOf(plan, name, program));
      const homes = findHomes(plan);
      const session = new Session(plan, cluster, homes, feeds, results, audit, options.seed ?? 0);
      await session.#writeConstants();
      for (const [name, home] of homes) {
        const { init } = home.tensor.node.source!;
        const given = options.parameters?.get(name);
        if (given) await session.#write(home, given);
        else {
          const { type } = home.tensor;
          await cluster.fill(home.device, home.offset, home.bytes, (target) =>
            fillInitial(viewOf(type, target), type, init!, session.seed, name),
          );
        }
      }
      return session;
    } catch (error) {
      await cluster.close();
      throw error;
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
      this.#pack(program, batch, options, area);
      return this.#run(program, area, options, options);
    });
  }

  /**
   * Puts a batch beside the one that a step under way reads, for `runStaged`: so a training reads, shuffles and copies its
   * next batch while the devices compute. The tensors may be changed afterwards. One batch is kept: another takes its place,
   * but not of one that devices are to begin behind the step under way.
   */
  stage(program: string, batch: Readonly<Record<string, HostTensor>>, options: StageOptions = {}): StagedBatch {
    checkOptions('Session.stage', options, { step: true, whole: true, ahead: true });
    if (this.#begun && this.#reading !== undefined) {
      throw new UsageError('staged-batch', 'a batch is staged already that devices begin behind the step under way', {
        fields: { program: this.#begun.batch.program },
        remedy: 'stage one batch with `ahead` while a step is under way, or wait for the step',
      });
    }
    const taken = this.#reading ?? this.#begun?.area;
    const area = taken === 0 ? 1 : 0;
    this.#staged = undefined;
    this.#pack(program, batch, options, area);
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
      if (this.#staged?.batch !== staged) {
        throw new UsageError('staged-batch', 'this staged batch has run, or another was staged in its place', {
          fields: { program: staged.program },
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

  /** Everything that is fed but the update's scalars, which the rate decides that a run is given. */
  #pack(program: string, batch: Readonly<Record<string, HostTensor>>, options: StageOptions, area: number): void {
    const { feeds } = this.#programOf(program);
    if (!this.#computes) this.#checkNullBatch(feeds, batch);
    else this.#feed(program, area, batch, options, (source) => source.feed!.kind !== 'hyper');
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
    if (this.#computes)
      this.#feed(program, area, {}, { ...staged, lr, momentum }, (source) => source.feed!.kind === 'hyper');
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
    if (this.#audit) this.#auditCategories(program, reports);
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
      const late = this.#sourcesOf(program).flatMap(({ feed, source }) =>
        source.feed!.kind === 'hyper' ? [feed.name] : [],
      );
      may = mayBeginAhead(this.#programOf(program), new Set(late));
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
    const plan = this.plan.programs[program];
    if (plan) return plan;
    throw new UsageError('unknown-program', `the plan has no program ${program}`, {
      fields: { programs: Object.keys(this.plan.programs) },
    });
  }

  /** Of a batch there need be nothing, but what is there must be what the model takes. */
  #checkNullBatch(feeds: readonly StagedTensor[], batch: Readonly<Record<string, HostTensor>>): void {
    for (const feed of feeds) {
      const given = batch[feed.name];
      if (given) checkFeed(feed, given);
    }
  }

  /** Values of all parameters by name, in graph order. */
  parameters(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#readAll('parameter'));
  }

  /** Buffers (running statistics) by name, in graph order. */
  buffers(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#readAll('buffer'));
  }

  /** Optimizer state by name (`m/encoder.weight`). */
  optimizerState(): Promise<Map<string, HostTensor>> {
    return this.#inTurn(() => this.#readAll('state'));
  }

  /** Parameters, buffers and optimizer state as one step left them. */
  state(): Promise<SessionState> {
    return this.#inTurn(async () => ({
      parameters: await this.#readAll('parameter'),
      buffers: await this.#readAll('buffer'),
      optimizerState: await this.#readAll('state'),
    }));
  }

  /** Overwrites parameters, buffers or optimizer state by name: all of them, or none where one does not fit. */
  write(values: ReadonlyMap<string, HostTensor>): Promise<void> {
    return this.#inTurn(async () => {
      await this.#forgo();
      await this.#writeAll(values);
    });
  }

  async #writeAll(values: ReadonlyMap<string, HostTensor>): Promise<void> {
    refuseNullDevices(this.plan.request.devices, 'values cannot be written');
    const writes = [...values].map(([name, value]) => {
      const home = this.#homes.get(name);
      if (!home)
        throw new UsageError('unknown-parameter', `the model has no parameter, buffer or state ${name}`, {
          fields: { name },
        });
      checkFits(home, value);
      return { home, value };
    });
    for (const { home, value } of writes) await this.#write(home, value);
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
    return this.plan.memory.map((m) => {
      const persistent = Math.max(0, ...m.persistent.map((p) => p.offset + p.bytes));
      return Math.max(persistent, ...[...this.#ran].map((name) => m.layouts[name]!.height));
    });
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
        await this.#checkPeaks();
      }
    } finally {
      await this.#cluster.close();
    }
  }

  async #checkPeaks(): Promise<void> {
    const planned = this.plannedPeaks();
    const measured = await this.#cluster.measurePeaks();
    const wrong = planned.findIndex((bytes, device) => bytes !== measured[device]);
    if (wrong < 0) return;
    throw new DeviceError(
      'peak-mismatch',
      `device ${wrong} has a planned peak of ${planned[wrong]} bytes and measures ${measured[wrong]}`,
      {
        fields: { device: wrong, plannedBytes: planned[wrong], measuredBytes: measured[wrong] },
      },
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Measured live bytes, instruction by instruction and category by category, against the plan's. */
  #auditCategories(program: string, reports: readonly StepReport[]): void {
    for (const [device, report] of reports.entries()) {
      const { layouts, persistent } = this.plan.memory[device]!;
      const image = this.plan.programs[program]!.devices[device]!;
      const planned = liveBytesOverTime(image, layouts[program]!.intervals, persistent);
      planned.forEach((bytes, at) => {
        const wrong = memoryCategories.findIndex((category, c) => bytes[category] !== report.audit!.liveBytes[at]![c]);
        if (wrong < 0) return;
        const category = memoryCategories[wrong]!;
        const measured = report.audit!.liveBytes[at]![wrong];
        throw new DeviceError(
          'audit-live-bytes',
          `audit: behind instruction ${at} of ${program}, device ${device} has ${measured} live bytes of ${category} and ${bytes[category]} are planned`,
          { fields: { device, instruction: at, category, measuredBytes: measured, plannedBytes: bytes[category] } },
        );
      });
    }
  }

  async #readAll(kind: 'parameter' | 'buffer' | 'state'): Promise<Map<string, HostTensor>> {
    refuseNullDevices(this.plan.request.devices, `the values of ${plural[kind]} cannot be read`);
    const values = new Map<string, HostTensor>();
    for (const [name, home] of this.#homes) {
      if (home.tensor.node.source!.kind !== kind) continue;
      const bytes = await this.#cluster.read(home.device, home.offset, home.bytes);
      values.set(name, { type: home.tensor.type, data: viewAs(home.tensor.type, bytes) });
    }
    return values;
  }

  async #write(home: Home, value: HostTensor): Promise<void> {
    checkFits(home, value);
    await this.#cluster.write(
      home.device,
      home.offset,
      new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength),
    );
  }

  async #writeConstants(): Promise<void> {
    for (const { device, persistent } of this.plan.memory) {
      for (const p of persistent) {
        const constant = this.plan.constants.get(p.name);
        if (!constant) continue;
        const { buffer, byteOffset, byteLength } = constant.data;
        await this.#cluster.write(device, p.offset, new Uint8Array(buffer, byteOffset, byteLength));
      }
    }
  }

  /** A program's feeds, each with the input of the graph that it is the value of. */
  #sourcesOf(program: string): readonly { readonly feed: StagedTensor; readonly source: Source }[] {
    const known = this.#sources.get(program);
    if (known) return known;
    const inputs = new Map(
      this.plan.graphs[program]!.sources('input').map((t) => [t.node.source!.name, t.node.source!]),
    );
    const sources = this.plan.programs[program]!.feeds.map((feed) => ({ feed, source: inputs.get(feed.name)! }));
    this.#sources.set(program, sources);
    return sources;
  }

  /** Puts the values of the program's inputs that are `wanted` into a staging area. */
  #feed(
    program: string,
    area: number,
    tensors: Readonly<Record<string, HostTensor>>,
    { step = 0, whole, lr, momentum }: Pick<RunOptions, 'step' | 'whole' | 'lr' | 'momentum'>,
    wanted: (source: Source) => boolean,
  ): void {
    const { optimizer, programs } = this.plan.request;
    const hyper = () => optimizer!.hyper(lr ?? optimizer!.defaultRate, step, momentum);
    const context = { tensors, samples: programs[program]!.batch, whole, seed: this.seed, step, hyper };
    for (const { feed, source } of this.#sourcesOf(program)) {
      if (wanted(source)) packFeed(feed, feedValue(source, context), this.#feeds[area]!);
    }
  }
}

const plural = { parameter: 'parameters', buffer: 'buffers', state: 'optimizer state' } as const;

/** What a session with null devices cannot be asked for. */
function refuseOfNullDevices({ request }: Plan, { parameters, transport }: SessionOptions): void {
  const { devices, programs } = request;
  const asksGradients = Object.values(programs).some(({ mode }) => mode === 'gradients');
  if (asksGradients) refuseNullDevices(devices, 'there are no gradients to compute');
  if (parameters) refuseNullDevices(devices, 'first values of parameters have no place');
  if (transport === 'threads') {
    refuseNullDevices(devices, "transport: 'threads' has nothing to share out", "leave transport out, or give 'local'");
  }
}

/** Devices that compute nothing take turns in this thread. A library is tried before any device takes it. */
async function startCluster({ request, memory }: Plan, options: SessionOptions): Promise<DeviceCluster> {
  if (hasNullDevices(request.devices)) return LocalCluster.startNull(request.devices.length, options);
  const { blas } = request;
  if (blas) await proveBlas(blas);
  const specs = request.devices.map((d, i) => ({
    backend: kernelsOf(d.backend),
    simd: request.simd,
    bytes: memory[i]!.peakBytes,
    capacity: d.memory,
  }));
  return await (options.transport === 'local' ? LocalCluster : ThreadCluster).start(specs, { ...options, blas });
}

function checkFits({ tensor, bytes }: Home, value: HostTensor): void {
  if (value.data.byteLength === bytes && value.type.dtype === tensor.dtype) return;
  throw new UsageError('parameter-type', `${tensor} cannot take ${value.data.length} values of ${value.type.dtype}`, {
    fields: { name: tensor.name },
  });
}

/** √Σ of the parameters' squared norms, added in f64 in the order of the graph. */
function normOf(results: ReadonlyMap<string, HostTensor>): number | null {
  const squares = [...results].filter(([name]) => name.startsWith('grad_square/'));
  return squares.length > 0 ? Math.sqrt(squares.reduce((sum, [, t]) => sum + t.data[0]!, 0)) : null;
}

function imagesOf(plan: Plan, name: string, program: Plan['programs'][string]): DeviceImage[] {
  const offsets = plan.memory.map((m) => m.layouts[name]!.offsets);
  return program.devices.map((device, d) => ({
    program: device,
    offsets: offsets[d]!,
    peerOffsets: offsets,
    deaths: deaths(device, plan.memory[d]!.layouts[name]!.intervals),
    persistent: plan.memory[d]!.persistent,
    feeds: program.feeds,
    results: program.results,
  }));
}

/** Parameters and state by name, with their device and offset. */
function findHomes(plan: Plan): Map<string, Home> {
  const homes = new Map<string, Home>();
  for (const graph of Object.values(plan.graphs)) {
    for (const tensor of (['parameter', 'buffer', 'state'] as const).flatMap((kind) => graph.sources(kind))) {
      const { name } = tensor.node.source!;
      if (homes.has(name)) continue;
      for (const { device, persistent } of plan.memory) {
        const place = persistent.find((p) => p.name === name);
        if (place) homes.set(name, { tensor, device, offset: place.offset, bytes: place.bytes });
      }
      if (!homes.has(name)) throw new DeviceError('homeless-parameter', `no device owns ${name}`, { fields: { name } });
    }
  }
  return homes;
}

const viewAs = (type: TensorType, bytes: Uint8Array): TensorData => viewOf(type, bytes.slice());

/** The same bytes as numbers. */
function viewOf({ dtype }: TensorType, { buffer, byteOffset, byteLength }: Uint8Array): TensorData {
  return dtype === 'f32'
    ? new Float32Array(buffer, byteOffset, byteLength / 4)
    : dtype === 'i32'
      ? new Int32Array(buffer, byteOffset, byteLength / 4)
      : new Uint8Array(buffer, byteOffset, byteLength);
}
