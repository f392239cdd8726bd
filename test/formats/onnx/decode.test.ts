import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, type TensorProto, TensorProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../../src/core/errors.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { constantOf, float32Of } from '../../../src/formats/onnx/known.ts';
import { type OnnxDType, onnxDTypes } from '../../../src/formats/onnx/model.ts';
import { readOnnx } from '../../../src/formats/onnx/read.ts';
import { onnxBytes, onnxOf, onnxProto } from './build.ts';

function failure(action: () => unknown): FormatError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return error as FormatError;
  }
  throw new Error('expected a FormatError');
}

const withTensor = (fields: Partial<TensorProto>): Uint8Array =>
  toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      graph: { initializer: [create(TensorProtoSchema, { name: 't', ...fields } as TensorProto)] },
    }),
  );
const decodeTensor = (fields: Partial<TensorProto>) =>
  decodeOnnx(withTensor(fields), { where: 'm.onnx' }).graph.initializers[0]!;

describe('tensors', () => {
  const typed: readonly [OnnxDType, Partial<TensorProto>, readonly number[]][] = [
    ['FLOAT', { floatData: [1.5, -2] }, [1.5, -2]],
    ['DOUBLE', { doubleData: [0.1, 1e300] }, [0.1, 1e300]],
    ['INT8', { int32Data: [-128, 127] }, [-128, 127]],
    ['UINT8', { int32Data: [0, 255] }, [0, 255]],
    ['INT16', { int32Data: [-32768, 32767] }, [-32768, 32767]],
    ['UINT16', { int32Data: [0, 65535] }, [0, 65535]],
    ['INT32', { int32Data: [-(2 ** 31), 2 ** 31 - 1] }, [-(2 ** 31), 2 ** 31 - 1]],
    ['UINT32', { uint64Data: [0n, 4294967295n] }, [0, 4294967295]],
    ['INT64', { int64Data: [-5n, 2n ** 53n] }, [-5, 2 ** 53]],
    ['UINT64', { uint64Data: [7n, 2n ** 40n] }, [7, 2 ** 40]],
    ['BOOL', { int32Data: [0, 1] }, [0, 1]],
    // 1.5 and −2 by their bits.
    ['FLOAT16', { int32Data: [0x3e00, 0xc000] }, [1.5, -2]],
    ['BFLOAT16', { int32Data: [0x3fc0, 0xc000] }, [1.5, -2]],
  ];

  it.each(typed)('%s in the list of its type, and the same in raw_data', (dtype, data, values) => {
    const fromList = decodeTensor({ dataType: onnxDTypes[dtype], dims: [2n], ...data });
    expect([...constantOf(fromList).data]).toEqual(values);
    const raw = new Uint8Array(fromList.bytes);
    const fromRaw = decodeTensor({ dataType: onnxDTypes[dtype], dims: [2n], rawData: raw });
    expect([...constantOf(fromRaw).data]).toEqual(values);
  });

  it('integers beyond 2^53 saturate: they mean "to the end"', () => {
    const ends = decodeTensor({ dataType: 7, dims: [2n], int64Data: [2n ** 63n - 1n, -(2n ** 63n)] });
    expect([...constantOf(ends).data]).toEqual([2 ** 53, -(2 ** 53)]);
  });

  it('DOUBLE becomes f32, rounded to nearest', () => {
    expect([...float32Of(decodeTensor({ dataType: 11, dims: [1n], doubleData: [0.1] }))]).toEqual([Math.fround(0.1)]);
  });

  it('raw_data of FLOAT is not copied where it lies aligned, and read right where it does not', () => {
    for (const name of ['t', 'te', 'ten', 'tens']) {
      const raw = new Uint8Array(new Float32Array([1, 2, 3]).buffer);
      expect([...float32Of(decodeTensor({ name, dataType: 1, dims: [3n], rawData: raw }))]).toEqual([1, 2, 3]);
    }
  });

  const wrong: readonly [string, Partial<TensorProto>, string][] = [
    ['too little raw_data', { dataType: 1, dims: [4n], rawData: new Uint8Array(15) }, '15 bytes'],
    ['too many values', { dataType: 1, dims: [1n], floatData: [1, 2] }, 'float_data has 2 values'],
    ['values in another list', { dataType: 7, dims: [1n], floatData: [1] }, 'int64_data has 0 values'],
    [
      'values in two lists',
      { dataType: 1, dims: [1n], floatData: [1], int64Data: [2n] },
      'has values in int64_data too',
    ],
    ['raw_data beside another list', { dataType: 1, dims: [1n], int32Data: [1], rawData: new Uint8Array(4) }, 'both'],
    ['two lists', { dataType: 1, dims: [1n], floatData: [1], rawData: new Uint8Array(4) }, 'both'],
    ['a negative size', { dataType: 1, dims: [-1n] }, 'negative'],
    ['a product beyond all files', { dataType: 1, dims: [2n ** 40n, 2n ** 40n] }, 'too large'],
    ['a claim of a terabyte', { dataType: 1, dims: [2n ** 38n], rawData: new Uint8Array(8) }, '8 bytes'],
    ['a number its type cannot hold', { dataType: 2, dims: [1n], int32Data: [256] }, '256'],
    ['an unknown element type', { dataType: 17, dims: [0n] }, 'element type 17'],
    ['segments', { dataType: 1, dims: [0n], segment: { begin: 0n, end: 1n } as never }, 'segments'],
  ];
  it.each(wrong)('refuses %s, naming the tensor', (_, fields, text) => {
    const error = failure(() => decodeTensor(fields));
    expect(error.message).toContain('graph.initializer[0] (t)');
    expect(error.message).toContain(text);
    expect(error.remedy).toBe(/both|too$/.test(text) ? 'keep one of them' : undefined);
  });
});

describe('structure', () => {
  const good = onnxBytes({
    nodes: [{ op: 'Relu', in: ['x'], out: ['y'] }],
    inputs: [{ name: 'x', shape: [2] }],
    outputs: [{ name: 'y' }],
  });

  it('every cut of a file is refused', () => {
    for (let n = 0; n < good.length; n++) {
      const cut = good.slice(0, n);
      // A cut between two fields is well-formed: what is missing then is told by what reads the model.
      try {
        decodeOnnx(cut, { where: 'cut.onnx' });
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        expect((error as FormatError).message).toMatch(/^cut\.onnx: /);
      }
    }
  });

  it('a nested message that claims more than its parent has is refused by place', () => {
    // ModelProto.graph (field 7) of 4 bytes, in it a node (field 1) that claims 100.
    const error = failure(() => decodeOnnx(Uint8Array.of(0x3a, 4, 0x0a, 100, 0, 0), { where: 'm.onnx' }));
    expect(error).toMatchObject({ code: 'onnx-truncated', fields: { place: 'graph.node[0]' } });
  });

  it('a field of the wrong wire type is refused', () => {
    // graph as a number.
    expect(failure(() => decodeOnnx(Uint8Array.of(0x38, 1), { where: 'm.onnx' })).code).toBe('onnx-wire');
  });

  it('groups are refused, unknown fields skipped', () => {
    expect(failure(() => decodeOnnx(Uint8Array.of(0xa3, 0x06), { where: 'm.onnx' })).code).toBe('onnx-wire');
    const unknown = Uint8Array.of(...good, 0xa0, 0x06, 5); // field 100: 5
    expect(decodeOnnx(unknown, { where: 'm.onnx' }).graph.nodes).toHaveLength(1);
  });

  it('subgraphs nested without end are refused before the stack is', () => {
    let inner = new Uint8Array();
    const wrap = (tag: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
      const length: number[] = [];
      for (let n = bytes.length; ; n >>>= 7) {
        length.push(n > 127 ? (n & 127) | 128 : n);
        if (n <= 127) break;
      }
      return Uint8Array.of(tag, ...length, ...bytes);
    };
    // graph in an attribute (field 6) in a node (field 5) in a graph (field 1), a hundred times.
    for (let i = 0; i < 100; i++) inner = wrap(0x0a, wrap(0x2a, wrap(0x32, inner)));
    expect(failure(() => decodeOnnx(wrap(0x3a, inner), { where: 'm.onnx' })).code).toBe('onnx-depth');
  });

  it('what is no ONNX file is refused', () => {
    for (const text of ['', 'PK\x03\x04', '{"model": 1}', '\x89PNG\r\n\x1a\n']) {
      expect(failure(() => decodeOnnx(new TextEncoder().encode(text), { where: 'm.onnx' })).message).toContain(
        'm.onnx',
      );
    }
  });

  it('an attribute that comes twice, and one without a value, are refused by node', () => {
    const proto = onnxProto({ nodes: [{ op: 'Relu', name: 'r', attrs: { a: 1, b: 2 } }] });
    const node = proto.graph!.node[0]!;
    node.attribute[1]!.name = 'a';
    const twice = failure(() => decodeOnnx(toBinary(ModelProtoSchema, proto), { where: 'm.onnx' }));
    expect(twice.message).toContain('graph.node[0] (r): attribute a comes twice');
  });

  it('domain ai.onnx is the empty one', () => {
    const model = onnxOf({ opset: 13, domains: { 'ai.onnx.ml': 2 }, nodes: [{ op: 'Relu', domain: 'ai.onnx' }] });
    expect(model.graph.nodes[0]!.domain).toBe('');
    expect(model.opsets).toEqual(
      new Map([
        ['', 13],
        ['ai.onnx.ml', 2],
      ]),
    );
  });
});

describe('external data', () => {
  const folder = mkdtempSync(join(tmpdir(), 'partita-onnx-'));
  const inside = join(folder, 'model');
  mkdirSync(inside);
  writeFileSync(join(inside, 'weights.bin'), new Uint8Array(new Float32Array([0, 1, 2, 3]).buffer));
  writeFileSync(join(folder, 'secret.bin'), new Uint8Array(16));
  symlinkSync(join(folder, 'secret.bin'), join(inside, 'link.bin'));

  const read = (entries: Readonly<Record<string, string>>) => {
    const path = join(inside, 'm.onnx');
    const externalData = Object.entries(entries).map(([key, value]) => ({ key, value })) as never;
    writeFileSync(path, withTensor({ dataType: 1, dims: [2n], dataLocation: 1, externalData }));
    return readOnnx(path).graph.initializers[0]!;
  };

  it('is read relative to the model, from offset', () => {
    expect([...float32Of(read({ location: 'weights.bin', offset: '8', length: '8' }))]).toEqual([2, 3]);
    expect([...float32Of(read({ location: './weights.bin' }))]).toEqual([0, 1]);
  });

  it.each([
    ['a path upwards', { location: '../secret.bin' }, 'outside'],
    ['a path down and up', { location: 'a/../../secret.bin' }, 'outside'],
    ['an absolute path', { location: join(folder, 'secret.bin') }, 'outside'],
    ['a link out of the folder', { location: 'link.bin' }, 'outside'],
    ['a folder', { location: '.' }, 'outside'],
    ['a missing file', { location: 'none.bin' }, 'not there'],
    ['a short file', { location: 'weights.bin', offset: '12' }, 'has 16'],
    ['another length', { location: 'weights.bin', length: '12' }, 'length is 12'],
    ['no number', { location: 'weights.bin', offset: '-4' }, 'not a number'],
    ['a wrong checksum', { location: 'weights.bin', checksum: 'abc' }, 'SHA-1'],
    ['no location', { offset: '0' }, 'no location'],
  ])('refuses %s', (_, entries, text) => {
    const error = failure(() => read(entries as unknown as Record<string, string>));
    expect(error.message).toContain('graph.initializer[0] (t)');
    expect(error.message).toContain(text);
    expect(error.remedy).toBe(/both|too$/.test(text) ? 'keep one of them' : undefined);
  });
});
