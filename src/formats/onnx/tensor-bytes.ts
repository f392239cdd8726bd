/** A TensorProto's values as bytes, whichever of its fields holds them. */
import type { TensorProto } from 'onnx-buf';
import { messages } from './messages.ts';
import { type OnnxDType, onnxDTypes } from './model.ts';

/** Bytes of one element; strings have none of their own. */
const onnxBytesPerElement: Readonly<Record<OnnxDType, number>> = {
  FLOAT: 4,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  STRING: 0,
  BOOL: 1,
  FLOAT16: 2,
  DOUBLE: 8,
  UINT32: 4,
  UINT64: 8,
  COMPLEX64: 8,
  COMPLEX128: 16,
  BFLOAT16: 2,
};

const byNumber = new Map(Object.entries(onnxDTypes).map(([name, number]) => [number as number, name as OnnxDType]));

/** The element type of a number in the file; undefined for those that no tensor here can have (8- and 4-bit floats …). */
export const onnxDTypeOf = (number: number): OnnxDType | undefined => byNumber.get(number);

/** Makes the error of a tensor, with its name before it. */
export type TensorFailure = (code: string, what: string, remedy?: string) => Error;

/** What to do about two values in one place. */
const keepOne = 'keep one of them';

/** Reads a file that belongs to the model: `place` names the tensor in errors. Throws FormatError. */
export type ExternalReader = (
  entries: ReadonlyMap<string, string>,
  bytes: number,
  fail: (code: string, what: string) => Error,
) => Uint8Array;

/** Which list holds a type's values where `raw_data` does not, and how many of its numbers make an element. */
const lists: Readonly<
  Record<
    Exclude<OnnxDType, 'STRING'>,
    readonly ['floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data', number]
  >
> = {
  FLOAT: ['floatData', 1],
  COMPLEX64: ['floatData', 2],
  INT32: ['int32Data', 1],
  INT16: ['int32Data', 1],
  INT8: ['int32Data', 1],
  UINT16: ['int32Data', 1],
  UINT8: ['int32Data', 1],
  BOOL: ['int32Data', 1],
  FLOAT16: ['int32Data', 1],
  BFLOAT16: ['int32Data', 1],
  INT64: ['int64Data', 1],
  DOUBLE: ['doubleData', 1],
  COMPLEX128: ['doubleData', 2],
  UINT32: ['uint64Data', 1],
  UINT64: ['uint64Data', 1],
};

const valueFields = ['floatData', 'int32Data', 'int64Data', 'doubleData', 'uint64Data', 'stringData'] as const;

/**
 * The bytes of `count` elements, little-endian. Nothing is allocated before the file is known to hold as many.
 */
export function tensorBytes(
  proto: TensorProto,
  dtype: Exclude<OnnxDType, 'STRING'>,
  count: number,
  external: ExternalReader | undefined,
  fail: TensorFailure,
): Uint8Array {
  const needed = count * onnxBytesPerElement[dtype];
  if (proto.dataLocation === messages().TensorProto_DataLocation.EXTERNAL || proto.externalData.length > 0) {
    if (!external) throw fail('external', 'its data are in another file, and none can be read here');
    const entries = new Map(proto.externalData.map(({ key, value }) => [key, value]));
    return external(entries, needed, fail);
  }
  const [field, perElement] = lists[dtype];
  const list = proto[field];
  if (proto.rawData.length > 0) {
    const second = valueFields.find((other) => proto[other].length > 0);
    if (second) throw fail('tensor', `it has both raw_data and ${snake(second)}`, keepOne);
    if (proto.rawData.length !== needed) {
      throw fail('tensor', `raw_data has ${proto.rawData.length} bytes, and ${count} × ${dtype} are ${needed}`);
    }
    return proto.rawData;
  }
  if (list.length !== count * perElement) {
    throw fail('tensor', `${snake(field)} has ${list.length} values, and it takes ${count * perElement}`);
  }
  const stray = valueFields.find((other) => other !== field && proto[other].length > 0);
  if (stray) throw fail('tensor', `it is ${dtype}, and has values in ${snake(stray)} too`, keepOne);
  return pack(list, dtype, needed, fail);
}

const snake = (field: string): string => field.replace('Data', '_data');

function pack(
  list: readonly (number | bigint)[],
  dtype: Exclude<OnnxDType, 'STRING'>,
  bytes: number,
  fail: TensorFailure,
): Uint8Array {
  const out = new Uint8Array(bytes);
  const view = new DataView(out.buffer);
  list.forEach((value, i) => {
    switch (dtype) {
      case 'FLOAT':
      case 'COMPLEX64':
        view.setFloat32(i * 4, value as number, true);
        return;
      case 'DOUBLE':
      case 'COMPLEX128':
        view.setFloat64(i * 8, value as number, true);
        return;
      case 'INT64':
        view.setBigInt64(i * 8, value as bigint, true);
        return;
      case 'UINT64':
        view.setBigUint64(i * 8, value as bigint, true);
        return;
      default: {
        const number = Number(value);
        const [low, high] = ranges[dtype];
        if (number < low || number > high)
          throw fail('tensor', `element ${i} is ${number}, which ${dtype} cannot hold`);
        const width = onnxBytesPerElement[dtype];
        if (width === 1) view.setUint8(i, number);
        else if (width === 2) view.setUint16(i * 2, number, true);
        else view.setUint32(i * 4, number, true);
      }
    }
  });
  return out;
}

/** Least and largest number of the narrow types, which the file holds in wider ones; 16-bit floats by their bits. */
const ranges = {
  BOOL: [0, 1],
  INT8: [-128, 127],
  UINT8: [0, 255],
  INT16: [-32768, 32767],
  UINT16: [0, 65535],
  FLOAT16: [0, 65535],
  BFLOAT16: [0, 65535],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  UINT32: [0, 2 ** 32 - 1],
} as const;
