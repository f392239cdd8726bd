// The operators of indexing, shape, reduction and products: on ONNX's own cases, and on models made here for what the cases
// leave out (older and newer versions of an operator, 1-D factors, integers, every batch size the same graph).
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import type { OnnxAttribute, OnnxDType, OnnxModel, OnnxNode, OnnxTensor } from '../../../src/formats/onnx/model.ts';
import { indexingOperators } from '../../../src/formats/onnx/operators/indexing.ts';
import { matmulOperators } from '../../../src/formats/onnx/operators/matmul.ts';
import { reduceOperators } from '../../../src/formats/onnx/operators/reduce.ts';
import { shapeOperators } from '../../../src/formats/onnx/operators/shape.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

const operators = new Set(
  Object.keys({ ...indexingOperators, ...matmulOperators, ...reduceOperators, ...shapeOperators }),
);
/** Operators of the importer's host that appear beside ours. */
const others = ['Constant', 'Identity', 'NonZero', 'Shape', 'Size'];

/** Cases that are not held to their outputs, with the reason. */
const exceptions: readonly (readonly [names: RegExp, why: string])[] = [
  [/_zero|zero_size|start_out_of_bounds|allowzero_reordered/, 'no tensor of a graph is empty'],
];

const ours = casesOf(new Set([...operators, ...others]), []).filter(
  ([name]) => !exceptions.some(([names]) => names.test(name)),
);

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there for every operator', () => {
    const covered = new Set(ours.flatMap(([, c]) => c.model.graph.nodes.map((n) => n.opType)));
    // Scatter has the name ScatterElements since version 11.
    expect([...operators].filter((op) => !covered.has(op))).toEqual([]);
    expect(ours.length).toBeGreaterThan(200);
  });

  it.each(ours)('%s, integers known', (name, c) => {
    // Depths and bounds of ranges that are floats are known where all is.
    const constants = /onehot|range_float/.test(name) ? 'all' : 'integers';
    expect(differs(runCase(c, { constants }), c)).toBeUndefined();
  });

  it.each(ours)('%s, all known', (_, c) => {
    expect(differs(runCase(c, { constants: 'all' }), c)).toBeUndefined();
  });

  /** Their inputs decide over shapes, which a graph has before it has values. */
  const mustBeKnown = new Set([
    ...['Compress', 'ConstantOfShape', 'CumSum', 'Expand', 'NonZero', 'OneHot', 'Range', 'Reshape', 'ReverseSequence'],
    ...['Slice', 'Split', 'Squeeze', 'Tile', 'TopK', 'Trilu', 'Unsqueeze', ...Object.keys(reduceOperators)],
  ]);

  it.each(ours)('%s, nothing known', (_, c) => {
    let made: ReturnType<typeof runCase>;
    try {
      made = runCase(c, { constants: 'none' });
    } catch (error) {
      const { message } = error as Error;
      expect(message).toMatch(/must be known at import|input "axes" has no values/);
      expect(
        c.model.graph.nodes.some((n) => mustBeKnown.has(n.opType)),
        message,
      ).toBe(true);
      return;
    }
    expect(differs(made, c)).toBeUndefined();
  });
});

const bytesOf = (dtype: OnnxDType, values: readonly number[]): Uint8Array => {
  const array =
    dtype === 'FLOAT'
      ? Float32Array.from(values)
      : dtype === 'INT64'
        ? BigInt64Array.from(values, BigInt)
        : dtype === 'BOOL'
          ? Uint8Array.from(values)
          : Int32Array.from(values);
  return new Uint8Array(array.buffer);
};

const tensor = (name: string, dtype: OnnxDType, dims: readonly number[], values: readonly number[]): OnnxTensor => ({
  ...{ name, dtype, dims },
  bytes: bytesOf(dtype, values),
});

type AttributeValue = number | string | readonly number[] | OnnxTensor;

function attribute(value: AttributeValue): OnnxAttribute {
  if (typeof value === 'number') {
    return { kind: 'int', value };
  }
  if (typeof value === 'string') return { kind: 'string', value };
  return 'dims' in value ? { kind: 'tensor', value } : { kind: 'ints', value };
}

const node = (
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, AttributeValue | OnnxAttribute> = {},
): OnnxNode => ({
  ...{ name: '', opType, domain: '', overload: '', inputs, outputs },
  attributes: new Map(
    Object.entries(attributes).map(([key, value]) => [
      key,
      typeof value === 'object' && 'kind' in value ? value : attribute(value),
    ]),
  ),
});

/** One node of operator set `opset`: `inputs` are fed, `known` are constants of the file. */
function play(
  opset: number,
  opType: string,
  attributes: Record<string, AttributeValue | OnnxAttribute>,
  inputs: readonly (OnnxTensor | undefined)[],
  known: readonly string[] = [],
  outputs = 1,
) {
  const given = [...new Set(inputs)].filter((t) => t !== undefined);
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const fed = given.filter((t) => !known.includes(t.name));
  const model: OnnxModel = {
    ...{ irVersion: 8, producer: '', opsets: new Map([['', opset]]), functions: [] },
    graph: {
      name: '',
      nodes: [
        node(
          opType,
          inputs.map((t) => t?.name ?? ''),
          names,
          attributes,
        ),
      ],
      initializers: given.filter((t) => known.includes(t.name)),
      inputs: fed.map(({ name, dtype, dims }) => ({ name, dtype, shape: dims })),
      outputs: names.map((name) => ({ name, dtype: undefined, shape: undefined })),
      valueInfo: [],
    },
  };
  return runCase({ model, inputs: fed, outputs: [] }, { constants: 'none' }).map(({ type, data }) => ({
    ...type,
    data: [...data],
  }));
}

const float = (name: string, dims: readonly number[], values: readonly number[]) => tensor(name, 'FLOAT', dims, values);
const ints = (name: string, ...values: number[]) => tensor(name, 'INT64', [values.length], values);
const x = float('x', [2, 3], [1, 2, 3, 4, 5, 6]);

describe('attributes that became inputs', () => {
  it('Slice', () => {
    const [before] = play(9, 'Slice', { starts: [0, -2], ends: [2 ** 53, 99], axes: [0, 1] }, [x]);
    expect(before).toEqual({ dtype: 'f32', shape: [2, 2], data: [2, 3, 5, 6] });
    const bounds = [ints('s', 1, -1), ints('e', -(2 ** 53), -(2 ** 53)), ints('a', 0, -1), ints('t', -1, -2)];
    const [since] = play(13, 'Slice', {}, [x, ...bounds], ['s', 'e', 'a', 't']);
    expect(since).toEqual({ dtype: 'f32', shape: [2, 2], data: [6, 4, 3, 1] });
  });
  it('Split: sizes, even parts, and uneven ones', () => {
    const row = float('x', [5], [1, 2, 3, 4, 5]);
    const data = (parts: ReturnType<typeof play>) => parts.map((p) => p.data);
    expect(data(play(11, 'Split', { split: [2, 3] }, [row], [], 2))).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    expect(data(play(13, 'Split', {}, [row, ints('n', 4, 1)], ['n'], 2))).toEqual([[1, 2, 3, 4], [5]]);
    expect(data(play(18, 'Split', { num_outputs: 3 }, [row], [], 3))).toEqual([[1, 2], [3, 4], [5]]);
    expect(data(play(13, 'Split', { axis: -1 }, [x], [], 3))).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });
  it('Squeeze, Unsqueeze', () => {
    const thin = float('x', [1, 2, 1], [1, 2]);
    expect(play(11, 'Squeeze', { axes: [-1] }, [thin])[0]!.shape).toEqual([1, 2]);
    expect(play(13, 'Squeeze', {}, [thin, ints('a', 0)], ['a'])[0]!.shape).toEqual([2, 1]);
    expect(play(13, 'Squeeze', {}, [thin])[0]!.shape).toEqual([2]);
    expect(play(11, 'Unsqueeze', { axes: [0, -1] }, [x])[0]!.shape).toEqual([1, 2, 3, 1]);
  });
  it('TopK', () => {
    const [values, places] = play(9, 'TopK', { k: 2 }, [x], [], 2);
    expect([values!.data, places!.data]).toEqual([
      [3, 2, 6, 5],
      [2, 1, 2, 1],
    ]);
  });
  it('axes of reductions', () => {
    expect(play(11, 'ReduceSum', { axes: [1], keepdims: 0 }, [x])[0]!.data).toEqual([6, 15]);
    expect(play(13, 'ReduceSum', {}, [x, ints('a', -1)], ['a'])[0]).toEqual({
      dtype: 'f32',
      shape: [2, 1],
      data: [6, 15],
    });
    expect(play(17, 'ReduceMax', { axes: [0] }, [x])[0]!.data).toEqual([4, 5, 6]);
    expect(play(18, 'ReduceMax', {}, [x, ints('a', 0)], ['a'])[0]!.data).toEqual([4, 5, 6]);
    expect(play(18, 'ReduceProd', {}, [x])[0]).toEqual({ dtype: 'f32', shape: [1, 1], data: [720] });
    expect(play(18, 'ReduceMin', { noop_with_empty_axes: 1 }, [x])[0]!.data).toEqual([1, 2, 3, 4, 5, 6]);
  });
  it('reductions over no axes, which still do to each element what is no joining', () => {
    const row = float('x', [3], [-2, 1, 4]);
    const alone = (op: string, of = row) => play(18, op, { noop_with_empty_axes: 1 }, [of])[0]!.data;
    for (const op of ['ReduceSum', 'ReduceMean', 'ReduceProd', 'ReduceMax']) expect(alone(op)).toEqual([-2, 1, 4]);
    expect(alone('ReduceSumSquare')).toEqual([4, 1, 16]);
    for (const op of ['ReduceL1', 'ReduceL2']) expect(alone(op)).toEqual([2, 1, 4]);
    expect(alone('ReduceLogSum', float('x', [2], [1, 4]))).toEqual([0, Math.log(4)]);
    expect(alone('ReduceLogSumExp')).toEqual([-2, 1, 4]);
    expect(alone('ReduceL1', tensor('n', 'INT32', [2], [-16777217, 3]))).toEqual([16777217, 3]);
  });
  it('Scatter is ScatterElements', () => {
    const data = float('x', [3], [0, 0, 0]);
    const scatter = [data, tensor('i', 'INT64', [2], [2, 0]), float('u', [2], [5, 7])];
    expect(play(9, 'Scatter', {}, scatter)[0]!.data).toEqual([7, 0, 5]);
  });
});

describe('element types', () => {
  it('integers: exact where there are kernels, through f32 elsewhere', () => {
    const n = tensor('n', 'INT32', [3], [16777217, -1, 3]);
    expect(play(13, 'ReduceSum', { keepdims: 0 }, [n])[0]).toEqual({ dtype: 'i32', shape: [], data: [16777219] });
    expect(play(13, 'ReduceProd', { keepdims: 0 }, [n])[0]!.data).toEqual([-50331651]);
    expect(play(13, 'ReduceMax', { keepdims: 0 }, [n])[0]!.data).toEqual([16777217]);
    const small = tensor('n', 'INT64', [3], [1, -4, 4]);
    expect(play(13, 'ReduceL1', { keepdims: 0 }, [small])[0]).toEqual({ dtype: 'i32', shape: [], data: [9] });
    expect(play(13, 'ReduceSumSquare', { keepdims: 0 }, [small])[0]!.data).toEqual([33]);
    expect(() => play(13, 'MatMul', {}, [n, n])).toThrow(/products of INT32/);
  });
  it('bools: any and all', () => {
    const b = tensor('b', 'BOOL', [2, 2], [1, 0, 1, 1]);
    expect(play(20, 'ReduceMax', { keepdims: 0 }, [b])[0]).toEqual({ dtype: 'bool', shape: [], data: [1] });
    expect(play(20, 'ReduceMin', {}, [b, ints('a', 1)], ['a'])[0]!.data).toEqual([0, 1]);
    expect(play(13, 'Gather', { axis: 1 }, [b, ints('i', -1)])[0]!.data).toEqual([0, 1]);
  });
  it('OneHot takes the type of its values, and indices of floats', () => {
    const indices = float('i', [2], [1, -1]);
    const depth = tensor('d', 'FLOAT', [], [3]);
    const hot = (values: OnnxTensor) => play(11, 'OneHot', {}, [indices, depth, values], ['d', 'v'])[0]!;
    expect(hot(tensor('v', 'INT32', [2], [0, 1])).data).toEqual([0, 1, 0, 0, 0, 1]);
    expect(hot(tensor('v', 'INT64', [2], [7, -2]))).toEqual({
      dtype: 'i32',
      shape: [2, 3],
      data: [7, -2, 7, 7, 7, -2],
    });
    expect(hot(tensor('v', 'BOOL', [2], [1, 0]))).toEqual({ dtype: 'bool', shape: [2, 3], data: [1, 0, 1, 1, 1, 0] });
    const fed = play(11, 'OneHot', { axis: 0 }, [indices, depth, float('v', [2], [0.5, 2])], ['d'])[0]!;
    expect(fed).toEqual({ dtype: 'f32', shape: [3, 2], data: [0.5, 0.5, 2, 0.5, 0.5, 2] });
  });
  it('EyeLike has the type it is told', () => {
    expect(play(9, 'EyeLike', { k: -1, dtype: 6 }, [x])[0]).toEqual({
      dtype: 'i32',
      shape: [2, 3],
      data: [0, 0, 0, 1, 0, 0],
    });
  });
});

describe('reductions of scatters, of version 18', () => {
  it.each([
    ['add', [1, 12, 3]],
    ['mul', [1, 40, 3]],
    ['max', [1, 5, 3]],
    ['min', [1, 2, 3]],
  ])('%s', (reduction, expected) => {
    const data = float('x', [3], [1, 2, 3]);
    const updates = float('u', [2], [5, 4]);
    const places = [tensor('i', 'INT64', [2], [1, -2]), tensor('i', 'INT64', [2, 1], [1, 1])];
    const wanted = reduction === 'add' ? [1, 11, 3] : expected;
    expect(play(18, 'ScatterElements', { reduction }, [data, places[0]!, updates])[0]!.data).toEqual(wanted);
    expect(play(18, 'ScatterND', { reduction }, [data, places[1]!, updates])[0]!.data).toEqual(wanted);
  });
});

describe('products', () => {
  const v = float('v', [3], [1, 0, -1]);
  it('MatMul of vectors', () => {
    expect(play(13, 'MatMul', {}, [x, v])[0]).toEqual({ dtype: 'f32', shape: [2], data: [-2, -2] });
    expect(play(13, 'MatMul', {}, [v, float('w', [3, 2], [1, 2, 3, 4, 5, 6])])[0]).toEqual({
      dtype: 'f32',
      shape: [2],
      data: [-4, -4],
    });
    expect(play(13, 'MatMul', {}, [v, v])[0]).toEqual({ dtype: 'f32', shape: [], data: [2] });
    const batch = float('b', [2, 1, 3], [1, 2, 3, 4, 5, 6]);
    expect(play(13, 'MatMul', {}, [batch, v])[0]).toEqual({ dtype: 'f32', shape: [2, 1], data: [-2, -2] });
  });
  it('Gemm: factors, transposes, and C in all its shapes', () => {
    const w = float('w', [2, 3], [1, 0, 0, 0, 1, 0]);
    const of = (value: number): OnnxAttribute => ({ kind: 'float', value });
    const gemm = (c?: OnnxTensor, attributes = {}) =>
      play(13, 'Gemm', { transB: 1, ...attributes }, [x, w, c])[0]!.data;
    expect(gemm()).toEqual([1, 2, 4, 5]);
    expect(gemm(float('c', [2], [10, 20]), { alpha: of(0.5), beta: of(2) })).toEqual([20.5, 41, 22, 42.5]);
    expect(gemm(float('c', [1, 2], [10, 20]))).toEqual([11, 22, 14, 25]);
    expect(gemm(float('c', [2, 1], [10, 20]))).toEqual([11, 12, 24, 25]);
    expect(gemm(float('c', [], [1]))).toEqual([2, 3, 5, 6]);
    expect(gemm(float('c', [2], [10, 20]), { beta: of(0) })).toEqual([1, 2, 4, 5]);
    expect(play(13, 'Gemm', { transA: 1 }, [x, float('w', [2, 1], [1, 1])])[0]!.data).toEqual([5, 7, 9]);
    expect(() => gemm(float('c', [3, 2], [0, 0, 0, 0, 0, 0]))).toThrow(/does not broadcast/);
  });
});

describe('errors', () => {
  it('name the node, the axis and the shape', () => {
    expect(() => play(13, 'Gather', { axis: 2 }, [x, ints('i', 0)])).toThrow(/axis 2 is out of range for rank 2/);
    expect(() => play(13, 'Reshape', {}, [x, ints('s', 4, -1)], ['s'])).toThrow(
      /\[2, 3\] does not fit the shape \[4, -1\]/,
    );
    expect(() => play(13, 'Split', {}, [x, ints('n', 1, 3)], ['n'], 2)).toThrow(/parts \[1, 3\] do not make up axis 0/);
    expect(() => play(13, 'Squeeze', {}, [x, ints('a', 1)], ['a'])).toThrow(/axis 1 of \[2, 3\] is not of size 1/);
    expect(() =>
      play(16, 'ScatterND', { reduction: 'avg' }, [
        x,
        tensor('i', 'INT64', [1, 1], [0]),
        float('u', [1, 3], [1, 2, 3]),
      ]),
    ).toThrow(/reduction 'avg' is not one of/);
    expect(() => play(10, 'ReverseSequence', {}, [x, ints('l', 1, 2)], ['l'])).toThrow(
      /lengths \[1, 2\] do not fit 3 samples of 2/,
    );
  });
});

it('every batch size gives the same nodes, forward and backward', () => {
  const model: OnnxModel = {
    ...{ irVersion: 8, producer: '', opsets: new Map([['', 18]]), functions: [] },
    graph: {
      name: '',
      nodes: [
        node('Flatten', ['x'], ['flat'], { axis: 1 }),
        node('Gemm', ['flat', 'w', 'c'], ['hidden'], { transB: 1 }),
        node('Shape', ['hidden'], ['sizes']),
        node('Reshape', ['hidden', 'rows'], ['joined']),
        node('Expand', ['row', 'sizes'], ['wide']),
        node('Concat', ['hidden', 'wide'], ['both'], { axis: 1 }),
        node('Unsqueeze', ['both', 'axis'], ['three']),
        node('Squeeze', ['three'], ['two']),
        node('Tile', ['two', 'repeats'], ['tiled']),
        node('Einsum', ['tiled', 'tiled'], ['squares'], { equation: 'bi,bi->b' }),
        node('ReduceLogSumExp', ['joined'], ['lse']),
        node('TopK', ['both', 'k'], ['top', 'places']),
        node('GatherElements', ['both', 'places'], ['again'], { axis: 1 }),
        ...['squares', 'lse', 'top', 'again'].map((name) =>
          node('ReduceSum', [name], [`${name}/sum`], { keepdims: 0 }),
        ),
        node('Einsum', ['squares/sum', 'lse/sum', 'top/sum', 'again/sum'], ['y'], { equation: ',,,->' }),
      ],
      initializers: [
        float(
          'w',
          [4, 6],
          Array.from({ length: 24 }, (_, i) => Math.sin(i)),
        ),
        float('c', [1, 4], [1, 2, 3, 4]),
        float('row', [4], [1, 2, 3, 4]),
        ...[ints('rows', 1, -1), ints('axis', 1), ints('repeats', 1, 2), ints('k', 3)],
      ],
      inputs: [{ name: 'x', dtype: 'FLOAT', shape: ['batch', 2, 3] }],
      outputs: [{ name: 'y', dtype: 'FLOAT', shape: [] }],
      valueInfo: [],
    },
  };
  const importer = prepareImport(model);
  const nodesAt = (batch: number) => {
    const graph = importer.build(batch, 'training');
    const y = graph.outputs.get('y')!;
    const found = gradients([{ tensor: y, cotangent: graph.scalar(1) }], graph.parameters);
    expect(found.every((g) => g !== undefined)).toBe(true);
    return graph.nodes.map((n) => `${n.name} = ${n.op?.name}(${n.inputs.map((t) => t.name)})`);
  };
  expect(nodesAt(1)).toEqual(nodesAt(3));
});
