/** Inputs of a record's samples, drawn from seeded streams: the same values in every run. */
import { uniform } from '../../src/core/random.ts';
import { allocate, elementCount, type HostTensor, type TensorType } from '../../src/core/types.ts';
import type { RefTensor, Sample, SampleInput } from '../../src/graph/op-record.ts';
import { type OpName, recordOf, records } from '../../src/ops/index.ts';

export interface Case {
  readonly op: OpName;
  readonly sample: Sample;
  readonly title: string;
}

/** Every sample of every op. */
export const cases: readonly Case[] = (Object.keys(records) as OpName[]).flatMap((op) =>
  recordOf(op).samples.map((sample, i) => ({ op, sample, title: `${op}: ${sample.name ?? `sample ${i}`}` })),
);

/** Draws until every value keeps its distance; a sample that cannot be drawn is an error in the record. */
export function drawInput(input: SampleInput, stream: string): HostTensor {
  const type: TensorType = { dtype: input.dtype ?? 'f32', shape: input.shape };
  const data = allocate(type);
  if (input.values) {
    if (input.values.length !== elementCount(input.shape)) throw new Error(`${stream}: ${input.values.length} values`);
    data.set(input.values);
    return { type, data };
  }
  const [low, high] = type.dtype === 'bool' ? [0, 2] : [input.low ?? -1, input.high ?? 1];
  const gap = input.distinct ?? 0;
  const tries = 2000 * data.length + 2000;
  const draws = uniform({ seed: 1, stream }, tries);
  let next = 0;
  for (let i = 0; i < data.length; i++) {
    for (;;) {
      if (next === tries) throw new Error(`${stream}: no ${data.length} values ${gap} apart fit [${low}, ${high}]`);
      const raw = low + (high - low) * draws[next++]!;
      const value = type.dtype === 'f32' ? Math.fround(raw) : Math.floor(raw);
      const near = [...(input.awayFrom ?? []), ...(gap ? data.subarray(0, i) : [])];
      if (near.some((v) => Math.abs(v - value) < gap)) continue;
      data[i] = value;
      break;
    }
  }
  return { type, data };
}

export const drawCase = ({ sample, title }: Case): HostTensor[] =>
  sample.inputs.map((input, i) => drawInput(input, `${title}/${i}`));

/** Uniform in [−1, 1]: upstream gradients of 1 would hide errors. */
export const drawCotangent = (type: TensorType, stream: string): RefTensor => ({
  type,
  data: uniform({ seed: 2, stream }, elementCount(type.shape)).map((u) => Math.fround(2 * u - 1)),
});
