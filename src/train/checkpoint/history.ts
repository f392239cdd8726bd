/** The records of all steps as columns: exact, and small enough to be written with every checkpoint. */
import { FormatError } from '../../core/errors.ts';
import type { RawTensor } from '../../formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../formats/safetensors.ts';
import { bubbleOf } from '../bubble.ts';
import type { EvaluationRecord } from '../evaluate.ts';
import type { StepRecord } from '../trainer.ts';

/**
 *     epoch I32 [steps]   loss, lr, seconds F64 [steps]   grad_norm F64 [steps]   grad_norm_known I32 [steps]: 0 or 1
 *     momentum F64 [steps] where a rule sets it (NaN in other steps)
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
    ['seconds', column((r) => r.seconds)],
    ['devices', integers(records.map((r) => r.busySeconds.length))],
    ['busy_seconds', doubles(records.flatMap((r) => r.busySeconds))],
  ]);
}

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
