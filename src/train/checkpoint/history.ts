/** The records of all steps as columns: exact, and small enough to be written with every checkpoint. */
import { FormatError } from '../../core/errors.ts';
import type { RawTensor } from '../../formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../formats/safetensors.ts';
import { bubbleOf } from '../bubble.ts';
import type { EvaluationRecord } from '../evaluate.ts';
import type { NoiseRecord } from '../noise-tracker.ts';
import type { StepRecord } from '../trainer.ts';

/**
 *     epoch I32 [steps]   loss, lr, seconds F64 [steps]   grad_norm F64 [steps]   grad_norm_known I32 [steps]: 0 or 1
 *     momentum F64 [steps] where a rule sets it (NaN in other steps)
 *     noise I32 [steps] (0 or 1: whether the step tells of it)   noise/g2, noise/s, noise/g2_average, noise/s_average,
 *     noise/b_simple F64 [steps], where the plan estimates the gradient noise
 *     devices I32 [steps]: how many there were   busy_seconds F64 [Σ devices]: theirs, step after step
 *
 * Resumed on another number of devices, a training has steps of both.
 */
export function encodeHistory(records: readonly StepRecord[]): Uint8Array {
  const column = (of: (record: StepRecord) => number) => doubles(records.map(of));
  return writeSafetensors([
    ['epoch', integers(records.map((r) => r.epoch))],
    ['loss', column((r) => r.loss)],
    ['lr', column((r) => r.lr)],
    ['grad_norm', column((r) => r.gradNorm ?? 0)],
    ['grad_norm_known', integers(records.map((r) => (r.gradNorm === null ? 0 : 1)))],
    ...(records.some((r) => r.momentum !== undefined)
      ? [['momentum', column((r) => r.momentum ?? Number.NaN)] as const]
      : []),
    ...(records.some((r) => r.noise)
      ? [
          ['noise', integers(records.map((r) => (r.noise ? 1 : 0)))] as const,
          ...noiseKeys.map((key) => [noiseColumns[key], column((r) => r.noise?.[key] ?? 0)] as const),
        ]
      : []),
    ['seconds', column((r) => r.seconds)],
    ['devices', integers(records.map((r) => r.busySeconds.length))],
    ['busy_seconds', doubles(records.flatMap((r) => r.busySeconds))],
  ]);
}

const noiseColumns: Readonly<Record<keyof NoiseRecord, string>> = {
  g2: 'noise/g2',
  s: 'noise/s',
  g2Average: 'noise/g2_average',
  sAverage: 'noise/s_average',
  bSimple: 'noise/b_simple',
};
const noiseKeys = Object.keys(noiseColumns) as (keyof NoiseRecord)[];

/** `evaluations` by step. Throws FormatError where a column is missing or has another length than `steps`. */
export function decodeHistory(
  bytes: Uint8Array,
  where: string,
  steps: number,
  evaluations: ReadonlyMap<number, EvaluationRecord>,
): StepRecord[] {
  const tensors = readSafetensors(bytes, where);
  const column = (name: string, dtype: 'F64' | 'I32', length: number): ArrayLike<number> => {
    const tensor = tensors.get(name);
    if (tensor?.dtype !== dtype || tensor.shape.length !== 1 || tensor.shape[0] !== length) {
      throw new FormatError('checkpoint-history', `${where}: "${name}" is not ${dtype} [${length}]`, {
        fields: { file: where, tensor: name },
      });
    }
    const buffer = Uint8Array.from(tensor.bytes).buffer;
    return dtype === 'F64' ? new Float64Array(buffer) : new Int32Array(buffer);
  };
  const epoch = column('epoch', 'I32', steps);
  const loss = column('loss', 'F64', steps);
  const lr = column('lr', 'F64', steps);
  const gradNorm = column('grad_norm', 'F64', steps);
  const known = column('grad_norm_known', 'I32', steps);
  const momentum = tensors.has('momentum') ? column('momentum', 'F64', steps) : undefined;
  const noiseKnown = tensors.has('noise') ? column('noise', 'I32', steps) : [];
  const noise = tensors.has('noise') ? noiseKeys.map((key) => column(noiseColumns[key], 'F64', steps)) : [];
  const noiseAt = (step: number) =>
    Object.fromEntries(noiseKeys.map((key, k) => [key, noise[k]![step]!])) as unknown as NoiseRecord;
  const seconds = column('seconds', 'F64', steps);
  const devices = Array.from(column('devices', 'I32', steps));
  const busy = Array.from(
    column(
      'busy_seconds',
      'F64',
      devices.reduce((a, b) => a + b, 0),
    ),
  );
  let at = 0;
  return devices.map((count, step) => {
    const busySeconds = busy.slice(at, (at += count));
    const evaluation = evaluations.get(step);
    return {
      step,
      epoch: epoch[step]!,
      loss: loss[step]!,
      lr: lr[step]!,
      ...(momentum && !Number.isNaN(momentum[step]) ? { momentum: momentum[step]! } : {}),
      gradNorm: known[step] ? gradNorm[step]! : null,
      ...(noiseKnown[step] ? { noise: noiseAt(step) } : {}),
      seconds: seconds[step]!,
      busySeconds,
      bubbleFraction: bubbleOf(busySeconds, seconds[step]!),
      ...(evaluation ? { evaluation } : {}),
    };
  });
}

const doubles = (values: readonly number[]): RawTensor => rawColumn('F64', Float64Array.from(values));
const integers = (values: readonly number[]): RawTensor => rawColumn('I32', Int32Array.from(values));
const rawColumn = (dtype: 'F64' | 'I32', data: Float64Array | Int32Array): RawTensor => ({
  dtype,
  shape: [data.length],
  bytes: new Uint8Array(data.buffer),
});
