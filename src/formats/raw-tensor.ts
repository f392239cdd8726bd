/** A tensor as a file holds it: any dtype of the safetensors format, bytes little-endian, row-major, possibly unaligned. */
import { FormatError } from '../core/errors.ts';
import {
  allocate,
  byteSize,
  type DType,
  elementCount,
  formatShape,
  type HostTensor,
  type Shape,
} from '../core/types.ts';

/** Bytes of one element. */
export const rawBytesPerElement = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

export type RawDType = keyof typeof rawBytesPerElement;

export interface RawTensor {
  readonly dtype: RawDType;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

const rawDTypeOf: Readonly<Record<DType, RawDType>> = { f32: 'F32', i32: 'I32', bool: 'BOOL' };

export const isRawDType = (name: unknown): name is RawDType =>
  typeof name === 'string' && Object.hasOwn(rawBytesPerElement, name);

/** The bytes of a host tensor, without a copy. */
export function rawOf(tensor: HostTensor, name = 'tensor'): RawTensor {
  const { type, data } = tensor;
  if (data.byteLength !== byteSize(type)) {
    throw new FormatError(
      'tensor-size',
      `${name}: ${data.length} values do not fill ${type.dtype}${formatShape(type.shape)}`,
      {
        fields: { tensor: name, values: data.length, shape: type.shape },
        remedy: `give it ${elementCount(type.shape)} values, or another shape`,
      },
    );
  }
  return {
    dtype: rawDTypeOf[type.dtype],
    shape: type.shape,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

/** The dtype a file's tensor becomes where nothing asks for another; undefined for those that cannot be read. */
export function naturalDType(dtype: RawDType): DType | undefined {
  if (dtype === 'BOOL') return 'bool';
  if (dtype === 'F8_E4M3' || dtype === 'F8_E5M2') return undefined;
  return dtype.startsWith('F') || dtype === 'BF16' ? 'f32' : 'i32';
}

/**
 * A file's tensor as f32, i32 or bool. Never changes a value silently:
 *
 *     to f32    F16, BF16 exact; F64 rounded to nearest, refused where a finite value overflows; integers and BOOL only where exact
 *     to i32    every integer dtype and BOOL, refused outside of −2³¹ … 2³¹−1; no floats
 *     to bool   BOOL and integers, refused unless 0 or 1
 */
export function toHostTensor(entry: RawTensor, as: DType, name: string): HostTensor {
  const type = { dtype: as, shape: entry.shape };
  const { bytes } = entry;
  if (bytes.byteLength !== elementCount(entry.shape) * rawBytesPerElement[entry.dtype]) {
    throw new FormatError(
      'tensor-size',
      `${name}: ${bytes.byteLength} bytes do not fill ${entry.dtype}${formatShape(entry.shape)}`,
      {
        fields: { tensor: name, bytes: bytes.byteLength, shape: entry.shape },
        remedy: 'write the file anew: it was cut off, or its header is of another tensor',
      },
    );
  }
  const data = allocate(type);
  if ((as === 'f32' && entry.dtype === 'F32') || (as === 'i32' && entry.dtype === 'I32')) {
    new Uint8Array(data.buffer).set(bytes);
    return { type, data };
  }
  const source = naturalDType(entry.dtype);
  if (source === undefined || (source === 'f32' && as !== 'f32')) {
    throw new FormatError('tensor-dtype', `${name}: ${entry.dtype} cannot be read as ${as}`, {
      fields: { tensor: name, dtype: entry.dtype, wanted: as },
      remedy:
        as === 'f32'
          ? 'save it as F32'
          : `save it as ${as === 'i32' ? 'I32 or I64' : 'BOOL'} (PyTorch: .to(torch.${as === 'i32' ? 'int64' : 'bool'}))`,
    });
  }
  const read = readers[entry.dtype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fits = entry.dtype === 'BOOL' ? isBit : accepts[as];
  const width = rawBytesPerElement[entry.dtype];
  for (let i = 0; i < data.length; i++) {
    const value = read(view, i * width);
    if (source === 'f32' ? Number.isFinite(value) && !Number.isFinite(Math.fround(value)) : !fits(value)) {
      const shown = Number.isNaN(value)
        ? String(entry.dtype === 'U64' ? view.getBigUint64(i * width, true) : view.getBigInt64(i * width, true))
        : String(value);
      throw new FormatError('tensor-range', `${name}: element ${i} is ${shown}, which ${as} cannot hold`, {
        fields: { tensor: name, index: i, value: shown, dtype: entry.dtype, wanted: as },
        remedy: `${ranges[as]}; correct the value`,
      });
    }
    data[i] = value;
  }
  return { type, data };
}

const ranges: Readonly<Record<DType, string>> = {
  f32: 'f32 holds values up to 3.4e38, and integers up to 2^24 exactly',
  i32: 'i32 holds -2^31 to 2^31 - 1',
  bool: 'bool holds 0 and 1',
};
const isBit = (v: number): boolean => v === 0 || v === 1;
const accepts: Readonly<Record<DType, (value: number) => boolean>> = {
  f32: (v) => Math.fround(v) === v,
  i32: (v) => v === (v | 0),
  bool: isBit,
};

/** 64-bit integers as doubles; NaN (refused by every target) where the double is not exact. */
function wide(value: bigint): number {
  const n = Number(value);
  return BigInt(n) === value ? n : Number.NaN;
}

const readers: Readonly<Record<RawDType, (view: DataView, at: number) => number>> = {
  BOOL: (v, at) => v.getUint8(at),
  U8: (v, at) => v.getUint8(at),
  I8: (v, at) => v.getInt8(at),
  F8_E5M2: () => Number.NaN,
  F8_E4M3: () => Number.NaN,
  I16: (v, at) => v.getInt16(at, true),
  U16: (v, at) => v.getUint16(at, true),
  F16: (v, at) => half(v.getUint16(at, true)),
  BF16: (v, at) => bfloat(v.getUint16(at, true)),
  I32: (v, at) => v.getInt32(at, true),
  U32: (v, at) => v.getUint32(at, true),
  F32: (v, at) => v.getFloat32(at, true),
  F64: (v, at) => v.getFloat64(at, true),
  I64: (v, at) => wide(v.getBigInt64(at, true)),
  U64: (v, at) => wide(v.getBigUint64(at, true)),
};

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** bfloat16: the upper half of an f32. */
function bfloat(bits: number): number {
  word[0] = bits << 16;
  return single[0]!;
}
