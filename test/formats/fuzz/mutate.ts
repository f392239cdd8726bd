/** Damaged files: what transfers, disks and attackers make of good ones. Everything follows from a seed. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';

/** Numbers in [0, 2³²) from a seed (Mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number {
    return this.next() % Math.max(n, 1);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Bytes that lengths, tags and numbers of both formats are made of at their borders. */
const nasty = [
  0, 1, 2, 3, 4, 7, 8, 10, 18, 34, 42, 58, 0x7f, 0x80, 0xff, 0x22, 0x2c, 0x5b, 0x5d, 0x7b, 0x7d, 0x39, 0x2d,
];

/** One to a few changes of bytes: flips, runs, cuts, copies within the file and from another. */
export function mutateBytes(file: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = file.slice();
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(bytes.length);
    switch (random.below(9)) {
      case 0:
        if (bytes.length > 0) bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        if (bytes.length > 0) bytes[at] = random.pick(nasty);
        break;
      case 2:
        if (bytes.length > 0) bytes[at] = random.below(256);
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        bytes = join(bytes.subarray(0, at), bytes.subarray(Math.min(at + 1 + random.below(40), bytes.length)));
        break;
      case 5: {
        const run = Uint8Array.from({ length: 1 + random.below(12) }, () => random.pick(nasty));
        bytes = join(bytes.subarray(0, at), run, bytes.subarray(at));
        break;
      }
      case 6: {
        const from = random.below(bytes.length);
        bytes = join(bytes.subarray(0, at), bytes.subarray(from, from + random.below(200)), bytes.subarray(at));
        break;
      }
      case 7: {
        const from = random.below(other.length);
        bytes = join(bytes.subarray(0, at), other.subarray(from, from + random.below(200)), bytes.subarray(at));
        break;
      }
      default:
        // The longest number: nine bytes of ones.
        bytes.fill(0xff, at, Math.min(at + 9, bytes.length));
    }
  }
  return bytes;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const numbers = [
  0n,
  1n,
  -1n,
  2n,
  3n,
  7n,
  16n,
  255n,
  65536n,
  2n ** 20n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const words = [
  '',
  'x',
  'batch',
  'Add',
  'Reshape',
  'If',
  'Loop',
  'Gather',
  'Expand',
  'Tile',
  'ConstantOfShape',
  '../..',
  '\0',
  '💥',
];

/**
 * A well-formed file that says something else: a number, a name, an operator or a list of some message is changed. These
 * pass the decoder more often than damaged bytes, and reach what is behind it.
 */
export function mutateModel(file: Uint8Array, random: Random): Uint8Array {
  const model = fromBinary(ModelProtoSchema, file);
  const places: { holder: Record<string, unknown>; key: string }[] = [];
  const visit = (holder: object): void => {
    for (const [key, value] of Object.entries(holder)) {
      if (key.startsWith('$')) continue;
      if (typeof value === 'bigint' || typeof value === 'string' || typeof value === 'number' || Array.isArray(value)) {
        places.push({ holder: holder as Record<string, unknown>, key });
      }
      for (const item of Array.isArray(value) ? value : [value]) {
        if (typeof item === 'object' && item !== null && !(item instanceof Uint8Array)) visit(item);
      }
    }
  };
  visit(model);
  for (let n = 1 + random.below(3); n > 0; n--) {
    const { holder, key } = random.pick(places);
    const value = holder[key];
    holder[key] = Array.isArray(value) ? mutateList(value, random) : mutateScalar(value, random);
  }
  try {
    return toBinary(ModelProtoSchema, model);
  } catch {
    // A value of a field that cannot be written, such as a float beyond 32 bits: the file as it was.
    return file;
  }
}

function mutateScalar(value: unknown, random: Random): unknown {
  if (typeof value === 'bigint') return random.below(3) === 0 ? value + 1n : random.pick(numbers);
  if (typeof value === 'number') return random.below(2) === 0 ? random.below(30) : value + 1;
  if (typeof value === 'string') return random.below(3) === 0 ? `${value}'` : random.pick(words);
  return value;
}

function mutateList(list: readonly unknown[], random: Random): unknown[] {
  const at = random.below(list.length);
  switch (random.below(5)) {
    case 0:
      return list.toSpliced(at, 1);
    case 1:
      return list.length > 0 ? list.toSpliced(at, 0, list[random.below(list.length)]) : [];
    case 2:
      return [...list].reverse();
    case 3:
      return list.slice(0, at);
    default:
      return list.map((item, i) => (i === at ? mutateScalar(item, random) : item));
  }
}

/** A safetensors file whose header says something else. */
export function mutateHeader(file: Uint8Array, random: Random): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<
    string,
    Record<string, unknown>
  >;
  const name = random.pick(Object.keys(header));
  const entry = header[name]!;
  const values = [
    0,
    -1,
    1,
    2 ** 31,
    2 ** 53,
    1e300,
    1.5,
    null,
    'F32',
    'F8_E4M3',
    [],
    [[]],
    {},
    [0, 0],
    [2 ** 40, 2 ** 40],
  ];
  switch (random.below(4)) {
    case 0:
      entry[random.pick(['dtype', 'shape', 'data_offsets'])] = random.pick(values);
      break;
    case 1: {
      const list = entry[random.pick(['shape', 'data_offsets'])];
      if (Array.isArray(list) && list.length > 0) list[random.below(list.length)] = random.pick(values);
      break;
    }
    case 2:
      header[random.pick(['__metadata__', '__proto__', '', 'constructor'])] = random.pick([
        {},
        { a: 1 },
        entry,
      ]) as never;
      break;
    default:
      delete header[name];
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(json.length), true);
  return join(size, json, file.subarray(8 + length));
}
