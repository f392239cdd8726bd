/**
 * Data from a tensor file (or from one file a tensor), named as the graph's inputs and targets. Tensors the graph does not
 * name are ignored.
 *
 *     mode      the file's tensor of an input [b, …]       step k gets
 *     fixed     [b, …]                                     the whole tensor, every step
 *     stream    [steps, b, …]                              index k of the leading axis; an error after the last
 *                                                          (of every tensor, those without a batch axis too)
 *     epochs    [samples, …] (samples on the batch axis)   a seeded shuffled batch of batchSize samples
 */
import { FormatError, nearest, PartitaError, UsageError } from '../../core/errors.ts';
import { allocate, type DType, elementCount, formatShape, type HostTensor } from '../../core/types.ts';
import { naturalDType, type RawTensor, toHostTensor } from '../../formats/raw-tensor.ts';
import { readSafetensors } from '../../formats/safetensors.ts';
import { type ContentVisitor, mapValues } from './dataset.ts';
import { Sampler } from './sampler.ts';
import { type BatchSource, orderOf } from './source.ts';

/** A graph input or target the file must hold. */
export interface WantedTensor {
  readonly name: string;
  /** Converted to this where given; otherwise floats become f32, integers i32. */
  readonly dtype?: DType;
  /** Default 0; null: the tensor has no batch axis and goes whole to every step. */
  readonly batchAxis?: number | null;
}

export type FileMode =
  | { readonly mode: 'fixed' }
  | { readonly mode: 'stream' }
  | {
      readonly mode: 'epochs';
      readonly batchSize: number;
      readonly seed: number;
      readonly shuffle?: 'seeded' | 'none';
    };

/** Tensors as their files hold them. */
export interface RawTensors {
  /** Names the file, or the files, in errors. */
  readonly where: string;
  readonly tensors: ReadonlyMap<string, RawTensor>;
  /** What to do where one is missing; default: add it to the file. */
  readonly remedy?: (missing: readonly string[]) => string;
}

/** From the bytes of a safetensors file. */
export const fileSource = (
  bytes: Uint8Array,
  where: string,
  wanted: readonly WantedTensor[],
  mode?: FileMode,
): BatchSource => tensorSource({ where, tensors: readSafetensors(bytes, where) }, wanted, mode);

export function tensorSource(
  raw: RawTensors,
  wanted: readonly WantedTensor[],
  mode: FileMode = { mode: 'fixed' },
): BatchSource {
  const { where } = raw;
  const tensors = readWanted(raw, wanted);
  const contents = (visit: ContentVisitor): void => {
    for (const [name, { type, data }] of Object.entries(tensors)) {
      visit(JSON.stringify([name, type.dtype, type.shape]));
      visit(data);
    }
  };
  if (mode.mode === 'stream') return { ...stream(tensors, where), contents };
  if (mode.mode === 'epochs') return { ...epochs(tensors, where, wanted, mode), contents };
  return {
    name: where,
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: 1,
    order: 'the whole file every step',
    contents,
    batchAt: (step) => ({ epoch: step, step, tensors }),
  };
}

function readWanted(
  { tensors: file, where, remedy }: RawTensors,
  wanted: readonly WantedTensor[],
): Record<string, HostTensor> {
  const missing = wanted.filter(({ name }) => !file.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    const held = [...file.keys()];
    // Only what nobody asks for may be a misspelt name.
    const spare = held.filter((name) => !wanted.some((w) => w.name === name));
    const guesses = missing.flatMap((name) => {
      const near = nearest(name, spare);
      return near ? [`"${near}" to "${name}"`] : [];
    });
    throw new FormatError(
      'data-tensor-missing',
      `${where} lacks ${missing.map((name) => `"${name}"`).join(', ')}; it holds ${held.map((name) => `"${name}"`).join(', ') || 'nothing'}`,
      {
        fields: { file: where, missing, held },
        remedy: remedy
          ? remedy(missing)
          : guesses.length > 0
            ? `rename ${guesses.join(', ')} in the file`
            : `add ${missing.join(', ')} to the file`,
      },
    );
  }
  const empty = wanted.find(({ name }) => file.get(name)!.shape.includes(0));
  if (empty) {
    throw new FormatError(
      'data-empty',
      `${where}: "${empty.name}" has shape [${file.get(empty.name)!.shape.join(', ')}]: no values`,
      {
        fields: { file: where, tensor: empty.name },
        remedy: 'write at least one sample',
      },
    );
  }
  return Object.fromEntries(
    wanted.map(({ name, dtype }) => {
      const entry = file.get(name)!;
      return [name, toHostTensor(entry, dtype ?? naturalDType(entry.dtype) ?? 'f32', `${where}: "${name}"`)];
    }),
  );
}

function stream(tensors: Record<string, HostTensor>, where: string): BatchSource {
  const steps = commonSize(tensors, where, () => 0, 'steps');
  return {
    name: where,
    steps,
    stepsPerEpoch: steps,
    order: 'step k takes index k',
    batchAt(step) {
      if (step >= steps) {
        throw new PartitaError(
          'data-exhausted',
          `${where} holds ${steps} steps; step ${step} (from 0) is not among them`,
          {
            fields: { file: where, steps, step },
            remedy: `set steps to ${steps} or less, or use mode "fixed" or "epochs"`,
          },
        );
      }
      return { epoch: 0, step, tensors: mapValues(tensors, (tensor) => stepOf(tensor, step)) };
    },
  };
}

/** Index `step` of the leading axis, without that axis; a view. */
function stepOf({ type, data }: HostTensor, step: number): HostTensor {
  const shape = type.shape.slice(1);
  const width = elementCount(shape);
  return { type: { dtype: type.dtype, shape }, data: data.subarray(step * width, (step + 1) * width) };
}

function epochs(
  tensors: Record<string, HostTensor>,
  where: string,
  wanted: readonly WantedTensor[],
  options: Extract<FileMode, { mode: 'epochs' }>,
): BatchSource {
  const axes = new Map(wanted.map(({ name, batchAxis }) => [name, batchAxis === undefined ? 0 : batchAxis]));
  const size = commonSize(tensors, where, (name) => axes.get(name)!, 'samples');
  const sampler = new Sampler({ ...options, size });
  return {
    name: where,
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: sampler.stepsPerEpoch,
    order: orderOf(options),
    batchAt(step) {
      const { epoch, indices } = sampler.batchAt(step);
      const pick = (tensor: HostTensor, name: string) => {
        const axis = axes.get(name)!;
        return axis === null ? tensor : take(tensor, axis, indices);
      };
      return { epoch, step, tensors: mapValues(tensors, pick) };
    },
  };
}

/** NumPy's take: these indices of one axis. */
export function take({ type, data }: HostTensor, axis: number, indices: Int32Array): HostTensor {
  const at = axis < 0 ? axis + type.shape.length : axis;
  const outer = elementCount(type.shape.slice(0, at));
  const inner = elementCount(type.shape.slice(at + 1));
  const size = type.shape[at]!;
  const taken = { dtype: type.dtype, shape: type.shape.with(at, indices.length) };
  const out = allocate(taken);
  for (let o = 0; o < outer; o++) {
    indices.forEach((index, k) => {
      const from = (o * size + index) * inner;
      out.set(data.subarray(from, from + inner), (o * indices.length + k) * inner);
    });
  }
  return { type: taken, data: out };
}

/** The size all tensors share on their axis. */
function commonSize(
  tensors: Record<string, HostTensor>,
  where: string,
  axisOf: (name: string) => number | null,
  what: 'steps' | 'samples',
): number {
  let first: { name: string; size: number } | undefined;
  for (const [name, { type }] of Object.entries(tensors)) {
    const axis = axisOf(name);
    if (axis === null) continue;
    const size = type.shape.at(axis);
    if (size === undefined || axis < -type.shape.length || axis >= type.shape.length || size === 0) {
      throw new FormatError(
        'data-axis',
        `${where}: "${name}" ${formatShape(type.shape)} has no ${what} on axis ${axis}`,
        {
          fields: { file: where, tensor: name, shape: type.shape, axis },
          remedy: remedyOfAxis(name, type.shape.length, axis, what),
        },
      );
    }
    first ??= { name, size };
    if (size !== first.size) {
      throw new FormatError('data-axis', `${where}: "${first.name}" has ${first.size} ${what}, "${name}" has ${size}`, {
        fields: { file: where, tensors: [first.name, name], sizes: [first.size, size] },
        remedy:
          what === 'steps'
            ? 'save every tensor with as many steps in front'
            : 'save them with as many samples, or say on which axes they are with batchAxis',
      });
    }
  }
  if (!first)
    throw new UsageError('data-axis', `${where}: no tensor has an axis of ${what}`, {
      fields: { file: where },
      remedy: 'say which axis is the batch of one of them: batchAxis',
    });
  return first.size;
}

/** Steps are in front whatever `batchAxis` says, and a scalar has no samples anywhere. */
function remedyOfAxis(name: string, rank: number, axis: number, what: 'steps' | 'samples'): string {
  if (what === 'steps') return `save ${name} with its steps in front: [steps, …]`;
  const meant = rank === 0 ? 'say that it has none' : 'say where they are';
  return `save ${name} with samples on axis ${axis}, or ${meant}: {"batchAxis": {${JSON.stringify(name)}: ${rank === 0 ? null : 0}}}`;
}
