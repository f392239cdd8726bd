import type { OptionNames } from '../core/options.ts';
import type { HostTensor } from '../core/types.ts';
import type { ClusterOptions } from '../runtime/device-cluster.ts';
import type { StepReport } from '../runtime/device-image.ts';
import type { WholeBatch } from './feeds.ts';
import type { StepNoise } from './noise-tracker.ts';

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

/** For `checkOptions`. */
export const sessionNames: OptionNames<SessionOptions> = {
  seed: 'index',
  parameters: true,
  transport: true,
  onStart: 'function',
  blas: true,
  audit: 'flag',
  poison: true,
  faults: true,
  hangFactor: 'positive',
  heapMegabytes: 'positive',
  lookSeconds: 'figure',
  threads: true,
  signal: 'signal',
};
export const runNames: OptionNames<RunOptions> = {
  step: 'index',
  lr: 'figure',
  momentum: 'figure',
  profile: 'flag',
  whole: true,
  signal: 'signal',
  meanwhile: 'function',
};
const { step, whole, ...stagedRun } = runNames;
export const stageNames: OptionNames<StageOptions> = { step, whole, ahead: 'flag' };
export const stagedRunNames: OptionNames<StagedRunOptions> = stagedRun;
