/**
 * What training data looks like to the rest: numbered samples, collected into batches on demand.
 *
 *     Dataset      samples by index                          digits, fashion-mnist, text, csv
 *     Sampler      step → indices                            sampler.ts
 *     BatchSource  step → tensors                            source.ts: a data set with a sampler, or a file
 */
import { PartitaError } from '../../core/errors.ts';
import { allocate, type DType, elementCount, type HostTensor, type Shape, type TensorData } from '../../core/types.ts';

export interface SampleType {
  readonly dtype: DType;
  readonly sampleShape: Shape;
}

/** Takes, part by part, all that decides which values a step is fed: two data with equal parts are the same data. */
export type ContentVisitor = (part: string | ArrayBufferView) => void;

export interface Dataset {
  readonly name: string;
  /** Number of samples. */
  readonly size: number;
  /** Its samples, wherever they lie and whatever they are called; checkpoints know the data again by them. */
  readonly contents?: (visit: ContentVisitor) => void;
  readonly tensors: Readonly<Record<string, SampleType>>;
  /** The samples at these indices, with a leading batch axis. */
  batch(indices: Int32Array): Record<string, HostTensor>;
  /** Number of classes of `y` (of the vocabulary, for text). */
  readonly classes?: number;
  /** What the classes are called, where the data have words for them. */
  readonly classNames?: readonly string[];
  /** Splits where samples overlap and a random split would leak; `holdOut` of split.ts asks for it. */
  readonly holdOut?: (fraction: number) => Split;
}

export interface Split {
  readonly train: Dataset;
  readonly heldOut: Dataset;
}

/** All values of one tensor, sample after sample. */
export interface Column extends SampleType {
  readonly values: TensorData | Float64Array;
  /** Divides each value, so that bytes can stay bytes until they are asked for. */
  readonly divisor?: number;
}

/** A data set whose values lie in memory. */
export function datasetOf(
  name: string,
  size: number,
  columns: Readonly<Record<string, Column>>,
  more: Pick<Dataset, 'classes' | 'classNames'> = {},
): Dataset {
  return {
    name,
    size,
    tensors: sampleTypes(columns),
    ...more,
    batch(indices) {
      checkIndices(name, size, indices);
      return mapValues(columns, (column) => gather(column, indices));
    },
    contents(visit) {
      for (const [column, { dtype, sampleShape, divisor = 1, values }] of Object.entries(columns)) {
        visit(JSON.stringify([column, dtype, sampleShape, divisor]));
        visit(values);
      }
    },
  };
}

function gather({ dtype, sampleShape, values, divisor = 1 }: Column, indices: Int32Array): HostTensor {
  const type = { dtype, shape: [indices.length, ...sampleShape] };
  const data = allocate(type);
  const width = elementCount(sampleShape);
  let to = 0;
  for (const index of indices) {
    for (let from = index * width; from < (index + 1) * width; from++) data[to++] = values[from]! / divisor;
  }
  return { type, data };
}

const sampleTypes = (columns: Readonly<Record<string, Column>>): Record<string, SampleType> =>
  mapValues(columns, ({ dtype, sampleShape }) => ({ dtype, sampleShape }));

/** Samples `indices` of another data set, as a data set. */
export function subset(dataset: Dataset, indices: Int32Array, name: string): Dataset {
  checkIndices(dataset.name, dataset.size, indices);
  return {
    name,
    size: indices.length,
    tensors: dataset.tensors,
    classes: dataset.classes,
    classNames: dataset.classNames,
    batch(chosen) {
      checkIndices(name, indices.length, chosen);
      return dataset.batch(chosen.map((i) => indices[i]!));
    },
    ...(dataset.contents && {
      contents: (visit) => {
        dataset.contents!(visit);
        visit(indices);
      },
    }),
  };
}

export function checkIndices(name: string, size: number, indices: Int32Array): void {
  for (const index of indices) {
    if (index < 0 || index >= size) {
      throw new PartitaError('data-index', `${name} has no sample ${index}; it has ${size}`, {
        fields: { dataset: name, index, size },
        remedy: `0 to ${size - 1}`,
      });
    }
  }
}

/** Object.fromEntries defines keys, so even a tensor named "__proto__" stays one. */
export const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  of: (value: A, key: string) => B,
): Record<string, B> => Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value, key)]));
