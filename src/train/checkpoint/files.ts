/**
 * A checkpoint as files, and back. Each file is guarded by its length and SHA-256 in state.json, which guards itself, so
 * that a torn file or a flipped bit is found before anything is used.
 *
 *     state.json              {"format", "version", "sha256" of "state", "state": {…}}
 *     params.safetensors      parameters and buffers, as the run's own params.safetensors: `--params` takes it
 *     optimizer.safetensors   optimizer state
 *     history.safetensors     the records of all steps (history.ts)
 *     best.safetensors        parameters and buffers of the best evaluation, where there was one
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError, joinProblems } from '../../core/errors.ts';
import { JsonError, parseJson, versionText } from '../../core/json.ts';
import { any, choice, type Infer, integer, list, nullable, object, parse, record, string } from '../../core/schema.ts';
import type { HostTensor } from '../../core/types.ts';
import { naturalDType, toHostTensor } from '../../formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../formats/safetensors.ts';
import type { EvaluationRecord } from '../evaluate.ts';
import type { Checkpoint, NamedTensors } from './checkpoint.ts';
import { decodeHistory, encodeHistory } from './history.ts';
import type { TrainingIdentity } from './identity.ts';

const FORMAT = 'partita-checkpoint';
const VERSION = 1;
export const stateFile = 'state.json';

const envelope = object({ format: choice([FORMAT]), version: integer(), sha256: string(), state: any() });

/** An evaluator of one's own may tell more; by its loss the best is known. */
const evaluationSchema = record(any(), {
  check: ({ loss }) => (typeof fromJson(loss) === 'number' ? undefined : 'an evaluation with a loss'),
});

const stateSchema = object({
  step: integer({ min: 0 }),
  epoch: integer({ min: 0 }),
  identity: record(any()),
  experiment: any(),
  /** Names of the buffers, which stand among the parameters in their file. */
  buffers: list(string()),
  evaluations: list(object({ step: integer({ min: 0 }), evaluation: evaluationSchema })),
  /** Step of the best evaluation. */
  best: nullable(integer({ min: 0 })),
  files: record(object({ bytes: integer({ min: 0 }), sha256: string() })),
});
type State = Infer<typeof stateSchema>;

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export function encodeCheckpoint(checkpoint: Checkpoint): Map<string, Uint8Array | string> {
  const { step, records, best, parameters, buffers } = checkpoint;
  const files = new Map<string, Uint8Array | string>([
    ['params.safetensors', writeSafetensors([...parameters, ...buffers])],
    ['optimizer.safetensors', writeSafetensors(checkpoint.optimizerState)],
    ['history.safetensors', encodeHistory(records)],
  ]);
  if (best) files.set('best.safetensors', writeSafetensors(best.parameters));
  const state: State = {
    step,
    epoch: records.at(-1)?.epoch ?? 0,
    identity: { ...checkpoint.identity },
    experiment: checkpoint.experiment,
    buffers: [...buffers.keys()],
    evaluations: records.flatMap(({ step: at, evaluation }) =>
      evaluation ? [{ step: at, evaluation: mapNumbers(evaluation, toJson) }] : [],
    ),
    best: best?.step ?? null,
    files: Object.fromEntries(
      [...files].map(([name, bytes]) => [name, { bytes: bytes.length, sha256: sha256(bytes) }]),
    ),
  };
  // The checksum is of the state as JSON.stringify writes it, whatever blanks the file has.
  const guarded = { format: FORMAT, version: VERSION, sha256: sha256(JSON.stringify(state)), state };
  files.set(stateFile, `${JSON.stringify(guarded, null, 2)}\n`);
  return files;
}

/** Reads and checks a checkpoint's folder whole. Throws FormatError with all that is wrong. */
export function decodeCheckpoint(folder: string): Checkpoint {
  const state = readState(folder);
  const files = readFiles(folder, state);
  try {
    const tensorsOf = (name: string): NamedTensors => namedTensors(files.get(name)!, join(folder, name));
    const all = tensorsOf('params.safetensors');
    const lost = state.buffers.find((name) => !all.has(name));
    if (lost !== undefined) {
      throw new FormatError(
        'checkpoint-buffers',
        `${stateFile} names the buffer ${lost}, which params.safetensors has not`,
      );
    }
    const ofKind = (buffers: boolean) => new Map([...all].filter(([name]) => state.buffers.includes(name) === buffers));
    const evaluations = new Map(
      state.evaluations.map(({ step, evaluation }) => [
        step,
        mapNumbers(evaluation, fromJson) as unknown as EvaluationRecord,
      ]),
    );
    const history = files.get('history.safetensors')!;
    const records = decodeHistory(history, join(folder, 'history.safetensors'), state.step, evaluations);
    return {
      step: state.step,
      identity: state.identity as TrainingIdentity,
      experiment: state.experiment,
      parameters: ofKind(false),
      buffers: ofKind(true),
      optimizerState: tensorsOf('optimizer.safetensors'),
      records,
      ...(state.best === null
        ? {}
        : {
            best: {
              step: state.best,
              evaluation: evaluations.get(state.best)!,
              parameters: tensorsOf('best.safetensors'),
            },
          }),
    };
  } catch (cause) {
    throw damaged(folder, [(cause as Error).message], cause);
  }
}

function readState(folder: string): State {
  const path = join(folder, stateFile);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw damaged(folder, [`${stateFile} ${code === 'ENOENT' ? 'is missing' : `cannot be read: ${message}`}`], cause);
  }
  let json: unknown;
  try {
    json = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw damaged(folder, [`${stateFile} ${cause instanceof JsonError ? cause.message : 'is not UTF-8 text'}`], cause);
  }
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format !== FORMAT) {
    throw damaged(folder, [`${stateFile} is not a checkpoint's: it has no "format": "${FORMAT}"`]);
  }
  if (version !== VERSION) {
    throw new FormatError(
      'checkpoint-version',
      `${folder}: a checkpoint of ${versionText(version)}; this version of Partita reads ${VERSION}`,
      { fields: { folder, version, reads: VERSION }, remedy: 'resume it with the version that wrote it' },
    );
  }
  try {
    const guarded = parse(envelope, json, path);
    if (sha256(JSON.stringify(guarded.state)) !== guarded.sha256) {
      throw new FormatError('checkpoint-checksum', `${stateFile} has changed: its SHA-256 is another`);
    }
    const state = parse(stateSchema, guarded.state, path);
    refuseStrangeSteps(state);
    return state;
  } catch (cause) {
    throw damaged(folder, [(cause as Error).message.replace(`${path}: `, `${stateFile}: `)], cause);
  }
}

/** Evaluations are of steps that are done, one of each, and the best is one of them. */
function refuseStrangeSteps({ step, evaluations, best }: State): void {
  const seen = new Set<number>();
  for (const { step: own } of evaluations) {
    if (own >= step || seen.has(own)) {
      const why = own >= step ? `behind step ${step}` : 'twice';
      throw new FormatError('checkpoint-evaluations', `${stateFile} has an evaluation of step ${own}, ${why}`);
    }
    seen.add(own);
  }
  if (best === null || seen.has(best)) return;
  throw new FormatError('checkpoint-best', `${stateFile} has no evaluation of step ${best}, the best`);
}

/** The files that the state names, compared with what it says of them. */
function readFiles(folder: string, state: State): Map<string, Uint8Array> {
  const needed = ['params.safetensors', 'optimizer.safetensors', 'history.safetensors'];
  if (state.best !== null) needed.push('best.safetensors');
  const files = new Map<string, Uint8Array>();
  const problems = needed.flatMap((name) => {
    const said = state.files[name];
    if (!said) return [`${stateFile} does not name ${name}`];
    const path = join(folder, name);
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      return [code === 'ENOENT' ? `${name} is missing` : `${name} cannot be read: ${message}`];
    }
    files.set(name, bytes);
    if (bytes.length !== said.bytes) return [`${name} has ${bytes.length} bytes of ${said.bytes}`];
    return sha256(bytes) === said.sha256 ? [] : [`${name} has changed: its SHA-256 is another`];
  });
  if (problems.length > 0) throw damaged(folder, problems);
  return files;
}

const damaged = (folder: string, problems: readonly string[], cause?: unknown): FormatError =>
  new FormatError('checkpoint-damaged', `${folder} is damaged: ${joinProblems(problems)}`, {
    fields: { folder, problems },
    cause,
  });

function namedTensors(bytes: Uint8Array, where: string): Map<string, HostTensor> {
  return new Map(
    [...readSafetensors(bytes, where)].map(([name, raw]) => [
      name,
      toHostTensor(raw, naturalDType(raw.dtype) ?? 'f32', `${where}: "${name}"`),
    ]),
  );
}

/** JSON has no NaN and no infinities; an evaluation may. */
const toJson = (value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
const fromJson = (value: unknown): unknown =>
  value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : value;

const mapNumbers = (evaluation: object, of: (value: unknown) => unknown): Record<string, unknown> =>
  Object.fromEntries(Object.entries(evaluation).map(([key, value]) => [key, of(value)]));
