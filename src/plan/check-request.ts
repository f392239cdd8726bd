/** What of a request is refused before a plan is made of it. */

import { nearest, UsageError } from '../core/errors.ts';
import { isRecord } from '../core/kinds.ts';
import { checkOptions, type OptionNames, shown } from '../core/options.ts';
import { fusionModes } from '../fusion/modes.ts';
import { type BackendName, simdVariants } from '../lower/kernel-call.ts';
import { batchNormModes } from '../optim/batch-norm-modes.ts';
import type { Balance, Partition } from '../partition/partition.ts';
import { mostDevices } from '../partition/problem.ts';
import { recomputeModes } from '../recompute/choice.ts';
import { refuseMixedDevices } from './null-devices.ts';
import type { PlannedDevice, PlanRequest, ProgramSpec } from './request.ts';

const requestNames: OptionNames<PlanRequest> = {
  model: 'required',
  programs: 'required',
  microbatches: 'required figure',
  devices: 'required',
  schedule: true,
  partition: 'required',
  placement: true,
  stagesPerDevice: 'figure',
  decided: true,
  stageSeconds: true,
  optimizer: true,
  clip: 'record',
  l2: true,
  recompute: true,
  batchNorm: true,
  inputGradients: 'flag',
  simd: true,
  blas: true,
  fusion: true,
  invariant: 'flag',
  lifetimes: true,
  costs: true,
  cluster: true,
};
const programNames: OptionNames<ProgramSpec> = {
  batch: 'required',
  mode: 'required',
  outputs: 'flag',
  gradientNorm: 'flag',
  gradientNoise: 'flag',
};
const deviceNames: OptionNames<PlannedDevice> = {
  backend: 'required',
  memory: 'required',
  speed: 'required',
  simulated: 'flag',
};

/** Throws UsageError for a request with keys that are none, or without one that must be there; `what` was given it. */
export function checkRequestKeys(request: PlanRequest, what = 'makePlan'): void {
  checkOptions(what, request, requestNames);
  checkKinds(what, request);
  for (const [name, spec] of Object.entries(request.programs)) {
    checkOptions(what, spec, programNames, `programs.${name}`);
    checkWord(what, `programs.${name}.mode`, programModes, spec.mode);
    if (!Number.isInteger(spec.batch)) {
      throw wrongOption(what, `programs.${name}.batch`, 'a whole number of samples', spec.batch, 'batch: 32');
    }
  }
  for (const [i, device] of request.devices.entries()) {
    checkOptions(what, device, deviceNames, `devices.${i}`);
    refuseUnknownDevice(device, i);
  }
}

const programModes = ['train', 'gradients', 'forward'] as const satisfies readonly ProgramSpec['mode'][];
const backendNames = ['wasm', 'blas', 'reference', 'null'] as const satisfies readonly BackendName[];
const lifetimes = ['short', 'plain'] as const satisfies readonly NonNullable<PlanRequest['lifetimes']>[];
const balances = ['time', 'memory', 'parameters'] as const satisfies readonly Balance[];
const partitionKinds = ['balance', 'cuts', 'stages', 'devices', 'ready'];

/** What the options are, of callers in JavaScript: what is none would fail far from here, or be taken for something else. */
function checkKinds(what: string, request: PlanRequest): void {
  const { model, programs, devices, partition, optimizer } = request;
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  if (typeof model?.build !== 'function')
    throw wrongOption(what, 'model', '{ name, build(samples) }', model, "modelOf({ kind: 'mlp' })");
  if (!isObject(programs) || Object.keys(programs).length === 0) {
    throw wrongOption(what, 'programs', 'at least one program', programs, "{ train: { batch: 32, mode: 'train' } }");
  }
  if (!Array.isArray(devices)) {
    throw wrongOption(
      what,
      'devices',
      'a list, one entry a device',
      devices,
      "[{ backend: 'wasm', memory: null, speed: 1 }]",
    );
  }
  if (partition !== 'auto' && !(isObject(partition) && partitionKinds.some((kind) => kind in partition))) {
    throw wrongOption(
      what,
      'partition',
      `'auto', or an object with ${orOf(partitionKinds)}`,
      partition,
      "{ cuts: ['layer.1'] }",
    );
  }
  if (optimizer && typeof optimizer.update !== 'function') {
    throw wrongOption(
      what,
      'optimizer',
      'what makeOptimizer returns',
      optimizer,
      "makeOptimizer({ kind: 'sgd', lr: 0.1 })",
    );
  }
  checkParts(what, request);
  if (isObject(partition) && 'balance' in partition) checkWord(what, 'partition.balance', balances, partition.balance);
  if (!(request.recompute instanceof Map)) checkWord(what, 'recompute', recomputeModes, request.recompute);
  checkWord(what, 'batchNorm', batchNormModes, request.batchNorm);
  checkWord(what, 'simd', simdVariants, request.simd);
  checkWord(what, 'fusion', fusionModes, request.fusion);
  checkWord(what, 'lifetimes', lifetimes, request.lifetimes);
}

const isListOf = (value: unknown, kind: 'string' | 'number'): boolean =>
  Array.isArray(value) && value.every((v) => typeof v === kind);

/** Schedule, placement, cuts, names of the penalty, costs and cluster, where they are given. */
function checkParts(what: string, { schedule, placement, partition, l2, costs, cluster }: PlanRequest): void {
  if (schedule !== undefined && typeof schedule !== 'string' && !Array.isArray(schedule?.rows)) {
    throw wrongOption(what, 'schedule', 'a name, or what makeSchedule returns', schedule, "schedule: '1f1b'");
  }
  if (placement !== undefined && !isListOf(placement, 'number')) {
    throw wrongOption(what, 'placement', 'a list of devices, one a stage', placement, 'placement: [0, 1]');
  }
  if (typeof partition === 'object' && 'cuts' in partition && !isListOf(partition.cuts, 'string')) {
    throw wrongOption(what, 'partition.cuts', 'a list of names', partition.cuts, "{ cuts: ['layer.1'] }");
  }
  checkPatterns(what, partition);
  if (l2 && !(typeof l2.lambda === 'number' && isListOf(l2.parameters, 'string'))) {
    throw wrongOption(
      what,
      'l2',
      '{ lambda, parameters }, a number and names',
      l2,
      "{ lambda: 1e-4, parameters: ['w'] }",
    );
  }
  const isModel = [costs?.kernelSeconds, costs?.instructionSeconds, costs?.link].every((f) => typeof f === 'function');
  if (costs !== undefined && !isModel) {
    throw wrongOption(what, 'costs', 'a cost model', costs, 'costs: analyticCosts()');
  }
  if (cluster !== undefined && !Array.isArray(cluster?.devices)) {
    throw wrongOption(what, 'cluster', 'devices, with costs and links', cluster, 'leave it out');
  }
}

/** `stages` and `devices` of a partition: numbers by name pattern. `ready` is a partition itself. */
function checkPatterns(what: string, partition: PlanRequest['partition']): void {
  if (typeof partition !== 'object') return;
  const given = partition as Readonly<Record<string, unknown>>;
  for (const key of ['stages', 'devices']) {
    const patterns = given[key];
    if (!(key in given) || (isRecord(patterns) && Object.values(patterns).every((n) => Number.isInteger(n)))) continue;
    throw wrongOption(
      what,
      `partition.${key}`,
      'numbers by name pattern',
      patterns,
      `{ ${key}: { 'layer.*': 0, '*': 1 } }`,
    );
  }
  if ('ready' in given && !isRecord((given.ready as Partial<Partition> | null)?.assignment)) {
    throw wrongOption(what, 'partition.ready', 'a partition', given.ready, 'partitionByCuts(graph, names)');
  }
}

function checkWord(what: string, option: string, words: readonly string[], word: unknown): void {
  if (word === undefined || words.includes(word as string)) return;
  throw wrongOption(what, option, orOf(words), word, `${option}: '${nearest(word, words) ?? words[0]}'`);
}

const orOf = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' | ');

function wrongOption(what: string, option: string, expected: string, got: unknown, remedy?: string): UsageError {
  const isObject = typeof got === 'object' && got !== null;
  const kind =
    typeof got === 'function' ? 'a function' : Array.isArray(got) ? 'a list' : isObject ? 'an object' : String(got);
  return new UsageError('options-invalid', `${what}: option ${option} must be ${expected}, and is ${kind}`, {
    fields: { option, expected },
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** Throws UsageError for devices, a cluster or a clip that no plan can be made for. */
export function checkRequest({ devices, blas, cluster, clip, optimizer }: PlanRequest): void {
  if (devices.length === 0)
    throw new UsageError('no-devices', 'a plan needs at least one device', { remedy: '--devices 1' });
  if (devices.length > mostDevices) {
    throw new UsageError('too-many-devices', `${devices.length} devices: a plan has at most ${mostDevices}`, {
      fields: { devices: devices.length, most: mostDevices },
      remedy: `--devices ${mostDevices} at most; pipelineProgram of the API plays stages of any number (docs/simulator.md)`,
    });
  }
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
    throw new UsageError(
      'device-invalid',
      `devices.${device}.backend must be ${orOf(backendNames)}, not ${String(backend)}`,
      {
        fields: { device, backend, nearest: near },
        remedy: `{ backend: '${near}', memory: null, speed: 1 }`,
      },
    );
  }
  const memoryKnown = memory === null || (Number.isFinite(memory) && memory >= 0);
  if (memoryKnown && Number.isFinite(speed) && speed > 0) return;
  throw new UsageError(
    'device-invalid',
    memoryKnown
      ? `devices.${device}.speed must be a number > 0, not ${shown(speed)}`
      : `devices.${device}.memory must be bytes, or null for as much as needed, not ${shown(memory)}`,
    { fields: { device, memory, speed }, remedy: "{ backend: 'wasm', memory: null, speed: 1 }" },
  );
}
