/** What a plan is asked for. */
import { nearest, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames } from '../core/options.ts';
import { analyticCosts, type CostModel } from '../cost/model.ts';
import type { FusionMode } from '../fusion/modes.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { BackendName, SimdVariant } from '../lower/kernel-call.ts';
import type { BatchNormMode } from '../optim/batch-norm.ts';
import type { ClipConfig } from '../optim/clip.ts';
import type { Model } from '../optim/model.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { L2Penalty } from '../optim/training-graph.ts';
import type { PartitionSpec } from '../partition/index.ts';
import { type RecomputeChoice, type RecomputeMode, recomputeModes } from '../recompute/index.ts';
import type { Durations, Schedule, ScheduleName } from '../schedule/index.ts';
import type { Cluster } from '../simulate/cluster.ts';
import { refuseMixedDevices } from './null-devices.ts';

export interface PlannedDevice {
  readonly backend: BackendName;
  /** Capacity in bytes; null: as much as needed. */
  readonly memory: number | null;
  /** Relative speed, 1 = this machine's core. */
  readonly speed: number;
  /** Only simulated: its memory may be larger than what a WebAssembly memory can address. */
  readonly simulated?: boolean;
}

/** What a program of a plan does with a batch. */
export interface ProgramSpec {
  readonly batch: number;
  /** `train` updates the parameters, `gradients` computes them, `forward` only runs the model. */
  readonly mode: 'train' | 'gradients' | 'forward';
  /** Results beyond the loss. */
  readonly outputs?: boolean;
  /** The gradient's squared norm, parameter by parameter; training reports `gradNorm` from it. */
  readonly gradientNorm?: boolean;
  /**
   * The squared norms that the gradient noise is estimated from, microbatch by microbatch; needs `gradientNorm`, and two
   * microbatches or `invariant`.
   */
  readonly gradientNoise?: boolean;
}

/** `auto` is made for the plan's own costs and memories by list scheduling. */
export type ScheduleWord = ScheduleName | 'auto';

/** A word, or a schedule from a file. */
export type ScheduleChoice = ScheduleWord | Schedule;

export interface PlanRequest {
  readonly model: Model;
  /** The first program decides partition and schedule. */
  readonly programs: Readonly<Record<string, ProgramSpec>>;
  readonly microbatches: number;
  readonly devices: readonly PlannedDevice[];
  /** Default `1f1b`; `gpipe` where the model normalises by the whole batch. */
  readonly schedule?: ScheduleChoice;
  readonly partition: PartitionSpec;
  /** Device of each stage; default: where the schedule wants them (`schedulePlacement`), or a file has them. */
  readonly placement?: readonly number[];
  /** Stages that each device owns where no placement says so. Default: as the schedule has them, most one. */
  readonly stagesPerDevice?: number;
  /** Schedules of programs that were decided before: those of a stored plan, but for the first program's. */
  readonly decided?: Readonly<Record<string, Schedule>>;
  /** Times of the schedule's stages on a device of speed 1, by which messages get their places. Default: by `costs`. */
  readonly stageSeconds?: readonly Durations[];
  readonly optimizer?: Optimizer;
  /** Of the programs that train; gradients that are asked for are not clipped. */
  readonly clip?: ClipConfig;
  readonly l2?: L2Penalty;
  /**
   * What the backward pass computes again instead of having it kept: by a rule, or stage by stage; default `none`. Changes
   * no bit.
   */
  readonly recompute?: RecomputeMode | RecomputeChoice;
  /** What batch normalisation takes its statistics of; default `micro`. */
  readonly batchNorm?: BatchNormMode;
  readonly inputGradients?: boolean;
  /** Which build of the kernels WebAssembly devices run; default `strict`. `relaxed` has bits of its own. */
  readonly simd?: SimdVariant;
  /** What devices with the backend `blas` call for products (`findBlas`). */
  readonly blas?: BlasLibrary | undefined;
  /**
   * The same bits for every number of microbatches: each sample is computed by itself, and sums over the batch are one
   * binary tree over the samples (`program/pairwise.ts`). Slower, and log₂ of the batch partial sums a gradient.
   */
  readonly invariant?: boolean;
  /** Elementwise nodes that follow each other run as one pass over memory (`fusion/`); default `off`. Changes no bit. */
  readonly fusion?: FusionMode;
  /** `plain`: without what shortens lifetimes (docs/memory-lifetimes.md), to compare with. Default `short`. */
  readonly lifetimes?: 'short' | 'plain';
  /** What computing and sending cost, for the partition and the prediction. Default: rooflines of a WebAssembly core. */
  readonly costs?: CostModel;
  /**
   * Where steps are predicted: these devices, one for each of `devices`, with what their links share. Default: `devices` with
   * `costs`, and links that share nothing. Partitions and schedules are made by `devices` and `costs` all the same.
   */
  readonly cluster?: Cluster;
}

export interface ScheduledRequest extends PlanRequest {
  readonly schedule: ScheduleChoice;
}

/** Where the steps of a request's plans are predicted. */
export const clusterOf = ({ devices, costs = analyticCosts(), cluster }: PlanRequest): Cluster =>
  cluster ?? { devices, costs };

const requestNames: OptionNames<PlanRequest> = {
  model: 'required',
  programs: 'required',
  microbatches: 'required',
  devices: 'required',
  schedule: true,
  partition: 'required',
  placement: true,
  stagesPerDevice: true,
  decided: true,
  stageSeconds: true,
  optimizer: true,
  clip: true,
  l2: true,
  recompute: true,
  batchNorm: true,
  inputGradients: true,
  simd: true,
  blas: true,
  fusion: true,
  invariant: true,
  lifetimes: true,
  costs: true,
  cluster: true,
};
const programNames: OptionNames<ProgramSpec> = {
  batch: 'required',
  mode: 'required',
  outputs: true,
  gradientNorm: true,
  gradientNoise: true,
};
const deviceNames: OptionNames<PlannedDevice> = {
  backend: 'required',
  memory: 'required',
  speed: 'required',
  simulated: true,
};

/** Throws UsageError for a request with keys that are none, or without one that must be there. */
export function checkRequestKeys(request: PlanRequest): void {
  checkOptions('makePlan', request, requestNames);
  checkKinds(request);
  for (const [name, spec] of Object.entries(request.programs)) {
    checkOptions('makePlan', spec, programNames, `programs.${name}`);
    if (!programModes.includes(spec.mode)) {
      throw wrongOption(
        `programs.${name}.mode`,
        orOf(programModes),
        spec.mode,
        nearest(String(spec.mode), programModes),
      );
    }
  }
  for (const [i, device] of request.devices.entries()) {
    checkOptions('makePlan', device, deviceNames, `devices.${i}`);
  }
}

const programModes = ['train', 'gradients', 'forward'] as const satisfies readonly ProgramSpec['mode'][];
const backendNames = ['wasm', 'blas', 'reference', 'null'] as const satisfies readonly BackendName[];
const partitionKinds = ['balance', 'cuts', 'stages', 'devices', 'ready'];

/** What the options are, of callers in JavaScript: what is none would fail far from here, or be taken for something else. */
function checkKinds({ model, programs, devices, partition, optimizer, recompute }: PlanRequest): void {
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  if (typeof model?.build !== 'function') throw wrongOption('model', '{ name, build(samples) }', model);
  if (!isObject(programs) || Object.keys(programs).length === 0) {
    throw wrongOption('programs', 'at least one program', programs, "{ train: { batch: 32, mode: 'train' } }");
  }
  if (!Array.isArray(devices)) {
    throw wrongOption(
      'devices',
      'a list, one entry a device',
      devices,
      "[{ backend: 'wasm', memory: null, speed: 1 }]",
    );
  }
  if (partition !== 'auto' && !(isObject(partition) && partitionKinds.some((kind) => kind in partition))) {
    throw wrongOption(
      'partition',
      `'auto', or an object with ${orOf(partitionKinds)}`,
      partition,
      "{ cuts: ['layer.1'] }",
    );
  }
  if (optimizer && typeof optimizer.update !== 'function') {
    throw wrongOption('optimizer', 'what makeOptimizer returns', optimizer, "makeOptimizer({ kind: 'sgd', lr: 0.1 })");
  }
  if (recompute === undefined || recompute instanceof Map || recomputeModes.includes(recompute as RecomputeMode))
    return;
  throw wrongOption('recompute', orOf(recomputeModes), recompute, nearest(String(recompute), recomputeModes));
}

const orOf = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' | ');

function wrongOption(option: string, expected: string, got: unknown, remedy?: string): UsageError {
  const isObject = typeof got === 'object' && got !== null;
  const what =
    typeof got === 'function' ? 'a function' : Array.isArray(got) ? 'a list' : isObject ? 'an object' : `${got}`;
  return new UsageError('options-invalid', `makePlan: option ${option} must be ${expected}, and is ${what}`, {
    fields: { option, expected },
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** Throws UsageError for devices, a cluster or a clip that no plan can be made for. */
export function checkRequest({ devices, blas, cluster, clip, optimizer }: PlanRequest): void {
  if (devices.length === 0)
    throw new UsageError('no-devices', 'a plan needs at least one device', { remedy: '--devices 1' });
  devices.forEach(refuseUnknownDevice);
  const native = devices.findIndex(({ backend }) => backend === 'blas');
  if (native >= 0 && !blas) {
    throw new UsageError('blas-library', `device ${native} has the backend "blas", and the request names no library`, {
      fields: { device: native },
      remedy: "blas: findBlas('auto')",
    });
  }
  refuseMixedDevices(devices);
  if (cluster && cluster.devices.length !== devices.length) {
    throw new UsageError(
      'cluster-devices',
      `the cluster has ${cluster.devices.length} devices, and the plan ${devices.length}`,
      {
        fields: { cluster: cluster.devices.length, devices: devices.length },
        remedy: 'give the cluster one device for each of devices, in their order',
      },
    );
  }
  if (clip && !optimizer) {
    throw new UsageError(
      'clip-without-optimizer',
      'clip scales the gradients of an update, and there is no optimizer',
      {
        fields: { clip },
        remedy: "optimizer: makeOptimizer({ kind: 'sgd' })",
      },
    );
  }
}

/** Callers in JavaScript may leave out what TypeScript asks for; a device without a number would fail far from here. */
function refuseUnknownDevice({ backend, memory, speed }: PlannedDevice, device: number): void {
  if (!backendNames.includes(backend)) {
    const near = nearest(String(backend), backendNames) ?? 'wasm';
    throw new UsageError('device-invalid', `devices.${device}.backend must be ${orOf(backendNames)}, not ${backend}`, {
      fields: { device, backend, nearest: near },
      remedy: `{ backend: '${near}', memory: null, speed: 1 }`,
    });
  }
  const memoryKnown = memory === null || (Number.isFinite(memory) && memory >= 0);
  if (memoryKnown && Number.isFinite(speed) && speed > 0) return;
  throw new UsageError(
    'device-invalid',
    memoryKnown
      ? `devices.${device}.speed must be a number > 0, not ${speed}`
      : `devices.${device}.memory must be bytes, or null for as much as needed, not ${memory}`,
    { fields: { device, memory, speed }, remedy: "{ backend: 'wasm', memory: null, speed: 1 }" },
  );
}
