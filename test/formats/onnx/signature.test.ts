// A node that says something its operator does not have would be read as if it did not: the graph would compute something
// else than the file says, without a word.
import { readdirSync, readFileSync } from 'node:fs';
import { toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { PartitaError } from '../../../src/core/errors.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { hostOperatorNames } from '../../../src/formats/onnx/host/index.ts';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import type { OnnxNode, OnnxTensor } from '../../../src/formats/onnx/model.ts';
import { operatorNames } from '../../../src/formats/onnx/operators/index.ts';
import { signatureOf, signatures } from '../../../src/formats/onnx/operators/signatures.ts';
import { sequenceOperatorNames } from '../../../src/formats/onnx/sequences.ts';
import { checkSignature } from '../../../src/formats/onnx/signature.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type ModelText, type NodeText, onnxOf, onnxProto } from './build.ts';

const failure = (action: () => unknown): PartitaError => {
  try {
    action();
  } catch (error) {
    if (error instanceof PartitaError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

const model = (node: NodeText, more: ModelText = {}): ModelText => ({
  inputs: [{ name: 'x', shape: ['batch', 2, 4, 4] }],
  outputs: [{ name: 'y' }],
  nodes: [{ name: 'n', in: ['x'], out: ['y'], ...node }],
  ...more,
});

const refusal = (node: NodeText, more?: ModelText): PartitaError =>
  failure(() => importModel(onnxOf(model(node, more)), { batch: 3 }));

const int64 = (name: string, values: readonly number[]) =>
  ({ name, dtype: 'INT64', dims: [values.length], values }) as const;
const words = (name: string) => ({ name, dtype: 'STRING', dims: [1], values: [] }) as const;
const tensorOf = (constant: NonNullable<ModelText['initializers']>[number]): OnnxTensor =>
  constant.dtype === 'STRING'
    ? { name: constant.name, dtype: 'STRING', dims: constant.dims, bytes: new Uint8Array(), strings: ['word'] }
    : onnxOf({ initializers: [constant] }).graph.initializers[0]!;

const window = { kernel_shape: [2, 2], strides: [1, 1] };

describe('every operator', () => {
  it('that is read says what it has', () => {
    const read = [...operatorNames(), ...hostOperatorNames(), ...sequenceOperatorNames(), 'If', 'Loop'];
    expect(read.filter((name) => !signatureOf(name))).toEqual([]);
    expect([...signatures().keys()].filter((name) => !read.includes(name))).toEqual([]);
  });

  it('has attributes that some rule reads, or that say why none does', () => {
    const folder = new URL('../../../src/formats/onnx/', import.meta.url);
    const rules = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/signatures?\.ts$|^exporters/.test(file))
      .map((file) => readFileSync(new URL(file, folder), 'utf8'))
      .join('');
    const passedOver = [...signatures()].flatMap(([opType, { attributes }]) =>
      Object.entries(attributes)
        .filter(([name, { noEffect }]) => noEffect === undefined && !rules.includes(`'${name}'`))
        .map(([name]) => `${opType}.${name}`),
    );
    expect(passedOver).toEqual([]);
  });

  it('refuses an attribute that it does not have', () => {
    for (const [opType, signature] of signatures()) {
      const node: OnnxNode = {
        name: 'n',
        opType,
        domain: '',
        overload: '',
        inputs: [],
        outputs: [],
        attributes: new Map(),
      };
      const opset = signature.until ?? 22;
      const check = (attributes: OnnxNode['attributes']) => () => checkSignature(node, signature, attributes, opset);
      expect(check(new Map())).not.toThrow();
      expect(check(new Map([['made_up', { kind: 'int', value: 0 }]]))).toThrow(/made_up/);
      expect(check(new Map([['consumed_inputs', { kind: 'ints', value: [0] }]]))).toThrow(/consumed_inputs/);
    }
  });
});

describe('attributes', () => {
  it('one that is unknown is refused with its value, the nearest name and a remedy', () => {
    const error = refusal({ op: 'MaxPool', attrs: { ...window, dilation: [2, 2] } });
    expect(error).toMatchObject({
      code: 'onnx-node',
      fields: { node: 'n', op: 'MaxPool', attribute: 'dilation', value: '[2, 2]', nearest: 'dilations' },
      remedy: 'call it dilations',
    });
    expect(error.message).toMatch(/MaxPool "n": attribute dilation \(\[2, 2\]\).*did you mean "dilations"/);
  });

  it.each<[what: string, node: NodeText, opset: number, says: RegExp]>([
    ['of a kind that is another', { op: 'LeakyRelu', attrs: { alpha: 1 } }, 17, /alpha is of kind int, and float/],
    [
      'of a later version',
      { op: 'AveragePool', attrs: { ...window, ceil_mode: 1 } },
      9,
      /ceil_mode came with version 10/,
    ],
    [
      'of an earlier version',
      { op: 'BatchNormalization', attrs: { spatial: 0 } },
      9,
      /spatial \(0\) was last in version 8/,
    ],
    ['that is an input now', { op: 'ReduceSum', attrs: { axes: [1] } }, 13, /axes is input 1/],
    ['that no version has', { op: 'Gemm', attrs: { transC: 1 } }, 17, /transC \(1\) is none of the operator's/],
    ['of nodes that have none', { op: 'Relu', attrs: { slope: { float: 0.1 } } }, 17, /slope \(0.1/],
    ['of nodes on the host', { op: 'Shape', attrs: { axis: 1 } }, 17, /axis \(1\)/],
    [
      'that is a flag, and neither 0 nor 1',
      { op: 'ReduceMax', attrs: { keepdims: 2 } },
      17,
      /keepdims is 2, and 0 or 1/,
    ],
    [
      'broadcasting of old',
      { op: 'Add', in: ['x', 'x'], attrs: { broadcast: 1 } },
      7,
      /broadcast \(1\) was last in version 6/,
    ],
  ])('%s: refused', (_, node, opset, says) => {
    const error = refusal(node, { opset });
    expect(error).toMatchObject({ code: 'onnx-node', fields: { node: 'n', op: node.op } });
    expect(error.message).toMatch(says);
    expect(error.remedy).toBeDefined();
  });

  it('one of a later version that says what the operator does anyway is read', () => {
    const pooled = { op: 'MaxPool', attrs: { ...window, ceil_mode: 0 } };
    expect(importModel(onnxOf(model(pooled, { opset: 8 })), { batch: 3 }).outputs.get('y')!.shape).toEqual([
      3, 2, 3, 3,
    ]);
  });

  it.each<[what: string, node: NodeText, opset: number]>([
    ['dilations of ones', { op: 'MaxPool', attrs: { ...window, dilations: [1, 1] } }, 8],
    ['dilations of ones, of means', { op: 'AveragePool', attrs: { ...window, dilations: [1, 1] } }, 18],
    ['dilations of ones, of norms', { op: 'LpPool', attrs: { ...window, dilations: [1, 1] } }, 17],
    ['no broadcasting', { op: 'Add', in: ['x', 'x'], attrs: { broadcast: 0 } }, 7],
  ])('%s change nothing in any version', (_, node, opset) => {
    expect(importModel(onnxOf(model(node, { opset })), { batch: 3 }).outputs.get('y')!.shape[0]).toBe(3);
  });

  it('dilations of a later version that change something are refused', () => {
    const dilated = { op: 'MaxPool', attrs: { ...window, dilations: [1, 2] } };
    expect(refusal(dilated, { opset: 8 }).message).toMatch(/\[1, 2\] would be ignored/);
  });

  it('statistics of channels are what BatchNormalization has without `spatial`', () => {
    const each = (name: string) => ({ name, dims: [2], values: [1, 1] });
    const node = { op: 'BatchNormalization', in: ['x', 's', 'b', 'm', 'v'], attrs: { spatial: 1 } };
    const more = { opset: 9, initializers: ['s', 'b', 'm', 'v'].map(each) };
    expect(importModel(onnxOf(model(node, more)), { batch: 3 }).outputs.get('y')!.shape).toEqual([3, 2, 4, 4]);
  });

  it('hints for memory, before version 6, have no effect', () => {
    const hinted = { op: 'Relu', attrs: { consumed_inputs: [0] } };
    expect(importModel(onnxOf(model(hinted, { opset: 5 })), { batch: 3 }).outputs.get('y')!.shape).toEqual([
      3, 2, 4, 4,
    ]);
    expect(refusal(hinted, { opset: 6 }).message).toMatch(/consumed_inputs/);
  });

  it('those of a call must be the function’s', () => {
    const more: ModelText = {
      domains: { local: 1 },
      functions: [
        {
          name: 'Leak',
          domain: 'local',
          in: ['a'],
          out: ['b'],
          attrs: ['alpha'],
          nodes: [{ op: 'LeakyRelu', in: ['a'], out: ['b'], attrs: { alpha: { ref: 'alpha' } } }],
        },
      ],
    };
    const call = { op: 'Leak', domain: 'local', attrs: { alpha: { float: 0.5 }, alhpa: { float: 0.1 } } };
    const error = refusal(call, more);
    expect(error).toMatchObject({ fields: { attribute: 'alhpa', nearest: 'alpha' }, remedy: 'call it alpha' });
    expect(error.message).toMatch(/alhpa \(0\.1\d*\) is none of function local\.Leak's.*did you mean "alpha"/);
  });

  it('pads that contradict auto_pad are refused; those that it makes are read', () => {
    const pooled = (pads: readonly number[]) => ({
      op: 'MaxPool',
      attrs: { ...window, auto_pad: 'SAME_UPPER', pads },
    });
    expect(refusal(pooled([1, 1, 0, 0])).message).toMatch(/pads \[1, 1, 0, 0\] contradict auto_pad SAME_UPPER/);
    expect(refusal(pooled([0, 0, 0, 0])).message).toMatch(/contradict auto_pad/);
    const y = importModel(onnxOf(model(pooled([0, 0, 1, 1]))), { batch: 3 }).outputs.get('y')!;
    expect(y.shape).toEqual([3, 2, 4, 4]);
  });

  it('that has two values, or another than its type says, is refused', () => {
    const proto = onnxProto(model({ op: 'LeakyRelu', attrs: { alpha: { float: 0.5 } } }));
    const [alpha] = proto.graph!.node[0]!.attribute;
    alpha!.ints = [1n];
    const bytes = toBinary(ModelProtoSchema, proto);
    const error = failure(() => decodeOnnx(bytes, { where: 'm.onnx' }));
    expect(error).toMatchObject({ code: 'onnx-attribute' });
    expect(error.message).toMatch(
      /node\[0\] \(n\)\.attribute\[0\] \(alpha\): its type is FLOAT, and it has a value of type INTS$/,
    );
    expect(error.remedy).toBe('leave out the value that is not of its type');
  });

  it('a constant has one value', () => {
    const node: NodeText = { op: 'Constant', in: [], attrs: { value_int: 1, value_ints: [2] } };
    expect(refusal(node).message).toMatch(/it has value_int and value_ints/);
  });
});

describe('inputs and outputs', () => {
  it.each<[what: string, node: NodeText, constants: NonNullable<ModelText['initializers']>, says: RegExp]>([
    [
      'a k of two numbers',
      { op: 'TopK', in: ['x', 'k'] },
      [int64('k', [1, 2])],
      /k \(input 1\) must be one number, and has 2/,
    ],
    [
      'an axis sliced twice',
      { op: 'Slice', in: ['x', 'a', 'b', 'c'] },
      [int64('a', [0, 0]), int64('b', [1, 1]), int64('c', [1, 1])],
      /axis 1 is sliced twice/,
    ],
    ['uneven parts', { op: 'Split', attrs: { axis: 3 }, out: ['y', 'b', 'c'] }, [], /does not go up in 3 equal parts/],
    ['words as a shape', { op: 'Reshape', in: ['x', 's'] }, [words('s')], /the shape \(input 1, "s"\) is STRING/],
    ['words', { op: 'Equal', in: ['s', 's'] }, [words('s')], /STRING values have no place in a graph/],
  ])('%s: refused', (_, node, constants, says) => {
    const file = onnxOf(model(node));
    const graph = { ...file.graph, initializers: constants.map(tensorOf) };
    expect(failure(() => importModel({ ...file, graph }, { batch: 3 })).message).toMatch(says);
  });

  it('an initialiser that is listed as another input is refused', () => {
    const more = (shape: readonly number[], dtype?: 'DOUBLE'): ModelText => ({
      inputs: [
        { name: 'x', shape: ['batch', 2] },
        { name: 'w', shape, ...(dtype ? { dtype } : {}) },
      ],
      initializers: [{ name: 'w', dims: [2], values: [1, 2] }],
    });
    const node = { op: 'Mul', in: ['x', 'w'] };
    expect(importModel(onnxOf(model(node, more([2]))), { batch: 3 }).outputs.get('y')!.shape).toEqual([3, 2]);
    expect(refusal(node, more([3]))).toMatchObject({ code: 'onnx-shape', fields: { value: 'w' } });
    expect(refusal(node, more([2], 'DOUBLE')).message).toMatch(/"w" is FLOAT\[2\], and as an input it is DOUBLE\[2\]/);
  });

  it.each([
    [
      'a type alone',
      { name: 'w', dtype: 'DOUBLE', shape: undefined },
      'DOUBLE',
      { stated: null, statedDType: 'DOUBLE' },
    ],
    ['a shape alone', { name: 'w', dtype: undefined, shape: [3] }, '[3]', { stated: [3], statedDType: null }],
  ] as const)('an initialiser is told apart from an input that states %s', (_, stated, text, fields) => {
    const file = onnxOf(
      model({ op: 'Mul', in: ['x', 'w'] }, { initializers: [{ name: 'w', dims: [2], values: [1, 2] }] }),
    );
    const graph = { ...file.graph, inputs: [...file.graph.inputs, stated] };
    const error = failure(() => importModel({ ...file, graph }, { batch: 3 }));
    expect(error).toMatchObject({
      code: 'onnx-shape',
      fields,
      remedy: expect.stringMatching(/correct the input's type/),
    });
    expect(error.message.endsWith(`initialiser "w" is FLOAT[2], and as an input it is ${text}`)).toBe(true);
  });

  it('initialisers that are all listed as inputs are compared once each', () => {
    const count = 300;
    const constants = Array.from({ length: count }, (_, i) => ({ name: `w${i}`, dims: [1], values: [i] }));
    const file = onnxOf(
      model({ op: 'Sum', in: ['x', ...constants.map(({ name }) => name)] }, { initializers: constants }),
    );
    let reads = 0;
    const listed = constants.map(({ name }) => ({
      get name() {
        reads++;
        return name;
      },
      dtype: 'FLOAT' as const,
      shape: [1],
    }));
    const graph = { ...file.graph, inputs: [...file.graph.inputs, ...listed] };
    importModel({ ...file, graph }, { batch: 3, batchAxes: { x: 0 } });
    expect(reads).toBeGreaterThan(0);
    // Some times a build, and not as often as there are pairs.
    expect(reads).toBeLessThan(30 * count);
  });

  it.each<[what: string, node: NodeText, opset: number, says: RegExp]>([
    ['an input too many', { op: 'Relu', in: ['x', 'x'] }, 17, /no input 1 \("x"\)/],
    ['an input of a later version', { op: 'TopK', in: ['x', 'x'], attrs: { k: 1 } }, 9, /k is an attribute/],
    ['one of several left out', { op: 'Concat', in: ['x', '', 'x'], attrs: { axis: 1 } }, 17, /input 1 is left out/],
    ['an output too many', { op: 'Relu', out: ['y', 'z'] }, 17, /no output 1 \("z"\)/],
    [
      'an output that went',
      { op: 'BatchNormalization', out: ['y', '', '', 'm'] },
      14,
      /saved_mean \(output 3\) was last in version 13/,
    ],
    ['an output that is to come', { op: 'MaxPool', out: ['y', 'i'], attrs: window }, 7, /Indices \(output 1\) came/],
  ])('%s: refused', (_, node, opset, says) => {
    expect(refusal(node, { opset })).toMatchObject({ code: 'onnx-node', message: expect.stringMatching(says) });
  });
});

describe('versions', () => {
  it('an operator before or behind its time is refused', () => {
    expect(refusal({ op: 'Gelu' }, { opset: 17 }).message).toMatch(/came with version 20/);
    const upsample = refusal({ op: 'Upsample', attrs: { mode: 'nearest' } }, { opset: 11 });
    expect(upsample).toMatchObject({ remedy: 'Resize takes its place' });
  });

  it('those of a function’s operators must be known as well', () => {
    const text: ModelText = {
      ...model({ op: 'F', domain: 'local' }),
      domains: { local: 1 },
      functions: [
        { name: 'F', domain: 'local', in: ['a'], out: ['b'], nodes: [{ op: 'Relu', in: ['a'], out: ['b'] }] },
      ],
    };
    const file = onnxOf(text);
    const future = { ...file, functions: file.functions.map((f) => ({ ...f, opsets: new Map([['', 99]]) })) };
    expect(failure(() => importModel(future, { batch: 3 }))).toMatchObject({
      code: 'onnx-unsupported',
      message: expect.stringMatching(/version 99 of its operators, and 1 to 22 are known/),
    });
  });
});

describe('what a node says is what is computed', () => {
  const dropout = (opset: number, attrs: NodeText['attrs'] = {}) => {
    const graph = importModel(onnxOf(model({ op: 'Dropout', attrs }, { opset })), { batch: 3, mode: 'training' });
    return graph.nodes.some((node) => node.op?.name.startsWith('dropout')) || graph.sources('input').length > 1;
  };

  it('Dropout drops before version 7 unless is_test says that it does not', () => {
    expect(dropout(6)).toBe(true);
    expect(dropout(6, { is_test: 0 })).toBe(true);
    expect(dropout(6, { is_test: 1 })).toBe(false);
    expect(dropout(7)).toBe(false);
  });

  it.each<[dtype: 'UINT8' | 'INT8' | 'INT16', op: string, values: number[], expected: number[]]>([
    ['UINT8', 'Add', [200, 100], [144, 200]],
    ['INT8', 'Add', [100, -100], [-56, 56]],
    ['UINT8', 'Mul', [20, 3], [144, 9]],
    ['INT16', 'Mul', [300, -300], [24464, 24464]],
    ['UINT8', 'Sub', [7, 8], [0, 0]],
  ])('%s sums and products wrap around: %s', (dtype, op, values, expected) => {
    const text: ModelText = {
      inputs: [{ name: 'x', dtype, shape: [2] }],
      outputs: [{ name: 'y', dtype, shape: [2] }],
      nodes: [{ op, in: ['x', 'x'], out: ['y'] }],
      opset: 14,
    };
    const graph = importModel(onnxOf(text), { batch: 2, batchAxes: { x: null } });
    const [x] = graph.sources('input');
    const [y] = evaluate(
      [graph.outputs.get('y')!],
      new Map([[x!, { type: x!.type, data: Float64Array.from(values) }]]),
    );
    expect([...y!.data]).toEqual(expected);
  });
});
