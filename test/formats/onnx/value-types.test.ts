// A graph has one type of integers, and arithmetic wraps around at the width of the file's: a wrong guess of it truncates.
import { expect, it } from 'vitest';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import type { OnnxDType } from '../../../src/formats/onnx/model.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type Constant, type ModelText, type NodeText, onnxOf } from './build.ts';

/** Output y of nodes, fed x. */
function play(
  dtype: OnnxDType,
  x: readonly number[],
  nodes: readonly NodeText[],
  initializers: readonly Constant[] = [],
  more: ModelText = {},
) {
  const shape = x.length === 4 ? [1, 1, 2, 2] : [x.length];
  const inputs = [{ name: 'x', dtype, shape }];
  const graph = importModel(
    onnxOf({ inputs, outputs: [{ name: 'y', dtype: 'INT64' }], nodes, initializers, ...more }),
    {
      batch: 2,
      batchAxes: { x: null },
    },
  );
  const feeds = graph
    .sources('input')
    .map((input) => [input, { type: input.type, data: Float64Array.from(x) }] as const);
  return [...evaluate([graph.outputs.get('y')!], new Map(feeds))[0]!.data];
}

const int64 = (name: string, ...values: number[]): Constant => ({
  name,
  dtype: 'INT64',
  dims: [values.length],
  values,
});
const scalar = (name: string, value: number): Constant => ({ name, dtype: 'INT64', dims: [], values: [value] });

const late = Array.from({ length: 300 }, (_, i) => (i === 290 ? 5 : 0));
const next: NodeText = { op: 'Add', in: ['c', 'one'], out: ['y'] };
const twice: NodeText = { op: 'Add', in: ['c', 'c'], out: ['y'] };
const thousandfold: NodeText = { op: 'Mul', in: ['c', 'thousand'], out: ['y'] };

it.each<
  [what: string, dtype: OnnxDType, x: readonly number[], nodes: NodeText[], constants: Constant[], y: readonly number[]]
>([
  [
    'CastLike, of its second input',
    'UINT8',
    [3, 200],
    [{ op: 'CastLike', in: ['x', 'thousand'], out: ['c'] }, thousandfold],
    [scalar('thousand', 1000)],
    [3000, 200000],
  ],
  [
    'CastLike to a narrower type',
    'INT32',
    [100, 3],
    [{ op: 'CastLike', in: ['x', 'byte'], out: ['c'] }, twice],
    [{ name: 'byte', dtype: 'INT8', dims: [], values: [0] }],
    [-56, 6],
  ],
  ['ArgMax', 'INT8', late, [{ op: 'ArgMax', in: ['x'], out: ['c'] }, next], [int64('one', 1)], [291]],
  ['ArgMin', 'INT8', late.map((v) => -v), [{ op: 'ArgMin', in: ['x'], out: ['c'] }, next], [int64('one', 1)], [291]],
  ['places of TopK', 'INT8', late, [{ op: 'TopK', in: ['x', 'one'], out: ['v', 'c'] }, next], [int64('one', 1)], [291]],
  [
    'places of MaxPool',
    'UINT8',
    [1, 2, 9, 3],
    [{ op: 'MaxPool', in: ['x'], out: ['v', 'c'], attrs: { kernel_shape: [2, 2] } }, thousandfold],
    [scalar('thousand', 1000)],
    [2000],
  ],
  [
    'OneHot, of its values',
    'UINT8',
    [0, 2],
    [{ op: 'OneHot', in: ['x', 'depth', 'values'], out: ['c'] }, twice],
    [scalar('depth', 3), int64('values', 0, 500)],
    [1000, 0, 0, 0, 0, 1000],
  ],
  [
    'ConstantOfShape in the graph, of its value',
    'UINT8',
    [1],
    [
      {
        op: 'ConstantOfShape',
        in: ['size'],
        out: ['c'],
        attrs: { value: { tensor: { name: '', dtype: 'UINT8', dims: [1], values: [200] } } },
      },
      { op: 'Slice', in: ['c', 'zero', 'one'], out: ['first'] },
      { op: 'Add', in: ['first', 'first'], out: ['y'] },
    ],
    [int64('size', 2 ** 20 + 1), int64('zero', 0), int64('one', 1)],
    [144],
  ],
])('%s', (_, dtype, x, nodes, constants, y) => {
  expect(play(dtype, x, nodes, constants)).toEqual(y);
});

it('Cast in a function, by an attribute of the call', () => {
  const functions = [
    {
      name: 'To',
      domain: 'local',
      in: ['a'],
      out: ['b'],
      attrs: ['type'],
      nodes: [{ op: 'Cast', in: ['a'], out: ['b'], attrs: { to: { ref: 'type' } } }],
    },
  ];
  const nodes: NodeText[] = [{ op: 'To', domain: 'local', in: ['x'], out: ['c'], attrs: { type: 7 } }, thousandfold];
  const constants = [scalar('thousand', 1000)];
  expect(play('UINT8', [3, 200], nodes, constants, { functions, domains: { local: 1 } })).toEqual([3000, 200000]);
});
