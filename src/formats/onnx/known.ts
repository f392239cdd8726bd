/** Values known at import: made from the file's constants, computed on the host, and put into the graph where one is needed. */
import { GraphError } from '../../core/errors.ts';
import { allocate, type DType, elementCount, type HostTensor, type Shape } from '../../core/types.ts';
import { type RawDType, toHostTensor } from '../raw-tensor.ts';
import { saturate } from './decode.ts';
import type { OnnxDType, OnnxTensor } from './model.ts';
import type { Known } from './operator.ts';

/** What an ONNX element type is in a graph; undefined: no tensor of a graph has it. */
export function graphDType(dtype: OnnxDType): DType | undefined {
  switch (dtype) {
    case 'FLOAT':
    case 'DOUBLE':
    case 'FLOAT16':
    case 'BFLOAT16':
      return 'f32';
    case 'BOOL':
      return 'bool';
    case 'STRING':
    case 'COMPLEX64':
    case 'COMPLEX128':
      return undefined;
    default:
      return 'i32';
  }
}

export const isFloatDType = (dtype: OnnxDType): boolean => graphDType(dtype) === 'f32';

/** What an element type holds of a number: floats round, narrow integers wrap as in C, wide ones saturate at ±2^53. */
export function storedAs(dtype: OnnxDType): (value: number) => number {
  switch (dtype) {
    case 'DOUBLE':
      return (v) => v;
    case 'FLOAT':
    case 'FLOAT16':
    case 'BFLOAT16':
      // 16-bit floats are f32 in a graph, and so they are here.
      return Math.fround;
    case 'BOOL':
      return (v) => (v === 0 ? 0 : 1);
    case 'INT32':
      return (v) => v | 0;
    case 'INT16':
      return (v) => (v << 16) >> 16;
    case 'INT8':
      return (v) => (v << 24) >> 24;
    case 'UINT32':
      return (v) => v >>> 0;
    case 'UINT16':
      return (v) => v & 0xffff;
    case 'UINT8':
      return (v) => v & 0xff;
    case 'UINT64':
      return (v) => Math.min(Math.max(Math.trunc(v), 0), 2 ** 53);
    default:
      return (v) => Math.min(Math.max(Math.trunc(v), -(2 ** 53)), 2 ** 53);
  }
}

export function known(dtype: OnnxDType, shape: Shape, values: ArrayLike<number>): Known {
  const data = values instanceof Float64Array ? values : Float64Array.from(values);
  if (data.length !== elementCount(shape)) {
    throw new GraphError('onnx-known', `${data.length} values do not fill ${dtype}[${shape.join(', ')}]`);
  }
  return { dtype, shape, data };
}

/** An i64 vector: a shape, axes. */
export const knownShape = (shape: Shape): Known => known('INT64', [shape.length], shape);

/** A constant of the file. Its values are read when somebody asks for them, as most go to the graph as they are. */
class FileConstant implements Known {
  readonly tensor: OnnxTensor;
  #data: Float64Array | undefined;

  constructor(tensor: OnnxTensor) {
    this.tensor = tensor;
  }
  get dtype(): OnnxDType {
    return this.tensor.dtype;
  }
  get shape(): Shape {
    return this.tensor.dims;
  }
  get data(): Float64Array {
    this.#data ??= numbersOf(this.tensor);
    return this.#data;
  }
}

export const constantOf = (tensor: OnnxTensor): Known => new FileConstant(tensor);

/** The same values under another shape; a file's constant is still not read. */
export function reshaped(value: Known, shape: Shape): Known {
  return value instanceof FileConstant
    ? new FileConstant({ ...value.tensor, dims: shape })
    : { dtype: value.dtype, shape, data: value.data };
}

const rawDTypes: Readonly<Partial<Record<OnnxDType, RawDType>>> = {
  FLOAT: 'F32',
  DOUBLE: 'F64',
  FLOAT16: 'F16',
  BFLOAT16: 'BF16',
};

const floats = new WeakMap<Uint8Array, Float32Array>();

/** A float tensor of the file in f32; made once, so that every graph built from the model shares it. */
export function float32Of(tensor: OnnxTensor): Float32Array {
  const made = floats.get(tensor.bytes);
  if (made) return made;
  const { dims: shape, bytes, name } = tensor;
  const aligned = tensor.dtype === 'FLOAT' && bytes.byteOffset % 4 === 0;
  const data = aligned
    ? new Float32Array(bytes.buffer, bytes.byteOffset, elementCount(shape))
    : (toHostTensor({ dtype: rawDTypes[tensor.dtype]!, shape, bytes }, 'f32', name || 'constant').data as Float32Array);
  floats.set(bytes, data);
  return data;
}

const readers: Readonly<
  Partial<Record<OnnxDType, readonly [width: number, read: (v: DataView, at: number) => number]>>
> = {
  DOUBLE: [8, (v, at) => v.getFloat64(at, true)],
  INT64: [8, (v, at) => saturate(v.getBigInt64(at, true))],
  UINT64: [8, (v, at) => saturate(v.getBigUint64(at, true))],
  INT32: [4, (v, at) => v.getInt32(at, true)],
  UINT32: [4, (v, at) => v.getUint32(at, true)],
  INT16: [2, (v, at) => v.getInt16(at, true)],
  UINT16: [2, (v, at) => v.getUint16(at, true)],
  INT8: [1, (v, at) => v.getInt8(at)],
  UINT8: [1, (v, at) => v.getUint8(at)],
  BOOL: [1, (v, at) => (v.getUint8(at) === 0 ? 0 : 1)],
};

function numbersOf(tensor: OnnxTensor): Float64Array {
  const { dtype, bytes, dims } = tensor;
  const reader = readers[dtype];
  if (!reader) return Float64Array.from(float32Of(tensor));
  const [width, read] = reader;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: elementCount(dims) }, (_, i) => read(view, i * width));
}

/** The value as the graph holds it; a text says why it cannot. */
export function toHostConstant(value: Known): HostTensor | string {
  const dtype = graphDType(value.dtype);
  if (!dtype) return `${value.dtype} values have no place in a graph`;
  if (value.shape.includes(0)) return `an empty tensor [${value.shape.join(', ')}] has no place in a graph`;
  const type = { dtype, shape: value.shape };
  if (dtype === 'f32' && value instanceof FileConstant) return { type, data: float32Of(value.tensor) };
  const data = allocate(type);
  for (let i = 0; i < data.length; i++) {
    const number = value.data[i]!;
    if (dtype === 'i32' && number !== (number | 0)) {
      return `${number} (element ${i}) does not fit into the 32 bits that integers have in a graph`;
    }
    data[i] = number;
  }
  return { type, data };
}
