import { describe, expect, it } from 'vitest';
import { parseCsv } from '../../src/formats/csv.ts';
import { parseIdx } from '../../src/formats/idx.ts';
import { readNpy, writeNpy } from '../../src/formats/npy.ts';
import { toHostTensor } from '../../src/formats/raw-tensor.ts';

const failing = (code: string, fields: object = {}) =>
  expect.objectContaining({ code, fields: expect.objectContaining(fields) });

describe('csv', () => {
  it('finds a header, or none', () => {
    expect(parseCsv('a,b\n1,2\n3,4\n', 't')).toMatchObject({ names: ['a', 'b'], rows: 2, columns: 2 });
    expect(parseCsv('1,2\n3,4', 't')).toMatchObject({ names: undefined, rows: 2 });
    expect(parseCsv('1,2\n3,4', 't', { header: 'yes' })).toMatchObject({ names: ['1', '2'], rows: 1 });
    expect(() => parseCsv('a,b\n3,4', 't', { header: 'no' })).toThrow(
      failing('csv-not-a-number', { line: 1, column: 1 }),
    );
  });

  it('reads quotes, line ends of every kind, a byte-order mark and exponents', () => {
    const table = parseCsv('\ufeff"a ""x"", y","b\nc"\r\n"1.5", -2e3\r\n\r\n.5,+7.\r\n', 't');
    expect(table.names).toEqual(['a "x", y', 'b\nc']);
    expect([...table.values]).toEqual([1.5, -2000, 0.5, 7]);
  });

  it.each([
    ['several lines', '1,2\n30,400\n'],
    ['no last line end', '1,2\n30,400'],
    ['one column', '1\n2\n3\n'],
    ['leading zeros', '007,08\n9,10\n'],
    ['fifteen digits and more', '999999999999999,1\n12345678901234567890,2\n'],
    ['empty lines', '1,2\n\n3,4\n\n'],
    ['line ends of Windows', '1,2\r\n3,4\r\n'],
  ])('reads whole numbers at once as it reads them one by one: %s', (_what, text) => {
    const quoted = text.replace(/^\d+/, '"$&"'); // quotes take the long way
    expect(parseCsv(text, 't')).toEqual(parseCsv(quoted, 't'));
    expect(parseCsv(text, 't', { header: 'no' })).toEqual(parseCsv(quoted, 't', { header: 'no' }));
  });

  it('takes another delimiter', () => {
    expect([...parseCsv('1;2\n3;4', 't', { delimiter: ';' }).values]).toEqual([1, 2, 3, 4]);
  });

  it.each(['', '1', '.', '-', '"', '\n', ', "'])('refuses the delimiter %j', (delimiter) => {
    expect(() => parseCsv('1,2\n3,4', 't', { delimiter })).toThrow(failing('csv-delimiter', { delimiter }));
  });

  it.each([
    ['text', '1,2\n3,x', 'csv-not-a-number', { line: 2, column: 2, got: 'x' }],
    ['an empty field', 'a,b\n\n3,', 'csv-not-a-number', { line: 3, column: 2 }],
    ['hexadecimal', '1\n0x10', 'csv-not-a-number', { line: 2 }],
    ['infinity', '1\n1e999', 'csv-not-a-number', { line: 2 }],
    ['a short line', '1,2\n3', 'csv-ragged', { line: 2, expected: 2, got: 1 }],
    ['the line after a quoted line end', '"a\nb"\n"1"\nx', 'csv-not-a-number', { line: 4 }],
    ['an open quote', 'a\n"1', 'csv-quote', { line: 2 }],
    ['text after a quote', 'a,b\n"1"2,3', 'csv-quote', { line: 2, column: 1 }],
    ['no lines', '\n\n', 'csv-empty', {}],
    [
      'a first sample with a missing value, which looks like a header',
      '1,,0\n3,4,1',
      'csv-header',
      { line: 1, got: '' },
    ],
  ])('refuses %s', (_what, text, code, fields) => {
    expect(() => parseCsv(text, 'data.csv')).toThrow(failing(code, fields));
    expect(() => parseCsv(text, 'data.csv')).toThrow('data.csv');
  });

  it.each([
    ['a year for a name', 'country,2019,2020\n1,2,3', ['country', '2019', '2020']],
    ['an index without a name, as pandas writes', ',0,1\n0,5,6\n1,7,8', ['', '0', '1']],
    ["scikit-learn's count of samples", '1,2,setosa\n5.1,3.5,0', ['1', '2', 'setosa']],
  ])('takes for a header one with %s', (_what, text, names) => {
    expect(parseCsv(text, 't')).toMatchObject({ names, rows: text.split('\n').length - 1 });
  });

  it.each([
    ['NaN,1,2\n3,4,5', 'NaN'],
    [',1,2\n3,4,5', ''],
    ['?,1,2\n3,4,5', '?'],
    ['1.5x,1,2\n3,4,5', '1.5x'],
    ['5.1,3.5,setosa\n4.9,3.0,setosa', 'setosa'],
    ['name,2024', 'name'],
  ])('asks whether a first line is a header or a sample: %j', (text, got) => {
    expect(() => parseCsv(text, 't')).toThrow(failing('csv-header', { line: 1, got }));
  });

  it('takes a first line of both kinds as it is told', () => {
    expect(parseCsv('name,2024', 't', { header: 'yes' })).toMatchObject({ names: ['name', '2024'], rows: 0 });
    expect(() => parseCsv('1,,0\n3,4,1', 't', { header: 'no' })).toThrow(
      failing('csv-not-a-number', { line: 1, column: 2 }),
    );
  });

  it.each([
    ['a;b\n1;2', "--data.delimiter ';'"],
    ['a\tb\n1\t2', "--data.delimiter $'\\t'"],
    ['a,b\n1,NA', 'fill missing values, or leave out their lines'],
    ['a,b\n1,', 'fill missing values, or leave out their lines'],
    ['a,b\n1,red', 'write numbers: of categories, 0, 1, 2 …'],
  ])('says what to do about %j', (text, remedy) => {
    expect(() => parseCsv(text, 't')).toThrow(expect.objectContaining({ code: 'csv-not-a-number', remedy }));
  });

  it('names the column of a header', () => {
    expect(() => parseCsv('width,height\n1,tall', 't')).toThrow(
      't, line 2, column 2 (height): "tall" is not a finite number',
    );
  });
});

describe('idx', () => {
  const bytes = Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6);
  it('reads big-endian sizes', () => {
    expect(parseIdx(bytes, 'x')).toEqual({ shape: [2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) });
  });
  it.each([
    ['magic', Uint8Array.of(1, 0, 8, 0)],
    ['magic', Uint8Array.of(0)],
    ['dtype', Uint8Array.of(0, 0, 13, 0)],
    ['truncated', bytes.subarray(0, 9)],
    ['size', bytes.subarray(0, 17)],
    ['size', Uint8Array.of(...bytes, 0)],
    ['size', Uint8Array.of(0, 0, 8, 1, 255, 255, 255, 255)],
  ])('refuses a wrong %s', (code, broken) => {
    expect(() => parseIdx(broken, 'train')).toThrow(failing(`idx-${code}`, { file: 'train' }));
  });
});

describe('npy', () => {
  const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer);
  it.each([
    { dtype: 'F32', shape: [2, 2], bytes: bytesOf(Float32Array.of(1, 2, 3, 4)) },
    { dtype: 'F64', shape: [1], bytes: bytesOf(Float64Array.of(Math.PI)) },
    { dtype: 'I32', shape: [], bytes: bytesOf(Int32Array.of(-1)) },
    { dtype: 'I64', shape: [2], bytes: bytesOf(BigInt64Array.of(1n, -1n)) },
    { dtype: 'F16', shape: [2], bytes: Uint8Array.of(0, 0x3c, 0, 0xc0) },
    { dtype: 'I16', shape: [1], bytes: bytesOf(Int16Array.of(-300)) },
    { dtype: 'I8', shape: [2], bytes: bytesOf(Int8Array.of(-1, 1)) },
    { dtype: 'U64', shape: [1], bytes: bytesOf(BigUint64Array.of(1n << 63n)) },
    { dtype: 'U32', shape: [1], bytes: bytesOf(Uint32Array.of(4_000_000_000)) },
    { dtype: 'U16', shape: [1], bytes: bytesOf(Uint16Array.of(60_000)) },
    { dtype: 'U8', shape: [3, 1], bytes: Uint8Array.of(1, 2, 3) },
    { dtype: 'BOOL', shape: [0], bytes: new Uint8Array(0) },
    { dtype: 'U8', shape: Array(25_000).fill(1), bytes: Uint8Array.of(9) },
  ] as const)('gives back $dtype', (tensor) => {
    const bytes = writeNpy(tensor);
    expect(readNpy(bytes, 'x')).toEqual(tensor);
    expect((bytes.length - tensor.bytes.length) % 64).toBe(0);
  });

  it('has the bytes NumPy writes', () => {
    const text = new TextDecoder('latin1').decode(
      writeNpy({ type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(1, 2) }),
    );
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".padEnd(117);
    expect(text).toBe(`\x93NUMPY\x01\0v\0${header}\n\0\0\x80?\0\0\0@`);
  });

  it('converts like any tensor of a file', () => {
    const entry = readNpy(writeNpy({ dtype: 'I64', shape: [1], bytes: bytesOf(BigInt64Array.of(1n << 40n)) }), 'x');
    expect(() => toHostTensor(entry, 'i32', 'y')).toThrow(failing('tensor-range', { tensor: 'y' }));
  });

  const edit = (from: string, to: string) => {
    const text = new TextDecoder('latin1').decode(writeNpy({ dtype: 'F32', shape: [2, 1], bytes: new Uint8Array(8) }));
    return Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0));
  };
  it.each([
    ['magic', edit('NUMPY', 'NUMPI')],
    ['version', edit('\x01\0', '\x03\0')],
    ['header', edit('descr', 'dscr_')],
    ['header', edit('v\0', '\xff\xff')],
    ['dtype', edit('<f4', '>f4')],
    ['dtype', edit('<f4', '|O8')],
    ['order', edit('False', 'True ')],
    ['size', edit('(2, 1)', '(3, 1)')],
    ['size', edit('(2, 1)', '(2, 9)')],
  ])('refuses a wrong %s', (code, bytes) => {
    expect(() => readNpy(bytes, 'x.npy')).toThrow(failing(`npy-${code}`, { file: 'x.npy' }));
  });

  it.each([
    ['>f8', '<f8'],
    ['>i8', '<i8'],
    ['<c8', '<f4'],
    ['|O8', '<f4'],
    ['<i9', '<i4'],
  ])('of %s says to save it as %s', (descr, native) => {
    expect(() => readNpy(edit('<f4', descr), 'x')).toThrow(
      expect.objectContaining({ code: 'npy-dtype', remedy: `array.astype('${native}')` }),
    );
  });

  it('of a zip says that it is one', () => {
    expect(() => readNpy(Uint8Array.of(0x50, 0x4b, 3, 4), 'x.npz')).toThrow(
      expect.objectContaining({ code: 'npy-magic', remedy: expect.stringContaining('unzip') }),
    );
  });
});
