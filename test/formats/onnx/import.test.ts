import { describe, expect, it } from 'vitest';
import { PartitaError } from '../../../src/core/errors.ts';
import { importModel, prepareImport } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import type { Graph } from '../../../src/graph/graph.ts';
import { type ModelText, type NodeText, onnxOf } from './build.ts';

const batch = { name: 'x', shape: ['batch', 4] } as const;

function failure(action: () => unknown): PartitaError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(PartitaError);
    return error as PartitaError;
  }
  throw new Error('expected an error');
}

/** A model of x [batch, 4] to y. */
const chain = (nodes: readonly NodeText[], more: ModelText = {}): ModelText => ({
  inputs: [batch],
  outputs: [{ name: 'y' }],
  nodes,
  ...more,
});

const graphOf = (text: ModelText, options: Parameters<typeof importModel>[1] = { batch: 3 }): Graph =>
  importModel(onnxOf(text), options);

/** The value of output y that does not depend on x. */
const constantY = (text: ModelText): { shape: readonly number[]; values: number[] } => {
  const graph = graphOf(text);
  const [y] = evaluate([graph.outputs.get('y')!], new Map());
  return { shape: y!.type.shape, values: [...y!.data] };
};

const int64 = (name: string, values: readonly number[], dims: readonly number[] = [values.length]) =>
  ({ name, dtype: 'INT64', dims, values }) as const;

describe('names', () => {
  it('nodes keep theirs, unnamed ones that of their first output; values are labels', () => {
    const graph = graphOf(
      chain(
        [
          { op: 'Relu', name: '/act/Relu', in: ['x'], out: ['h'] },
          { op: 'Tanh', in: ['h'], out: ['/t.0'] },
          { op: 'Gemm', name: 'fc', in: ['/t.0', 'w', 'b'], out: ['y'], attrs: { transB: 1 } },
        ],
        {
          initializers: [
            { name: 'w', dims: [2, 4], values: [1, 2, 3, 4, 5, 6, 7, 8] },
            { name: 'b', dims: [2], values: [0, 1] },
          ],
        },
      ),
    );
    expect(graph.has('/act/Relu')).toBe(true);
    expect(graph.has('/t.0')).toBe(true);
    expect(graph.labels.get('h')).toBe(graph.node('/act/Relu').outputs[0]);
    // Several nodes of one operator: the one that makes the value has the name, the others stand below it.
    expect(graph.outputs.get('y')!.node.name).toBe('fc');
    expect(graph.nodes.filter((n) => n.name.startsWith('fc.')).length).toBeGreaterThan(0);
    expect(graph.parameters.map((p) => p.name)).toEqual(['w', 'b']);
  });

  it('two nodes of one name are told apart, and a node may be called as a parameter', () => {
    const graph = graphOf(
      chain(
        [
          { op: 'Relu', name: 'w', in: ['x'], out: ['a'] },
          { op: 'Tanh', name: 'w', in: ['a'], out: ['b'] },
          { op: 'Mul', name: 'm', in: ['b', 'w'], out: ['y'] },
        ],
        { initializers: [{ name: 'w', dims: [4], values: [1, 1, 1, 1] }] },
      ),
    );
    expect(graph.parameters[0]!.name).toBe('w');
    expect(graph.labels.get('a')!.node.name).toBe('w_1');
    expect(graph.labels.get('b')!.node.name).toBe('w_2');
  });
});

describe('initialisers', () => {
  const text: ModelText = chain(
    [
      { op: 'Mul', in: ['x', 'a.b/c'], out: ['h'] },
      { op: 'Add', in: ['h', 'a.b/c'], out: ['y'] },
    ],
    {
      ir: 3,
      inputs: [batch, { name: 'a.b/c', shape: [4] }],
      initializers: [
        { name: 'a.b/c', dims: [4], values: [1, 2, 3, 4] },
        { name: 'unused', dtype: 'DOUBLE', dims: [2], values: [0.1, 1] },
        { name: 'half', dtype: 'FLOAT16', dims: [1], values: [0x3e00] },
        int64('shape', [2, 2]),
      ],
    },
  );

  it('floats are parameters of their exact names, used or not; tied weights are one; listed as inputs they are no inputs', () => {
    const graph = graphOf(text, { batch: 3, frozen: ['half', 'shape'] });
    expect(graph.parameters.map((p) => p.name)).toEqual(['a.b/c', 'unused', 'half']);
    expect(graph.parameters.map((p) => p.node.source!.frozen ?? false)).toEqual([false, false, true]);
    expect(graph.sources('input').map((t) => t.name)).toEqual(['x']);
    expect(graph.node('unused').source!.init).toEqual({ kind: 'data', data: Float32Array.of(0.1, 1) });
  });

  it('a frozen name that is none is refused with the nearest', () => {
    expect(failure(() => graphOf(text, { batch: 3, frozen: ['unusd'] }))).toMatchObject({
      code: 'unknown-parameter',
      fields: { nearest: 'unused' },
    });
  });

  it('running statistics are buffers, through Identity and functions too', () => {
    const bn = (mean: string, variance: string, input: string, out: string, domain = ''): NodeText => ({
      op: domain ? 'Norm' : 'BatchNormalization',
      domain,
      in: [input, 'g', 'g', mean, variance],
      out: [out],
    });
    const graph = graphOf({
      inputs: [batch],
      outputs: [{ name: 'y' }],
      domains: { local: 1 },
      initializers: ['g', 'm', 'v', 'm2', 'v2'].map((name) => ({ name, dims: [4], values: [1, 1, 1, 1] })),
      nodes: [
        { op: 'Identity', in: ['m'], out: ['shared'] },
        bn('shared', 'v', 'x', 'h'),
        bn('m2', 'v2', 'h', 'y', 'local'),
      ],
      functions: [
        {
          name: 'Norm',
          domain: 'local',
          in: ['i', 's', 't', 'mean', 'variance'],
          out: ['o'],
          nodes: [{ op: 'BatchNormalization', in: ['i', 's', 't', 'mean', 'variance'], out: ['o'] }],
        },
      ],
    });
    expect(graph.parameters.map((p) => p.name)).toEqual(['g']);
    expect(graph.sources('buffer').map((b) => b.name)).toEqual(['m', 'v', 'm2', 'v2']);
  });
});

describe('order', () => {
  it('nodes may stand in any order', () => {
    const graph = graphOf(
      chain([
        { op: 'Tanh', in: ['h'], out: ['y'] },
        { op: 'Relu', in: ['x'], out: ['h'] },
      ]),
    );
    expect(graph.nodes.map((n) => n.op?.name).filter(Boolean)).toEqual(['relu', 'tanh']);
  });

  it.each([
    [
      'a cycle',
      [
        { op: 'Add', name: 'a', in: ['x', 'q'], out: ['p'] },
        { op: 'Relu', name: 'b', in: ['p'], out: ['q'] },
        { op: 'Relu', in: ['q'], out: ['y'] },
      ],
      'onnx-cycle',
      'Relu "b" → Add "a" → Relu "b"',
    ],
    [
      'a value nobody makes',
      [{ op: 'Relu', name: 'r', in: ['nope'], out: ['y'] }],
      'onnx-missing-value',
      'Relu "r" reads "nope"',
    ],
    [
      'a value made twice',
      [
        { op: 'Relu', in: ['x'], out: ['y'] },
        { op: 'Tanh', name: 't', in: ['x'], out: ['y'] },
      ],
      'onnx-duplicate-value',
      '"y" is made twice',
    ],
    [
      'a value that is an input',
      [
        { op: 'Relu', in: ['x'], out: ['x'] },
        { op: 'Relu', in: ['x'], out: ['y'] },
      ],
      'onnx-duplicate-value',
      'an input or initialiser',
    ],
    ['an output nobody makes', [{ op: 'Relu', in: ['x'], out: ['z'] }], 'onnx-missing-value', 'the outputs list "y"'],
  ] as const)('refuses %s', (_, nodes, code, text) => {
    const error = failure(() => graphOf(chain(nodes)));
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
  });
});

describe('what is not supported', () => {
  it('is told for all nodes at once, with what needs them left out', () => {
    const error = failure(() =>
      graphOf(
        chain([
          { op: 'NonMaxSuppression', name: 'nms', in: ['x'], out: ['a'] },
          { op: 'Relu', in: ['a'], out: ['b'] },
          { op: 'Thing', domain: 'com.acme', name: 'thing', in: ['x'], out: ['c'] },
          { op: 'Add', in: ['b', 'c'], out: ['y'] },
        ]),
      ),
    );
    expect(error).toMatchObject({
      code: 'onnx-unsupported',
      fields: {
        nodes: [
          { node: 'nms', op: 'NonMaxSuppression' },
          { node: 'thing', op: 'Thing' },
        ],
      },
    });
  });

  it('does not matter where nobody needs it', () => {
    const graph = graphOf(
      chain([
        { op: 'NonMaxSuppression', in: ['x'], out: ['a'] },
        { op: 'Relu', in: ['x'], out: ['y'] },
      ]),
    );
    expect([...graph.outputs.keys()]).toEqual(['y']);
  });

  it('versions of the operators beyond those known are refused', () => {
    expect(failure(() => graphOf(chain([{ op: 'Relu', in: ['x'], out: ['y'] }], { opset: 99 })))).toMatchObject({
      code: 'onnx-opset',
    });
  });

  it('a type rule that fails names the node', () => {
    const error = failure(() =>
      graphOf(
        chain([{ op: 'Add', name: 'sum', in: ['x', 'w'], out: ['y'] }], {
          initializers: [{ name: 'w', dims: [3], values: [1, 2, 3] }],
        }),
      ),
    );
    expect(error).toMatchObject({ code: 'onnx-node', fields: { node: 'sum', op: 'Add' } });
  });
});

describe('values known at import', () => {
  it('the arithmetic of shapes leaves a constant', () => {
    const text = chain(
      [
        { op: 'Shape', in: ['x'], out: ['s'] },
        { op: 'Gather', in: ['s', 'zero'], out: ['b'] },
        { op: 'Unsqueeze', in: ['b', 'axis0'], out: ['b1'] },
        { op: 'Concat', in: ['b1', 'two'], out: ['shape'], attrs: { axis: 0 } },
        { op: 'Reshape', in: ['x', 'shape'], out: ['y'] },
      ],
      {
        initializers: [int64('zero', [0], []), int64('axis0', [0]), int64('two', [2, 2])],
      },
    );
    expect(graphOf(text, { batch: 5 }).outputs.get('y')!.shape).toEqual([5, 2, 2]);
    expect(
      graphOf(text, { batch: 5 })
        .nodes.filter((n) => n.op)
        .map((n) => n.op!.name),
    ).toEqual(['reshape']);
  });

  const initializers = [
    int64('a', [-7, 7, -7, 7]),
    int64('b', [2, 2, -2, -2]),
    int64('c', [2, -2, 2, 2]),
    int64('one', [1]),
    int64('end', [Number.MAX_SAFE_INTEGER]),
    int64('zero', [0]),
    int64('last', [-1]),
    int64('begin', [-Number.MAX_SAFE_INTEGER]),
    int64('s0', [0], []),
    int64('s1', [1], []),
    int64('s4', [4], []),
    int64('column', [2, 1]),
    int64('at', [2], [1, 1]),
    int64('sparse', [0, 3, 0, 1]),
    int64('offOn', [0, 5]),
    int64('parts', [1, 3]),
  ];

  const cases: readonly (readonly [string, readonly NodeText[], readonly number[], readonly number[]])[] = [
    ['Div of integers truncates', [{ op: 'Div', in: ['a', 'b'], out: ['y'] }], [4], [-3, 3, 3, -3]],
    ['Mod has the sign of the divisor', [{ op: 'Mod', in: ['a', 'b'], out: ['y'] }], [4], [1, 1, -1, -1]],
    [
      'Mod with fmod has the sign of the dividend',
      [{ op: 'Mod', in: ['a', 'b'], out: ['y'], attrs: { fmod: 1 } }],
      [4],
      [-1, 1, -1, 1],
    ],
    ['Slice to the end of all integers', [{ op: 'Slice', in: ['a', 'one', 'end'], out: ['y'] }], [3], [7, -7, 7]],
    ['Slice backwards', [{ op: 'Slice', in: ['a', 'last', 'begin', 'zero', 'last'], out: ['y'] }], [4], [7, -7, 7, -7]],
    [
      'an empty Slice joins with others',
      [
        { op: 'Slice', in: ['a', 'zero', 'zero'], out: ['e'] },
        { op: 'Concat', in: ['e', 'one'], out: ['y'], attrs: { axis: 0 } },
      ],
      [1],
      [1],
    ],
    [
      'Greater, Where and Expand',
      [
        { op: 'Greater', in: ['a', 'zero'], out: ['c1'] },
        { op: 'Where', in: ['c1', 'a', 'zero'], out: ['w'] },
        { op: 'Expand', in: ['w', 'column'], out: ['y'] },
      ],
      [2, 4],
      [0, 7, 0, 7, 0, 7, 0, 7],
    ],
    ['ReduceProd', [{ op: 'ReduceProd', in: ['c'], out: ['y'], attrs: { keepdims: 0 } }], [], [-16]],
    ['ScatterND', [{ op: 'ScatterND', in: ['a', 'at', 'one'], out: ['y'] }], [4], [-7, 7, 1, 7]],
    [
      'ScatterND that adds, and leaves what it adds to',
      [
        { op: 'ScatterND', in: ['a', 'at', 'one'], out: ['s'], attrs: { reduction: 'add' } },
        { op: 'Sub', in: ['s', 'a'], out: ['y'] },
      ],
      [4],
      [0, 0, 1, 0],
    ],
    [
      'NonZero',
      [
        { op: 'NonZero', in: ['sparse'], out: ['n'] },
        { op: 'Squeeze', in: ['n', 'zero'], out: ['y'] },
      ],
      [2],
      [1, 3],
    ],
    ['CumSum', [{ op: 'CumSum', in: ['c', 's0'], out: ['y'], attrs: { exclusive: 1 } }], [4], [0, 2, 0, 2]],
    ['TopK', [{ op: 'TopK', in: ['a', 'one'], out: ['', 'y'] }], [1], [1]],
    ['OneHot', [{ op: 'OneHot', in: ['one', 's4', 'offOn'], out: ['y'] }], [1, 4], [0, 5, 0, 0]],
    ['Split', [{ op: 'Split', in: ['a', 'parts'], out: ['', 'y'], attrs: { axis: 0 } }], [3], [7, -7, 7]],
  ];
  it.each(cases)('%s', (_, nodes, shape, values) => {
    expect(constantY({ inputs: [batch], outputs: [{ name: 'y', dtype: 'INT64' }], nodes, initializers })).toEqual({
      shape,
      values,
    });
  });

  it('floats are rounded to f32 at every step', () => {
    const nodes = [
      { op: 'Range', in: ['s0', 's4', 's1'], out: ['r'] },
      { op: 'Cast', in: ['r'], out: ['f'], attrs: { to: 1 } },
      { op: 'Sqrt', in: ['f'], out: ['y'] },
    ];
    expect(constantY(chain(nodes, { initializers })).values).toEqual(
      [0, 1, 2, 3].map((v) => Math.fround(Math.sqrt(v))),
    );
  });

  it.each([
    ['more places than x has axes', 'a', 'deep', 'one', 'indices [1, 2] for [4] with batch_dims 0'],
    ['updates of another shape', 'a', 'at', 'a', 'updates are [4], and [1] belongs there'],
  ])('ScatterND refuses %s', (_, x, at, updates, message) => {
    const nodes = [{ op: 'ScatterND', in: [x, at, updates], out: ['y'] }];
    const more = [...initializers, int64('deep', [0, 0], [1, 2])];
    expect(failure(() => constantY(chain(nodes, { initializers: more }))).message).toContain(message);
  });

  it('division by zero names the node', () => {
    const error = failure(() =>
      constantY(chain([{ op: 'Div', name: 'd', in: ['a', 'zero'], out: ['y'] }], { initializers })),
    );
    expect(error.message).toContain('Div "d": an integer is divided by 0');
  });

  it('a constant of a gigabyte is no value of the host', () => {
    const text = chain(
      [
        { op: 'ConstantOfShape', in: ['big'], out: ['c'] },
        { op: 'ReduceSum', in: ['c'], out: ['s'], attrs: { keepdims: 0 } },
        { op: 'Add', in: ['x', 's'], out: ['y'] },
      ],
      { initializers: [int64('big', [2 ** 28])] },
    );
    const graph = graphOf(text);
    expect(graph.outputs.get('y')!.shape).toEqual([3, 4]);
    expect(graph.sources('constant').every((c) => c.node.source!.value!.length < 100)).toBe(true);
  });
});

describe('If and functions', () => {
  const branches = (condition: number): ModelText =>
    chain(
      [
        {
          op: 'If',
          name: 'choose',
          in: ['c'],
          out: ['y'],
          attrs: {
            then_branch: { graph: { nodes: [{ op: 'Relu', in: ['x'], out: ['t'] }], outputs: [{ name: 't' }] } },
            else_branch: {
              graph: { nodes: [{ op: 'NoSuchOperator', in: ['x'], out: ['e'] }], outputs: [{ name: 'e' }] },
            },
          },
        },
      ],
      { initializers: [{ name: 'c', dtype: 'BOOL', dims: [], values: [condition] }] },
    );

  it('branches of two nodes may have initialisers of one name: the second is named after its node, and can be frozen', () => {
    const scaled = (x: string, name: string, out: string, value: number): NodeText => ({
      op: 'If',
      name,
      in: ['c'],
      out: [out],
      attrs: {
        then_branch: {
          graph: {
            nodes: [{ op: 'Mul', in: [x, 'w'], out: ['o'] }],
            outputs: [{ name: 'o' }],
            initializers: [{ name: 'w', dims: [1], values: [value] }],
          },
        },
        else_branch: { graph: { nodes: [{ op: 'Relu', in: [x], out: ['e'] }], outputs: [{ name: 'e' }] } },
      },
    });
    const model = chain([scaled('x', 'first', 'h', 2), scaled('h', 'second', 'y', 3)], {
      initializers: [{ name: 'c', dtype: 'BOOL', dims: [], values: [1] }],
    });
    const graph = graphOf(model, { batch: 3, frozen: ['second/w'] });
    expect(graph.parameters.map((p) => [p.name, p.node.source!.frozen ?? false])).toEqual([
      ['w', false],
      ['second/w', true],
    ]);
  });

  it('a branch of a known condition takes the node’s place and sees the values around it', () => {
    expect(graphOf(branches(1)).outputs.get('y')!.node.op!.name).toBe('relu');
    expect(failure(() => graphOf(branches(0))).message).toContain('NoSuchOperator');
  });

  it('a computed condition is not supported, by node', () => {
    const text = branches(1);
    const error = failure(() =>
      graphOf({
        ...text,
        initializers: [],
        nodes: [
          { op: 'ReduceMax', in: ['x'], out: ['m'], attrs: { keepdims: 0 } },
          { op: 'Cast', in: ['m'], out: ['c'], attrs: { to: 9 } },
          ...text.nodes!,
        ],
      }),
    );
    expect(error).toMatchObject({ code: 'onnx-unsupported', fields: { nodes: [{ node: 'choose', op: 'If' }] } });
  });

  const call = (functions: ModelText['functions'], attrs: NodeText['attrs'] = {}): ModelText =>
    chain([{ op: 'F', domain: 'local', name: 'call', in: ['x'], out: ['y'], attrs }], {
      domains: { local: 1 },
      functions,
    });

  it('functions are written out with names below the call; attributes are referred to', () => {
    const graph = graphOf(
      call(
        [
          {
            name: 'F',
            domain: 'local',
            in: ['a', 'left_out'],
            out: ['b'],
            attrs: ['slope'],
            nodes: [
              { op: 'LeakyRelu', name: 'inner', in: ['a'], out: ['h'], attrs: { alpha: { ref: 'slope' } } },
              { op: 'Clip', in: ['h', 'left_out'], out: ['b'] },
            ],
          },
        ],
        { slope: { float: 0.5 } },
      ),
    );
    expect(graph.node('call/inner').attrs).toMatchObject({ slope: 0.5 });
    expect(graph.labels.get('call/h')).toBe(graph.node('call/inner').outputs[0]);
  });

  it('functions that call each other in a circle are refused', () => {
    const text = call([
      {
        name: 'F',
        domain: 'local',
        in: ['a'],
        out: ['b'],
        nodes: [{ op: 'G', domain: 'local', in: ['a'], out: ['b'] }],
      },
      {
        name: 'G',
        domain: 'local',
        in: ['a'],
        out: ['b'],
        nodes: [{ op: 'F', domain: 'local', in: ['a'], out: ['b'] }],
      },
    ]);
    expect(failure(() => graphOf(text)).message).toContain('local.F → local.G → local.F');
  });

  it('functions that double with every level are refused in time', () => {
    const functions = Array.from({ length: 40 }, (_, i) => ({
      name: i === 0 ? 'F' : `F${i}`,
      domain: 'local',
      in: ['a'],
      out: ['c'],
      nodes:
        i === 39
          ? [{ op: 'Relu', in: ['a'], out: ['c'] }]
          : [
              { op: `F${i + 1}`, domain: 'local', in: ['a'], out: ['b'] },
              { op: `F${i + 1}`, domain: 'local', in: ['b'], out: ['c'] },
            ],
    }));
    expect(failure(() => graphOf(call(functions))).code).toBe('onnx-too-large');
  });

  it('a missing attribute of a function is told', () => {
    const f = {
      name: 'F',
      domain: 'local',
      in: ['a'],
      out: ['a2'],
      attrs: ['k'],
      nodes: [{ op: 'Relu', in: ['a'], out: ['a2'] }],
    };
    expect(failure(() => graphOf(call([f]))).message).toContain('takes an attribute k');
  });
});

describe('sizes', () => {
  it('a symbol named batch marks its axis, others have sizes given', () => {
    const text: ModelText = {
      inputs: [{ name: 'x', shape: ['seq', 'batch', 3] }],
      outputs: [{ name: 'y', shape: ['seq', 'batch', 3] }],
      nodes: [{ op: 'Relu', in: ['x'], out: ['y'] }],
    };
    const graph = graphOf(text, { batch: 5, dims: { seq: 7 } });
    expect(graph.outputs.get('y')!.shape).toEqual([7, 5, 3]);
    expect(graph.batchAxisOf('y')).toBe(1);
    expect(failure(() => graphOf(text, { batch: 5 }))).toMatchObject({ code: 'onnx-dim', fields: { symbol: 'seq' } });
    expect(failure(() => graphOf(text, { batch: 5, dims: { seq: 7 }, batchAxes: { x: 0 } })).code).toBe('batch-axis');
  });

  it('a file with fixed sizes is built for other batches; the batch is found behind Transpose and Reshape', () => {
    const text: ModelText = {
      inputs: [{ name: 'x', shape: [4, 6] }],
      outputs: [
        { name: 'y', shape: [3, 4, 2] },
        { name: 'flat', shape: [8, 3] },
      ],
      initializers: [int64('split', [-1, 3, 2]), int64('join', [-1, 3])],
      nodes: [
        { op: 'Reshape', in: ['x', 'split'], out: ['r'] },
        { op: 'Transpose', in: ['r'], out: ['y'], attrs: { perm: [1, 0, 2] } },
        { op: 'Reshape', in: ['x', 'join'], out: ['flat'] },
      ],
    };
    const graph = graphOf(text, { batch: 5 });
    expect(graph.outputs.get('y')!.shape).toEqual([3, 5, 2]);
    expect(graph.batchAxisOf('y')).toBe(1);
    expect(graph.outputs.get('flat')!.shape).toEqual([10, 3]);
    expect(graph.batchAxisOf('flat')).toBe(0);
  });

  const reshapeTo = (shape: readonly number[]): ModelText => ({
    inputs: [{ name: 'x', shape: [4, 8] }],
    outputs: [{ name: 'y' }],
    initializers: [int64('shape', shape)],
    nodes: [{ op: 'Reshape', name: 'fix', in: ['x', 'shape'], out: ['y'] }],
  });

  it.each([
    ['all sizes', [4, 2, 4]],
    ['the batch, and −1 elsewhere, which fits any batch', [4, -1]],
  ])('a batch size baked into a Reshape names the node: %s', (_, shape) => {
    const importer = prepareImport(onnxOf(reshapeTo(shape)));
    expect(importer.build(4).outputs.get('y')!.shape[0]).toBe(4);
    expect(failure(() => importer.build(2))).toMatchObject({
      code: 'onnx-batch-size',
      fields: { node: 'fix', fileBatch: 4 },
    });
  });

  it('samples interleaved by a Reshape have no batch axis, until they are apart again', () => {
    const graph = graphOf(
      {
        inputs: [{ name: 'x', shape: [3, 'batch', 2] }],
        outputs: [{ name: 'mixed' }, { name: 'y' }],
        initializers: [int64('join', [-1, 2]), int64('part', [3, -1, 2])],
        nodes: [
          { op: 'Reshape', in: ['x', 'join'], out: ['mixed'] },
          { op: 'Relu', in: ['mixed'], out: ['r'] },
          { op: 'Reshape', in: ['r', 'part'], out: ['y'] },
        ],
      },
      { batch: 4 },
    );
    expect(graph.batchAxisOf('mixed')).toBeNull();
    expect(graph.batchAxisOf('y')).toBe(1);
  });

  it('inputs of different batches ask for their axes', () => {
    const text: ModelText = {
      inputs: [
        { name: 'x', shape: [4, 2] },
        { name: 'table', shape: [7, 2] },
      ],
      outputs: [{ name: 'y' }],
      initializers: [int64('zero', [0])],
      nodes: [
        { op: 'Gather', in: ['table', 'zero'], out: ['t'] },
        { op: 'Add', in: ['x', 't'], out: ['y'] },
      ],
    };
    expect(failure(() => graphOf(text))).toMatchObject({ code: 'batch-axis', fields: { sizes: [4, 7] } });
    expect(graphOf(text, { batch: 3, batchAxes: { table: null } }).outputs.get('y')!.shape).toEqual([3, 2]);
  });

  it('shapes and types that the file states are compared with ours', () => {
    const stated = (info: ModelText['valueInfo']): ModelText =>
      chain(
        [
          { op: 'Relu', name: 'r', in: ['x'], out: ['h'] },
          { op: 'Relu', in: ['h'], out: ['y'] },
        ],
        { valueInfo: info },
      );
    expect(failure(() => graphOf(stated([{ name: 'h', shape: ['batch', 5] }])))).toMatchObject({
      code: 'onnx-shape',
      fields: { value: 'h', shape: [2, 4], stated: ['batch', 5] },
    });
    expect(failure(() => graphOf(stated([{ name: 'h', dtype: 'BOOL', shape: ['batch', 4] }]))).code).toBe('onnx-node');
    expect(failure(() => graphOf(stated([{ name: 'h', shape: ['batch', 'batch'] }]))).code).toBe('onnx-symbol');
    expect(graphOf(stated([{ name: 'h', shape: ['batch', 'anything'] }])).outputs.size).toBe(1);
  });

  it('a microbatch of one builds the same nodes', () => {
    const text = chain(
      [
        { op: 'Gemm', name: 'g', in: ['x', 'w'], out: ['h'] },
        { op: 'Softmax', in: ['h'], out: ['y'] },
      ],
      {
        initializers: [{ name: 'w', dims: [4, 2], values: [1, 2, 3, 4, 5, 6, 7, 8] }],
      },
    );
    const importer = prepareImport(onnxOf(text));
    const names = (n: number) => importer.build(n).nodes.map((node) => node.name);
    expect(names(1)).toEqual(names(5));
  });
});

describe('Gradient (ai.onnx.preview.training)', () => {
  it('is dy/dx, and can be differentiated again', () => {
    const graph = graphOf({
      inputs: [{ name: 'x', shape: [] }],
      outputs: [{ name: 'd2' }],
      domains: { 'ai.onnx.preview.training': 1 },
      nodes: [
        { op: 'Mul', in: ['x', 'x'], out: ['x2'] },
        { op: 'Mul', in: ['x2', 'x'], out: ['x3'] },
        { op: 'Gradient', domain: 'ai.onnx.preview.training', in: ['x'], out: ['d1'], attrs: { xs: ['x'], y: 'x3' } },
        { op: 'Gradient', domain: 'ai.onnx.preview.training', in: ['x'], out: ['d2'], attrs: { xs: ['x'], y: 'd1' } },
      ],
    });
    const x = graph.sources('input')[0]!;
    const [d2] = evaluate([graph.outputs.get('d2')!], new Map([[x, { type: x.type, data: Float64Array.of(5) }]]));
    expect([...d2!.data]).toEqual([30]);
  });
});
