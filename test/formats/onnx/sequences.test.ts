import { describe, expect, it } from 'vitest';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { sequenceOperatorNames } from '../../../src/formats/onnx/sequences.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type GraphText, type ModelText, type NodeText, onnxOf } from './build.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

// The eighth splits an empty tensor, which no graph has.
const ours = casesOf(new Set(sequenceOperatorNames()), []).filter(([name]) => name !== 'simple/test_sequence_model8');

describe.runIf(hasCases)('ONNX cases', () => {
  it('are there', () => expect(ours.length).toBe(7));
  it.each(ours)('%s', (_, c) => expect(differs(runCase(c), c)).toBeUndefined());
});

const x = [1, 2, 3, 4, 5, 6];

/** Output y of nodes, fed x [2, 3]. */
function play(nodes: readonly NodeText[], more: ModelText = {}) {
  const text: ModelText = { inputs: [{ name: 'x', shape: [2, 3] }], outputs: [{ name: 'y' }], nodes, ...more };
  const graph = importModel(onnxOf(text), { batch: 2, batchAxes: { x: null } });
  const [input] = graph.sources('input');
  const feeds = new Map(input ? [[input, { type: input.type, data: Float64Array.from(x) }]] : []);
  const [y] = evaluate([graph.outputs.get('y')!], feeds);
  return { shape: y!.type.shape, data: [...y!.data] };
}

const int64 = (name: string, ...values: number[]) => ({ name, dtype: 'INT64', dims: [values.length], values }) as const;
const scalar = (name: string, value: number) => ({ name, dtype: 'INT64', dims: [], values: [value] }) as const;

const pair: NodeText[] = [
  { op: 'Neg', in: ['x'], out: ['minus'] },
  { op: 'SequenceConstruct', in: ['x', 'minus'], out: ['pair'] },
];

describe('sequences', () => {
  it('are joined along an axis, and along a new one', () => {
    const joined = (attrs: NodeText['attrs']) =>
      play([...pair, { op: 'ConcatFromSequence', in: ['pair'], out: ['y'], attrs }]);
    expect(joined({ axis: 1 })).toEqual({ shape: [2, 6], data: [1, 2, 3, -1, -2, -3, 4, 5, 6, -4, -5, -6] });
    expect(joined({ axis: 0, new_axis: 1 })).toEqual({ shape: [2, 2, 3], data: [...x, ...x.map((v) => -v)] });
    expect(joined({ axis: -1, new_axis: 1 }).shape).toEqual([2, 3, 2]);
  });

  it.each<
    [
      what: string,
      attrs: NodeText['attrs'],
      split: NonNullable<ModelText['initializers']>,
      last: number[],
      data: number[],
    ]
  >([
    ['of one each', { axis: 1 }, [], [2, 1], [3, 6]],
    ['without their axis', { axis: 1, keepdims: 0 }, [], [2], [3, 6]],
    ['of one size, the last smaller', { axis: 1 }, [scalar('s', 2)], [2, 1], [3, 6]],
    ['of the sizes given', { axis: -1 }, [int64('s', 1, 2)], [2, 2], [2, 3, 5, 6]],
  ])('are parts %s', (_, attrs, split, shape, data) => {
    const nodes: NodeText[] = [
      { op: 'SplitToSequence', in: ['x', ...split.map(({ name }) => name)], out: ['parts'], attrs },
      { op: 'SequenceAt', in: ['parts', 'last'], out: ['y'] },
    ];
    expect(play(nodes, { initializers: [...split, scalar('last', -1)] })).toEqual({ shape, data });
  });

  it('grow, shrink, and are counted at import', () => {
    const nodes: NodeText[] = [
      { op: 'SequenceEmpty', out: ['none'] },
      { op: 'SequenceInsert', in: ['none', 'x'], out: ['one'] },
      { op: 'Neg', in: ['x'], out: ['minus'] },
      { op: 'SequenceInsert', in: ['one', 'minus', 'first'], out: ['two'] },
      { op: 'Identity', in: ['two'], out: ['same'] },
      { op: 'SequenceLength', in: ['same'], out: ['count'] },
      { op: 'SequenceErase', in: ['same'], out: ['rest'] },
      { op: 'SequenceAt', in: ['rest', 'first'], out: ['item'] },
      { op: 'Cast', in: ['count'], out: ['times'], attrs: { to: 1 } },
      { op: 'Mul', in: ['item', 'times'], out: ['y'] },
    ];
    expect(play(nodes, { initializers: [scalar('first', 0)] }).data).toEqual(x.map((v) => -2 * v));
  });

  it('of shapes are joined on the host', () => {
    const nodes: NodeText[] = [
      { op: 'SequenceConstruct', in: ['a', 'b'], out: ['sizes'] },
      { op: 'ConcatFromSequence', in: ['sizes'], out: ['shape'], attrs: { axis: 0 } },
      { op: 'Reshape', in: ['x', 'shape'], out: ['y'] },
    ];
    expect(play(nodes, { initializers: [int64('a', 3), int64('b', -1)] }).shape).toEqual([3, 2]);
  });

  /** A turn of a loop that carries a sequence. */
  const turn = (nodes: readonly NodeText[], made: readonly string[]): GraphText => ({
    inputs: [{ name: 'turn', dtype: 'INT64', shape: [] }, { name: 'go', dtype: 'BOOL', shape: [] }, { name: 'list' }],
    nodes,
    outputs: [{ name: 'still', dtype: 'BOOL' }, ...made.map((name) => ({ name }))],
  });
  const loop = (body: GraphText, out: readonly string[]): NodeText => ({
    op: 'Loop',
    name: 'loop',
    in: ['three', '', 'begun'],
    out,
    attrs: { body: { graph: body } },
  });
  const begun: NodeText[] = [{ op: 'SequenceEmpty', out: ['begun'] }];
  const grown: NodeText[] = [
    { op: 'Cast', in: ['turn'], out: ['number'], attrs: { to: 1 } },
    { op: 'Add', in: ['x', 'number'], out: ['item'] },
    { op: 'SequenceInsert', in: ['list', 'item'], out: ['longer'] },
    { op: 'Identity', in: ['go'], out: ['still'] },
  ];
  const joined: NodeText = { op: 'ConcatFromSequence', in: ['all'], out: ['y'], attrs: { axis: 0 } };

  it('are carried by a loop, which may make them longer', () => {
    const nodes = [...begun, loop(turn(grown, ['longer']), ['all']), joined];
    expect(play(nodes, { initializers: [scalar('three', 3)] })).toEqual({
      shape: [6, 3],
      data: [0, 1, 2].flatMap((k) => x.map((v) => v + k)),
    });
  });

  it('that a loop collects are refused', () => {
    const nodes = [...begun, loop(turn(grown, ['longer', 'longer']), ['last', 'all']), joined];
    expect(() => play(nodes, { initializers: [scalar('three', 3)] })).toThrow(/Loop "loop": it collects sequences/);
  });

  it.each([
    [1, x],
    [0, x.map((v) => -v)],
  ])('are what the branch of a condition gives: %s', (condition, data) => {
    const branch = (index: string): GraphText => ({
      nodes: [
        { op: 'SequenceAt', in: ['pair', index], out: ['item'] },
        { op: 'SequenceConstruct', in: ['item'], out: ['one'] },
      ],
      outputs: [{ name: 'one' }],
    });
    const attrs = { then_branch: { graph: branch('first') }, else_branch: { graph: branch('second') } };
    const initializers = [
      { name: 'cond', dtype: 'BOOL', dims: [], values: [condition] } as const,
      scalar('first', 0),
      scalar('second', 1),
    ];
    expect(play([...pair, { op: 'If', in: ['cond'], out: ['all'], attrs }, joined], { initializers }).data).toEqual(
      data,
    );
  });

  it('go into functions and come out of them', () => {
    const functions = [
      {
        name: 'Rest',
        domain: 'local',
        in: ['list'],
        out: ['rest'],
        nodes: [
          { op: 'Constant', out: ['at'], attrs: { value_int: 0 } },
          { op: 'SequenceErase', in: ['list', 'at'], out: ['rest'] },
        ],
      },
    ];
    const nodes: NodeText[] = [...pair, { op: 'Rest', domain: 'local', in: ['pair'], out: ['all'] }, joined];
    expect(play(nodes, { functions, domains: { local: 1 } }).data).toEqual(x.map((v) => -v));
  });

  it.each<[what: string, nodes: NodeText[], says: RegExp]>([
    ['taken by other operators', [...pair, { op: 'Relu', in: ['pair'], out: ['y'] }], /Relu .*it takes a sequence/],
    ['that are outputs', [...pair, { op: 'Identity', in: ['pair'], out: ['y'] }], /output "y": it is a sequence/],
    ['a place outside', [...pair, { op: 'SequenceAt', in: ['pair', 'two'], out: ['y'] }], /position 2 lies outside/],
    [
      'where sizes belong',
      [...pair, { op: 'SplitToSequence', in: ['x', 'pair'], out: ['y'] }],
      /the sizes \(input 1, "pair"\): a sequence does not belong there/,
    ],
    ['no sequence', [{ op: 'SequenceLength', in: ['x'], out: ['y'] }], /its input 0 is no sequence/],
  ])('%s: refused', (_, nodes, says) => {
    expect(() => play(nodes, { initializers: [scalar('two', 2)] })).toThrow(says);
  });
});
