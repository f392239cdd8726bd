import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.ts';
import type { HostTensor } from '../../src/core/types.ts';
import { type RawDType, toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors, readSafetensorsFile, writeSafetensors } from '../../src/formats/safetensors.ts';

const f32 = (shape: number[], values: number[]): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from(values),
});

/** A file with this header text and this many bytes of data. */
function file(header: unknown, dataBytes = 0, data?: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + (data?.length ?? dataBytes));
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  if (data) out.set(data, 8 + json.length);
  return out;
}

function failure(action: () => unknown): FormatError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return error as FormatError;
  }
  throw new Error('expected a FormatError');
}

const w = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('writing', () => {
  it('gives back what was written, in its order, names such as "0" included', () => {
    const tensors: [string, HostTensor][] = [
      ['b', f32([2], [1, -0])],
      ['0', { type: { dtype: 'bool', shape: [3] }, data: Uint8Array.of(1, 0, 1) }],
      ['a.weight', { type: { dtype: 'i32', shape: [1, 2] }, data: Int32Array.of(-5, 2 ** 31 - 1) }],
      ['empty', f32([0, 4], [])],
      ['scalar', f32([], [Math.PI])],
    ];
    const bytes = writeSafetensors(tensors, { seed: '0' });
    const { tensors: read, metadata } = readSafetensorsFile(bytes, 'x');
    expect([...metadata]).toEqual([['seed', '0']]);
    expect([...read.keys()].sort()).toEqual(tensors.map(([name]) => name).sort());
    for (const [name, tensor] of tensors) {
      expect(toHostTensor(read.get(name)!, tensor.type.dtype, name)).toEqual(tensor);
    }
    const header = new TextDecoder().decode(bytes.subarray(8));
    expect(header.indexOf('"b"')).toBeLessThan(header.indexOf('"0":{'));
  });

  it('pads the header with spaces to a multiple of 8 and is a function of its input', () => {
    for (const name of ['a', 'ab', 'abc', 'abcd', 'ünïcode "quoted"']) {
      const bytes = writeSafetensors([[name, f32([1], [1])]]);
      const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      expect(length % 8).toBe(0);
      expect(bytes.length).toBe(8 + length + 4);
      expect(writeSafetensors([[name, f32([1], [1])]])).toEqual(bytes);
    }
  });

  it('has exactly these bytes', () => {
    const text = new TextDecoder('latin1').decode(writeSafetensors([['x', f32([1], [1])]]));
    const header = '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ';
    expect(text).toBe(`${String.fromCharCode(header.length)}\0\0\0\0\0\0\0${header}\0\0\x80?`);
  });

  it('refuses a name twice, the reserved name and a wrong size', () => {
    const x = f32([1], [1]);
    const twice = [['x', x] as const, ['x', x] as const];
    expect(failure(() => writeSafetensors(twice)).code).toBe('safetensors-duplicate-key');
    expect(failure(() => writeSafetensors([['__metadata__', x]])).code).toBe('safetensors-duplicate-key');
    expect(failure(() => writeSafetensors([['x', f32([2], [1])]])).code).toBe('tensor-size');
  });

  it('keeps every bit of a float, NaN payloads included', () => {
    fc.assert(
      fc.property(fc.uint32Array({ minLength: 1, maxLength: 20 }), (bits) => {
        const data = new Float32Array(bits.slice().buffer);
        const read = readSafetensors(
          writeSafetensors([['x', { type: { dtype: 'f32', shape: [bits.length] }, data }]]),
          'x',
        );
        expect(new Uint32Array(toHostTensor(read.get('x')!, 'f32', 'x').data.buffer)).toEqual(bits);
      }),
    );
  });
});

describe('a broken file is refused with its reason', () => {
  const cases: [what: string, code: string, bytes: Uint8Array][] = [
    ['shorter than the length', 'header-length', new Uint8Array(7)],
    ['header longer than the file', 'header-length', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123, 125)],
    ['header of 2^63 bytes', 'header-length', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128)],
    ['empty header', 'header-json', file('')],
    ['not JSON', 'header-json', file('{"a":')],
    ['not an object', 'header-json', file('[]')],
    ['leading space', 'header-json', file(' {}')],
    ['not UTF-8', 'header-json', Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff)],
    [
      'a name twice',
      'duplicate-key',
      file(`{"a":${JSON.stringify(w(0, 4))},"\\u0061" :${JSON.stringify(w(0, 4))}}`, 4),
    ],
    [
      'a key of an entry twice',
      'duplicate-key',
      file('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    ],
    ['metadata not text', 'metadata', file({ __metadata__: { a: 1 } })],
    ['entry null', 'entry', file({ a: null })],
    ['unknown dtype', 'dtype', file({ a: w(0, 4, [1], 'Q4') }, 4)],
    ['dtype of the prototype', 'dtype', file({ a: w(0, 4, [1], 'toString') }, 4)],
    ['negative size', 'shape', file({ a: w(0, 4, [-1]) }, 4)],
    ['fractional size', 'shape', file({ a: w(0, 4, [1.5]) }, 4)],
    ['size 1e300', 'shape', file({ a: w(0, 4, [1e300]) }, 4)],
    ['shape missing', 'shape', file({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4)],
    [
      'shape nested beyond the stack',
      'shape',
      file(`{"a":{"dtype":"F32","shape":${'['.repeat(2e5)}${']'.repeat(2e5)}}}`),
    ],
    ['huge sizes whose product overflows', 'size', file({ a: w(0, 4, Array(40).fill(2 ** 52)) }, 4)],
    ['huge sizes with a zero', 'size', file({ a: w(0, 4, [2 ** 52, 2 ** 52, 0]) }, 4)],
    ['one offset', 'offsets', file({ a: { ...w(0, 4), data_offsets: [0] } }, 4)],
    ['negative offset', 'offsets', file({ a: { ...w(0, 4), data_offsets: [-4, 0] } }, 4)],
    ['offsets reversed', 'offsets', file({ a: { ...w(0, 4), data_offsets: [4, 0] } }, 4)],
    ['offset past the end', 'offsets', file({ a: w(0, 8) }, 4)],
    ['bytes that do not fill the shape', 'size', file({ a: w(0, 8, [1]) }, 8)],
    ['a gap', 'gap', file({ a: w(0, 4), b: w(8, 12) }, 12)],
    ['a gap at the start', 'gap', file({ a: w(4, 8) }, 8)],
    ['an overlap', 'overlap', file({ a: w(0, 8), b: w(4, 12) }, 12)],
    ['trailing bytes', 'trailing', file({ a: w(0, 4) }, 5)],
    ['bytes and no tensor', 'trailing', file({}, 1)],
  ];
  it.each(cases)('%s', (_what, code, bytes) => {
    const error = failure(() => readSafetensors(bytes, 'model.safetensors'));
    expect(error.code).toBe(`safetensors-${code}`);
    expect(error.message).toContain('model.safetensors');
    expect(error.message.length).toBeLessThan(600);
  });

  it('names the tensor', () => {
    const error = failure(() => readSafetensors(file({ 'layer.0.weight': w(0, 8) }, 4), 'm'));
    expect(error.message).toContain('"layer.0.weight"');
    expect(error.fields).toMatchObject({ file: 'm', tensor: 'layer.0.weight' });
  });

  it('survives any bytes and any damage to a good file', () => {
    const good = writeSafetensors([
      ['a', f32([2], [1, 2])],
      ['b', f32([1], [3])],
    ]);
    const readable = (bytes: Uint8Array) => {
      try {
        readSafetensors(bytes, 'x');
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), readable));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, byte, length) => {
        const bytes = good.slice(0, length);
        if (at < length) bytes[at] = byte;
        readable(bytes);
      }),
    );
  });

  it('reads from a view that is not aligned', () => {
    const good = writeSafetensors([['a', f32([2], [1, 2])]]);
    const shifted = new Uint8Array(good.length + 3);
    shifted.set(good, 3);
    expect([...toHostTensor(readSafetensors(shifted.subarray(3), 'x').get('a')!, 'f32', 'a').data]).toEqual([1, 2]);
  });
});

describe('narrowing', () => {
  const raw = (dtype: RawDType, data: ArrayBufferView & { length: number }) => ({
    dtype,
    shape: [data.length],
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });

  it('takes what fits', () => {
    expect([...toHostTensor(raw('I64', BigInt64Array.of(-5n, 7n)), 'i32', 'y').data]).toEqual([-5, 7]);
    expect([...toHostTensor(raw('I64', BigInt64Array.of(-5n, 1n << 60n)), 'f32', 'y').data]).toEqual([-5, 2 ** 60]);
    expect([...toHostTensor(raw('BOOL', Uint8Array.of(1, 0)), 'i32', 'y').data]).toEqual([1, 0]);
    expect([...toHostTensor(raw('BOOL', Uint8Array.of(1, 0)), 'f32', 'y').data]).toEqual([1, 0]);
    expect([...toHostTensor(raw('U8', Uint8Array.of(255)), 'i32', 'y').data]).toEqual([255]);
    expect([...toHostTensor(raw('I64', BigInt64Array.of(0n, 1n)), 'bool', 'y').data]).toEqual([0, 1]);
    const doubles = Float64Array.of(0.1, Number.NaN, Number.POSITIVE_INFINITY);
    expect([...toHostTensor(raw('F64', doubles), 'f32', 'y').data]).toEqual([
      Math.fround(0.1),
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]);
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0x7bff, 0x8000);
    expect([...toHostTensor(raw('F16', halves), 'f32', 'y').data]).toEqual([
      1,
      -2,
      2 ** -24,
      Number.POSITIVE_INFINITY,
      65504,
      -0,
    ]);
    expect([...toHostTensor(raw('BF16', Uint16Array.of(0x3f80, 0xc049)), 'f32', 'y').data]).toEqual([1, -3.140625]);
  });

  it.each([
    ['I64 beyond i32', raw('I64', BigInt64Array.of(1n, 1n << 31n)), 'i32', 'tensor-range'],
    ['I64 beyond doubles', raw('I64', BigInt64Array.of(1n, (1n << 53n) + 1n)), 'i32', 'tensor-range'],
    ['U32 beyond i32', raw('U32', Uint32Array.of(1, 2 ** 32 - 1)), 'i32', 'tensor-range'],
    ['I64 inexact in f32', raw('I64', BigInt64Array.of(1n, (1n << 24n) + 1n)), 'f32', 'tensor-range'],
    ['F64 beyond f32', raw('F64', Float64Array.of(1, 1e39)), 'f32', 'tensor-range'],
    ['BOOL that is 2', raw('BOOL', Uint8Array.of(1, 2)), 'bool', 'tensor-range'],
    ['BOOL that is 2 as i32', raw('BOOL', Uint8Array.of(1, 2)), 'i32', 'tensor-range'],
    ['I32 2 as bool', raw('I32', Int32Array.of(1, 2)), 'bool', 'tensor-range'],
    ['F32 as i32', raw('F32', Float32Array.of(1)), 'i32', 'tensor-dtype'],
    ['F32 as bool', raw('F32', Float32Array.of(1)), 'bool', 'tensor-dtype'],
    ['F8', raw('F8_E4M3', Uint8Array.of(1)), 'f32', 'tensor-dtype'],
  ] as const)('refuses %s', (_what, entry, as, code) => {
    const error = failure(() => toHostTensor(entry, as, 'labels'));
    expect(error.code).toBe(code);
    expect(error.message).toContain('labels');
    if (code === 'tensor-range') expect(error.fields).toMatchObject({ index: 1 });
  });
});
