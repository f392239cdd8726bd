/** Small models with the parts of the format that exported networks seldom have. */
import type { ModelText } from '../onnx/build.ts';

const x = { name: 'x', shape: ['batch', 6] } as const;

export const samples: readonly ModelText[] = [
  // Functions that call functions, with a reference to an attribute of the call.
  {
    inputs: [x],
    outputs: [{ name: 'y', shape: ['batch', 6] }],
    domains: { local: 1 },
    initializers: [{ name: 'w', dims: [6], values: [1, 2, 3, 4, 5, 6] }],
    nodes: [
      { op: 'Twice', domain: 'local', name: 'call', in: ['x', 'w'], out: ['y'], attrs: { slope: { float: 0.1 } } },
    ],
    functions: [
      {
        name: 'Twice',
        domain: 'local',
        in: ['a', 'b'],
        out: ['d'],
        attrs: ['slope'],
        nodes: [
          { op: 'Once', domain: 'local', in: ['a', 'b'], out: ['c'] },
          { op: 'Once', domain: 'local', in: ['c', 'b'], out: ['e'] },
          { op: 'LeakyRelu', in: ['e'], out: ['d'], attrs: { alpha: { ref: 'slope' } } },
        ],
      },
      { name: 'Once', domain: 'local', in: ['p', 'q'], out: ['r'], nodes: [{ op: 'Mul', in: ['p', 'q'], out: ['r'] }] },
    ],
  },
  // A condition known at import, its branches using values from around.
  {
    inputs: [x],
    outputs: [{ name: 'y', shape: ['batch', 6] }],
    initializers: [
      { name: 'yes', dtype: 'BOOL', dims: [], values: [1] },
      { name: 'w', dims: [6], values: [1, 1, 1, 1, 1, 1] },
    ],
    nodes: [
      {
        op: 'If',
        name: 'branch',
        in: ['yes'],
        out: ['y'],
        attrs: {
          then_branch: { graph: { nodes: [{ op: 'Mul', in: ['x', 'w'], out: ['t'] }], outputs: [{ name: 't' }] } },
          else_branch: { graph: { nodes: [{ op: 'Neg', in: ['x'], out: ['e'] }], outputs: [{ name: 'e' }] } },
        },
      },
    ],
  },
  // Arithmetic of shapes as exporters write it.
  {
    inputs: [x],
    outputs: [{ name: 'y', shape: ['batch', 3, 2] }],
    valueInfo: [{ name: 's', dtype: 'INT64', shape: [2] }],
    nodes: [
      { op: 'Shape', in: ['x'], out: ['s'] },
      {
        op: 'Constant',
        out: ['zero'],
        attrs: { value: { tensor: { name: '', dtype: 'INT64', dims: [1], values: [0] } } },
      },
      { op: 'Gather', in: ['s', 'zero'], out: ['b'], attrs: { axis: 0 } },
      { op: 'Constant', out: ['rest'], attrs: { value_ints: [3, 2] } },
      { op: 'Concat', in: ['b', 'rest'], out: ['shape'], attrs: { axis: 0 } },
      { op: 'Reshape', in: ['x', 'shape'], out: ['r'] },
      { op: 'ConstantOfShape', in: ['shape'], out: ['fill'] },
      { op: 'Add', in: ['r', 'fill'], out: ['y'] },
    ],
  },
  // Every element type that a constant can have.
  {
    inputs: [x],
    outputs: [{ name: 'y' }],
    initializers: (
      [
        'INT8',
        'UINT8',
        'INT16',
        'UINT16',
        'INT32',
        'INT64',
        'UINT32',
        'UINT64',
        'BOOL',
        'FLOAT16',
        'BFLOAT16',
        'DOUBLE',
      ] as const
    ).map((dtype) => ({ name: dtype, dtype, dims: [2], values: [0, 1] })),
    nodes: [
      { op: 'Slice', in: ['x', 'INT64', 'INT32', 'INT64'], out: ['part'] },
      { op: 'Cast', in: ['INT8'], out: ['c'], attrs: { to: 1 } },
      { op: 'Tile', in: ['DOUBLE', 'INT64'], out: ['t'] },
      { op: 'ReduceSum', in: ['x'], out: ['y'], attrs: { keepdims: 0 } },
    ],
  },
];
