// Loops of known length, and files that state a symbolic batch and hold the size that they were traced with.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { importModel, prepareImport } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import type { Graph, Tensor } from '../../../src/graph/graph.ts';
import type { RefTensor } from '../../../src/graph/op-record.ts';
import { sum } from '../../../src/ops/reduce.ts';
import { type GraphText, type ModelText, onnxOf } from './build.ts';

/** Values of inputs and parameters by name, for `evaluate`. */
const feedsOf = (graph: Graph, values: Readonly<Record<string, readonly number[]>>): Map<Tensor, RefTensor> =>
  new Map(
    [...graph.sources('input'), ...graph.sources('parameter')].map((t) => [
      t,
      { type: t.type, data: Float64Array.from(values[t.node.source!.name]!) },
    ]),
  );

/** h ← h·w + x while the next turn's number is below `until`; collects h + turn. */
const body = (until: number): GraphText => ({
  inputs: [
    { name: 'turn', dtype: 'INT64', shape: [] },
    { name: 'go', dtype: 'BOOL', shape: [] },
    { name: 'h', shape: [null, 2] },
  ],
  initializers: [
    { name: 'w', dims: [2], values: [2, -1] },
    { name: 'until', dtype: 'INT64', dims: [], values: [until] },
  ],
  nodes: [
    { op: 'Mul', in: ['h', 'w'], out: ['hw'] },
    { op: 'Add', in: ['hw', 'x'], out: ['next'] },
    { op: 'Cast', in: ['turn'], out: ['number'], attrs: { to: 1 } },
    { op: 'Add', in: ['next', 'number'], out: ['slice'] },
    { op: 'Constant', out: ['one'], attrs: { value: { tensor: { name: '', dtype: 'INT64', dims: [], values: [1] } } } },
    { op: 'Add', in: ['turn', 'one'], out: ['following'] },
    { op: 'Less', in: ['following', 'until'], out: ['still'] },
  ],
  outputs: [{ name: 'still', dtype: 'BOOL' }, { name: 'next' }, { name: 'slice' }],
});

const loop = (until: number, turns: number, more: Partial<ModelText> = {}): ModelText => ({
  inputs: [{ name: 'x', shape: ['batch', 2] }],
  initializers: [
    { name: 'turns', dtype: 'INT64', dims: [], values: [turns] },
    { name: 'begin', dtype: 'BOOL', dims: [], values: [1] },
  ],
  nodes: [
    {
      op: 'Loop',
      name: 'loop',
      in: ['turns', 'begin', 'x'],
      out: ['last', 'all'],
      attrs: { body: { graph: body(until) } },
    },
  ],
  outputs: [{ name: 'last' }, { name: 'all' }],
  ...more,
});

describe('Loop', () => {
  // x = (1, 3): h = (3, 0), (7, 3), (15, 0); slices add the turn's number.
  it('runs its body once a turn, carries, collects along a new axis, and trains one weight of the body', () => {
    const graph = importModel(onnxOf(loop(100, 3)), { batch: 1 });
    expect(graph.sources('parameter').map((t) => t.name)).toEqual(['w']);
    const feeds = feedsOf(graph, { x: [1, 3], w: [2, -1] });
    const [last, all] = [graph.outputs.get('last')!, graph.outputs.get('all')!];
    const values = evaluate([last, all], feeds);
    expect(values.map(({ type, data }) => [type.shape, [...data]])).toEqual([
      [
        [1, 2],
        [15, 0],
      ],
      [
        [3, 1, 2],
        [3, 0, 8, 4, 17, 2],
      ],
    ]);
    // h₃ = x·(w³ + w² + w + 1), so that ∂h₃/∂w = x·(3w² + 2w + 1).
    const [dw] = gradients([{ tensor: sum(last), cotangent: graph.scalar(1) }], graph.sources('parameter'));
    expect([...evaluate([dw!], feeds)[0]!.data]).toEqual([17, 6]);
  });

  it('ends where its condition says so', () => {
    const graph = importModel(onnxOf(loop(2, 9)), { batch: 1 });
    const feeds = feedsOf(graph, { x: [1, 3], w: [2, -1] });
    expect([...evaluate([graph.outputs.get('all')!], feeds)[0]!.data]).toEqual([3, 0, 8, 4]);
  });

  it('is refused where the number of turns depends on data', () => {
    const text = loop(3, 3, {
      inputs: [
        { name: 'x', shape: ['batch', 2] },
        { name: 'turns', dtype: 'INT64', shape: [1] },
      ],
      initializers: [{ name: 'begin', dtype: 'BOOL', dims: [], values: [1] }],
    });
    expect(() => importModel(onnxOf(text), { batch: 1, batchAxes: { turns: null } })).toThrow(
      /Loop "loop": the number of turns \(input 0, "turns"\) must be known at import, and is computed/,
    );
  });

  it('says so where body and node do not fit each other', () => {
    const text = loop(3, 3, {
      nodes: [{ op: 'Loop', name: 'loop', in: ['turns', 'begin'], out: ['last'], attrs: { body: { graph: body(3) } } }],
      outputs: [{ name: 'last' }],
    });
    expect(() => importModel(onnxOf(text), { batch: 1 })).toThrow(
      /its body has 3 inputs and 3 outputs, and the node carries 0/,
    );
  });
});

describe('a symbolic batch with another size baked in', () => {
  // As torch traces initial states of a recurrent layer: constants of the batch it was traced with.
  const traced = onnxOf({
    inputs: [{ name: 'x', shape: ['batch', 2] }],
    initializers: [{ name: 'state', dims: [4, 2], values: [0, 1, 2, 3, 4, 5, 6, 7] }],
    nodes: [{ op: 'Add', name: 'add', in: ['x', 'state'], out: ['y'] }],
    outputs: [{ name: 'y', shape: ['batch', 2] }],
  });

  it('builds for the batch of the data where that is the one', () => {
    const importer = prepareImport(traced, { dataBatch: 4 });
    expect(importer.fileBatch).toBe(4);
    expect(importer.build(4).outputs.get('y')!.shape).toEqual([4, 2]);
  });

  it.each([1, 2, 8])('names the node for a batch of %i', (batch) => {
    expect(() => prepareImport(traced, { dataBatch: 4 }).build(batch)).toThrow(
      expect.objectContaining({
        code: 'onnx-batch-size',
        message: expect.stringContaining(
          `cannot be built for a batch of ${batch}: the file was made for 4, and Add "add"`,
        ),
        fields: expect.objectContaining({ batch, fileBatch: 4 }),
      }),
    );
    expect(() => prepareImport(traced, { dataBatch: batch })).toThrow(/Add "add": .* do not broadcast/);
  });

  it('is not blamed for what is wrong at every size', () => {
    const wrong = onnxOf({
      inputs: [{ name: 'x', shape: ['batch', 2] }],
      nodes: [{ op: 'Nonsense', name: 'n', in: ['x'], out: ['y'] }],
      outputs: [{ name: 'y' }],
    });
    expect(() => prepareImport(wrong)).toThrow(/operator Nonsense is not supported/);
  });
});
