/** From a command line to an experiment: the file, or a stored plan's, with the flags set over it. */

import { dirname, resolve } from 'node:path';
import { FormatError, UsageError } from '../core/errors.ts';
import { JsonError, parseJson } from '../core/json.ts';
import { parseBytes } from '../core/memory-size.ts';
import { any } from '../core/schema.ts';
import { coerce, setPath } from '../core/schema-flags.ts';
import { readText } from '../formats/read-file.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import { expandModel, parseExperiment } from '../train/experiment/parse.ts';
import { absoluteAt, pathsIn, resolvePaths } from '../train/experiment/paths.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { MOST_STAGES } from '../train/experiment/semantics.ts';
import { isSweepKey, schemaOfKey, setSweep } from '../train/experiment/sweep.ts';
import { type Invocation, refuseOverwriting, textOf } from './invocation.ts';

export interface LoadedExperiment {
  readonly experiment: Experiment;
  /** Names it in errors: the file, or the command line. */
  readonly where: string;
  /** First names of the keys that the file or a flag gives; all others have their defaults. */
  readonly given: ReadonlySet<string>;
}

/** The experiment that a stored plan or a checkpoint brings, for where no file is given. */
export interface BroughtExperiment {
  readonly experiment: unknown;
  /** The plan or the checkpoint. */
  readonly from: string;
}

export function loadExperiment(invocation: Invocation, brought?: BroughtExperiment): LoadedExperiment {
  const { file, keys, memory, backend } = invocation;
  const own = brought?.experiment;
  const where = file ?? (own === undefined ? 'command line' : whereBrought(brought!, invocation));
  if (file === undefined && own === undefined && keys.length === 0) {
    const asked = [invocation.command, ...(invocation.topic === undefined ? [] : [invocation.topic])].join(' ');
    throw new UsageError('command-line', `${asked} needs an experiment file, or flags for model and data`, {
      remedy: `partita ${asked} experiment.json, or: partita ${asked} --model.kind mlp --data.kind digits`,
    });
  }
  const raw = rawExperiment(file, own);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new UsageError('experiment-invalid', `${where}: an experiment is a JSON object`, {
      fields: { file: where },
      remedy: '{"model": {"kind": "mlp"}, "data": {"kind": "digits"}}',
    });
  }
  const experiment = raw as Record<string, unknown>;
  if ('model' in experiment) experiment.model = expandModel(experiment.model);
  resolvePaths(experiment, file === undefined ? process.cwd() : dirname(resolve(file)));
  const kindBefore = kindOf(experiment.optimizer);
  // Whole objects first, so that --optimizer adam and --optimizer.lr 0.1 work in either order.
  const ordered = keys.map(scheduleFile).sort((a, b) => a[0].split('.').length - b[0].split('.').length);
  for (const [path, text] of ordered) {
    if (/^devices\.\d/.test(path)) experiment.devices = listOfDevices(experiment.devices);
    const read = coerce(schemaOfKey(path) ?? any(), text, `--${path}`);
    if (isSweepKey(path)) {
      setSweep(experiment, path, read, process.cwd());
      continue;
    }
    setPath(experiment, path, absoluteAt(path, path === 'model' ? expandModel(read) : read, process.cwd()));
  }
  letFlagsWin(experiment, keys, kindBefore);
  if (backend !== undefined) setBackend(experiment, backend);
  if (memory !== undefined) setMemory(experiment, memory);
  const parsed = parseExperiment(experiment, where);
  refuseResume(parsed, invocation);
  refuseCheckpointFlag(invocation);
  refuseResultsOverInputs(invocation, parsed);
  if (parsed.sweep && invocation.command !== 'study') refuseSweep(invocation, where);
  return { experiment: parsed, where, given: new Set(Object.keys(experiment)) };
}

/** What a flag sets over a stored experiment is not the fault of what brings it. */
function whereBrought({ from }: BroughtExperiment, { keys, memory, backend }: Invocation): string {
  const isChanged = keys.some(([path]) => path !== 'resume') || memory !== undefined || backend !== undefined;
  return `the experiment in ${from}${isChanged ? ' with the flags' : ''}`;
}

/** Of commands that need the arithmetic, before data are read and plans made. */
export function refuseNullExperiment({ devices }: Experiment, what: string, remedy?: string): void {
  if (typeof devices !== 'number') refuseNullDevices(devices, what, remedy);
}

/** `--schedule s.csv` names a file, as it does where stages are simulated. */
const scheduleFile = ([path, text]: Invocation['keys'][number]): Invocation['keys'][number] =>
  path === 'schedule' && /\.csv$/i.test(text) ? ['schedule.file', text] : [path, text];

/** Only a training goes on; the other commands would leave the key unheard. */
function refuseResume({ resume }: Experiment, { command }: Invocation): void {
  if (resume === undefined || command === 'train' || command === 'plan') return;
  throw new UsageError('resume-not-training', `resume: "partita ${command}" does not train, so it cannot resume`, {
    fields: { key: 'resume', command },
    remedy: `leave it out; a checkpoint's parameters are taken by --params ${resume}/step-N/params.safetensors`,
  });
}

/**
 * An experiment file serves every command, which reads of it what it needs. A flag is meant for this one; a plan keeps it for
 * its training.
 */
function refuseCheckpointFlag({ command, keys }: Invocation): void {
  const flag = keys.map(([path]) => path).find((path) => path.split('.')[0] === 'checkpoint');
  if (flag === undefined || command === 'train' || command === 'plan') return;
  throw new UsageError(
    'checkpoint-not-training',
    `--${flag}: "partita ${command}" does not train, so it keeps nothing`,
    {
      fields: { key: flag, command },
      remedy: `leave it out, or partita train with it`,
    },
  );
}

const flagsOfInputs = ['params', 'direction', 'plan', 'profile', 'cluster'];
const flagsOfResults = [
  ['out', 'out'],
  ['planOut', 'plan-out'],
  ['html', 'html'],
  ['trace', 'trace'],
] as const;

function refuseResultsOverInputs(invocation: Invocation, experiment: Experiment): void {
  const inputs = [
    { what: 'the experiment', path: invocation.file },
    ...flagsOfInputs.map((name) => ({ what: `--${name}`, path: textOf(invocation, name) })),
    ...pathsIn(experiment).map(([what, path]) => ({ what, path })),
  ];
  for (const [name, flag] of flagsOfResults) refuseOverwriting(flag, textOf(invocation, name), inputs);
}

/** A sweep is many experiments, and every command but `study` is about one. */
function refuseSweep({ command, file }: Invocation, where: string): never {
  throw new UsageError('sweep-outside-study', `${where}: sweep: partita ${command} takes a single experiment`, {
    fields: { key: 'sweep', command },
    remedy: `partita study batch ${file ?? '…'}, or leave the key out`,
  });
}

/** The experiment as it is written; a model by itself is an experiment that says no more. */
function rawExperiment(file: string | undefined, own: unknown): unknown {
  if (file === undefined) return own === undefined ? {} : structuredClone(own);
  return file.endsWith('.onnx') ? { model: resolve(file) } : readJson(file);
}

const kindOf = (value: unknown): unknown => (value as { kind?: unknown } | undefined)?.kind;

/** `steps` and `epochs` say the same in two ways: a flag for one replaces the file's other. */
function letFlagsWin(experiment: Record<string, unknown>, keys: Invocation['keys'], kindBefore: unknown): void {
  const given = new Set(keys.map(([path]) => path));
  if (given.has('steps') && !given.has('epochs')) delete experiment.epochs;
  if (given.has('epochs') && !given.has('steps')) delete experiment.steps;
  // Another kind of optimizer has other settings: those of the file's kind do not carry over.
  const optimizer = experiment.optimizer as Record<string, unknown> | undefined;
  if (given.has('optimizer.kind') && optimizer && kindBefore !== optimizer.kind) {
    experiment.optimizer = Object.fromEntries(
      Object.entries(optimizer).filter(([key]) => key === 'kind' || given.has(`optimizer.${key}`)),
    );
  }
}

function readJson(file: string): unknown {
  const remedy = 'an experiment file is JSON, without comments and trailing commas';
  let text: string;
  try {
    text = readText(file);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new UsageError('experiment-json', cause.message, { fields: { file }, remedy: cause.remedy ?? remedy, cause });
  }
  try {
    return parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new UsageError('experiment-json', `${file} ${cause.message}`, {
      fields: { file, ...cause.twice },
      remedy: cause.remedy(remedy),
      cause,
    });
  }
}

/** A count as a list, so that a flag can name one of them; one of more than there may be is told by what checks the experiment. */
function listOfDevices(devices: unknown = 1): unknown {
  return isCount(devices) ? Array.from({ length: devices }, () => ({})) : devices;
}

const isCount = (devices: unknown): devices is number =>
  Number.isSafeInteger(devices) && (devices as number) >= 0 && (devices as number) <= MOST_STAGES;

function setBackend(experiment: Record<string, unknown>, backend: string): void {
  const devices = listOfDevices(experiment.devices);
  if (!Array.isArray(devices)) return; // told by the schema
  experiment.devices = devices.map((d) => (typeof d === 'object' ? { ...d, backend } : d));
}

function setMemory(experiment: Record<string, unknown>, text: string): void {
  const sizes = text.split(',').map((size) => parseBytes(size.trim(), '--memory'));
  const { devices = 1 } = experiment;
  const count = Array.isArray(devices) ? devices.length : devices;
  if (!isCount(count) || count < 1) return; // told by the schema
  if (sizes.length > count) {
    throw new UsageError(
      'memory-count',
      `--memory gives ${sizes.length} sizes for ${count} ${count === 1 ? 'device' : 'devices'}`,
      {
        fields: { sizes, devices: count },
        remedy: `--devices ${sizes.length}`,
      },
    );
  }
  experiment.devices = Array.from({ length: count }, (_, i) => {
    const given = sizes.length === 1 ? sizes[0] : sizes[i];
    const device = Array.isArray(devices) ? devices[i] : {};
    return given === undefined || typeof device !== 'object' ? device : { ...device, memory: given };
  });
}
