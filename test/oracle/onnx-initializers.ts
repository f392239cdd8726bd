/**
 * The initialisers (weights) of an ONNX file, by name: just enough of the protobuf wire format to read them.
 *
 *     ModelProto  7: graph
 *     GraphProto  5: initializer (repeated TensorProto)
 *     TensorProto 1: dims (repeated int64)  2: data_type  4: float_data (repeated float)  8: name  9: raw_data
 *
 * Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import { elementCount, type HostTensor } from '../../src/core/types.ts';

const FLOAT = 1;
const BOOL = 9;

interface Field {
  readonly number: number;
  /** Varints as numbers (sizes here stay far below 2⁵³), everything else as bytes. */
  readonly value: number | Uint8Array;
}

export function readInitializers(model: Uint8Array): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>();
  for (const graph of messages(model, 7)) {
    for (const tensor of messages(graph, 5)) {
      const { name, value } = readTensor(tensor);
      tensors.set(name, value);
    }
  }
  return tensors;
}

function readTensor(message: Uint8Array): { name: string; value: HostTensor } {
  const shape: number[] = [];
  let dataType = 0;
  let name = '';
  let bytes: Uint8Array = new Uint8Array();
  for (const { number, value } of fields(message)) {
    if (number === 1) shape.push(...(typeof value === 'number' ? [value] : varints(value)));
    else if (number === 2) dataType = value as number;
    else if (number === 4 || number === 9)
      bytes = value as Uint8Array; // packed floats are raw little-endian floats too
    else if (number === 8) name = new TextDecoder().decode(value as Uint8Array);
  }
  if (dataType !== FLOAT && dataType !== BOOL)
    throw new Error(`${name}: data type ${dataType} is neither FLOAT nor BOOL`);
  const own = Uint8Array.from(bytes); // a Buffer's own slice would share its pool
  const data = dataType === FLOAT ? new Float32Array(own.buffer) : own;
  if (data.length !== elementCount(shape)) throw new Error(`${name}: ${data.length} values for [${shape}]`);
  return { name, value: { type: { dtype: dataType === FLOAT ? 'f32' : 'bool', shape }, data } };
}

const messages = (message: Uint8Array, number: number): Uint8Array[] =>
  [...fields(message)].filter((f) => f.number === number).map((f) => f.value as Uint8Array);

function* fields(message: Uint8Array): Generator<Field> {
  const at = { position: 0 };
  while (at.position < message.length) {
    const tag = varint(message, at);
    const wire = tag & 7;
    if (wire === 0) {
      yield { number: tag >>> 3, value: varint(message, at) };
      continue;
    }
    const length = wire === 1 ? 8 : wire === 2 ? varint(message, at) : wire === 5 ? 4 : undefined;
    if (length === undefined) throw new Error(`unknown wire type ${wire}`);
    const value = message.subarray(at.position, (at.position += length));
    yield { number: tag >>> 3, value };
  }
}

/** Base 128, least significant group first; the high bit says that another byte follows. */
function varint(bytes: Uint8Array, at: { position: number }): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[at.position++]!;
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
}

function varints(bytes: Uint8Array): number[] {
  const at = { position: 0 };
  const values: number[] = [];
  while (at.position < bytes.length) values.push(varint(bytes, at));
  return values;
}
