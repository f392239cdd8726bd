/**
 * The structure of a protobuf message, checked before it is decoded: every length lies in the message that holds it,
 * every field has the wire type of its declaration, nesting is bounded, and so is the memory that the decoded form takes.
 * The decoder behind it trusts what it reads (a nested message that claims to be longer than its parent is read on into
 * the neighbour's bytes), so that a damaged file would become a wrong model instead of an error.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
import type { DescField, DescMessage, ScalarType as Scalar } from '@bufbuild/protobuf';
import { FormatError } from '../../core/errors.ts';
import { messages } from './messages.ts';

/** Nested messages; a subgraph within a subgraph takes three. */
const maxDepth = 90;
/**
 * Heap that the decoded structures may take. Weights do not count where they are in `raw_data`, which stays a view of the
 * file; what counts are nodes, names, and numbers written one by one.
 */
const maxHeapBytes = 2 ** 30;
/** Upper estimates of a decoded message, and of a number in a list (a bigint, or a boxed double while its list grows). */
const messageBytes = 512;
const numberBytes = 32;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

interface FieldShape {
  readonly name: string;
  readonly wireType: number;
  /** A list of numbers, which may come packed into one field. */
  readonly packable: boolean;
  readonly message: MessageShape | undefined;
  readonly list: boolean;
}
type MessageShape = Map<number, FieldShape>;

const shapes = new WeakMap<DescMessage, MessageShape>();

function shapeOf(schema: DescMessage): MessageShape {
  const known = shapes.get(schema);
  if (known) return known;
  const shape: MessageShape = new Map();
  // Before its fields, as messages contain each other.
  shapes.set(schema, shape);
  for (const field of schema.fields) shape.set(field.number, fieldShape(field));
  return shape;
}

function fieldShape(field: DescField): FieldShape {
  const { message } = field;
  const wireType = message ? LENGTH : field.enum ? VARINT : wireTypeOf(field.scalar!);
  const list = field.fieldKind === 'list';
  return {
    name: field.name,
    wireType,
    packable: list && wireType !== LENGTH,
    message: message ? shapeOf(message) : undefined,
    list,
  };
}

function wireTypeOf(scalar: Scalar): number {
  const { ScalarType } = messages();
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return LENGTH;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return FIXED64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return FIXED32;
    default:
      return VARINT;
  }
}

/** Throws FormatError naming the place (`graph.node[3].attribute[0]`) where `bytes` are not a message of `schema`. */
export function checkWire(schema: DescMessage, bytes: Uint8Array, where: string): void {
  new Checker(bytes, where).message(shapeOf(schema), bytes.length, 0);
}

class Checker {
  readonly #bytes: Uint8Array;
  readonly #where: string;
  /** Name and index of each message that is open. */
  readonly #path: string[] = [];
  #at = 0;
  #heap = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes;
    this.#where = where;
  }

  message(shape: MessageShape, end: number, depth: number): void {
    if (depth > maxDepth) throw this.#fail('depth', `messages are nested more than ${maxDepth} deep`);
    this.#spend(messageBytes);
    /** How often each list's field came, for the path. */
    const counts = new Map<number, number>();
    while (this.#at < end) {
      const tag = this.#varint(end, 5);
      const number = Math.floor(tag / 8);
      const wireType = tag % 8;
      if (number === 0) throw this.#fail('wire', `there is no field 0 (byte ${this.#at})`);
      const field = shape.get(number);
      if (!field) {
        this.#skip(wireType, end, `field ${number}`);
        continue;
      }
      if (field.message && wireType === LENGTH) {
        const index = counts.get(number) ?? 0;
        counts.set(number, index + 1);
        this.#path.push(field.list ? `${field.name}[${index}]` : field.name);
        this.message(field.message, this.#length(end), depth + 1);
        this.#path.pop();
      } else if (field.packable && wireType === LENGTH) {
        this.#packed(field, this.#length(end));
      } else if (wireType === field.wireType) {
        this.#skip(wireType, end, field.name);
        this.#spend(numberBytes);
      } else {
        throw this.#fail('wire', `${field.name} has wire type ${wireType} where ${field.wireType} belongs`);
      }
    }
  }

  #packed({ wireType, name }: FieldShape, end: number): void {
    const size = end - this.#at;
    if (wireType === VARINT) {
      while (this.#at < end) {
        this.#varint(end, 10);
        this.#spend(numberBytes);
      }
      return;
    }
    const width = wireType === FIXED32 ? 4 : 8;
    if (size % width !== 0)
      throw this.#fail('wire', `${name}: ${size} bytes are no whole number of ${width}-byte values`);
    this.#spend((size / width) * numberBytes);
    this.#at = end;
  }

  #skip(wireType: number, end: number, name: string): void {
    switch (wireType) {
      case VARINT:
        this.#varint(end, 10);
        return;
      case LENGTH:
        this.#at = this.#length(end);
        return;
      case FIXED32:
      case FIXED64:
        this.#at += wireType === FIXED32 ? 4 : 8;
        if (this.#at > end) throw this.#fail('truncated', `${name} ends behind its message`);
        return;
      default:
        throw this.#fail('wire', `${name} has wire type ${wireType} (groups are not of ONNX)`);
    }
  }

  /** Reads a length; gives the end of what it is the length of. */
  #length(end: number): number {
    const length = this.#varint(end, 5);
    if (length > end - this.#at) {
      throw this.#fail('truncated', `a length of ${length} at byte ${this.#at}, and ${end - this.#at} bytes are left`);
    }
    return this.#at + length;
  }

  /** Exact for up to five bytes, all that tags and lengths have. */
  #varint(end: number, maxBytes: number): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < maxBytes; i++) {
      if (this.#at >= end) throw this.#fail('truncated', `a number at byte ${this.#at} ends behind its message`);
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw this.#fail('wire', `a number at byte ${this.#at} is longer than ${maxBytes} bytes`);
  }

  #spend(bytes: number): void {
    this.#heap += bytes;
    if (this.#heap > maxHeapBytes) {
      throw this.#fail('too-large', `its structures would take more than ${maxHeapBytes / 2 ** 20} MiB`, {
        remedy: 'store tensors as raw_data',
      });
    }
  }

  #fail(code: string, what: string, options: { remedy?: string } = {}): FormatError {
    const place = this.#path.join('.');
    const wrong = code === 'too-large' ? '' : 'not an ONNX file, or a damaged one: ';
    return new FormatError(`onnx-${code}`, `${this.#where}: ${wrong}${place ? `${place}: ` : ''}${what}`, {
      fields: { file: this.#where, place, byte: this.#at },
      remedy: options.remedy ?? 'export or copy the file again',
    });
  }
}
