import { describe, expect, it } from 'vitest';
import { importModel } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import { type Constant, type ModelText, type NodeText, onnxOf } from './build.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

// DynamicQuantizeLinear has a case that lies on a tie, which f64 and f32 round to other sides: cases.test.ts plays it in f32.
const operators = new Set(['DequantizeLinear', 'QuantizeLinear']);
const ours = casesOf(operators, ['Constant']);

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there', () => expect(ours).toHaveLength(4));

  describe.each(['none', 'rest'] as const)('with constants: %s', (constants) => {
    it.each(ours)('%s', (_, c) => expect(differs(runCase(c, { constants }), c)).toBeUndefined());
  });
});

/** Output y of a node, fed x [2, 3]. */
function play(node: NodeText, x: readonly number[], more: ModelText = {}): number[] {
  const text: ModelText = {
    inputs: [{ name: 'x', shape: [2, 3] }],
    outputs: [{ name: 'y' }],
    nodes: [{ out: ['y'], ...node }],
    ...more,
  };
  const graph = importModel(onnxOf(text), { batch: 2, batchAxes: { x: null } });
  const [input] = graph.sources('input');
  const feeds = new Map([[input!, { type: input!.type, data: Float64Array.from(x) }]]);
  for (const source of graph.parameters) {
    const { init } = source.node.source!;
    if (init?.kind === 'data') feeds.set(source, { type: source.type, data: Float64Array.from(init.data) });
  }
  // −0 is 0.
  return Array.from(evaluate([graph.outputs.get('y')!], feeds)[0]!.data, (v) => v + 0);
}

const scale = (values: readonly number[], dims: readonly number[] = []) => ({ name: 's', dims, values });
const bytes: ModelText = { outputs: [{ name: 'y', dtype: 'UINT8' }] };
const x = [-100, -1.5, -0.5, 0.5, 2.5, 1000];

describe('QuantizeLinear', () => {
  it('rounds halves to even and saturates; without a zero point to UINT8', () => {
    const node = { op: 'QuantizeLinear', in: ['x', 's'] };
    expect(play(node, x, { ...bytes, initializers: [scale([1])] })).toEqual([0, 0, 0, 0, 2, 255]);
    const zero = { name: 'z', dtype: 'INT8', dims: [], values: [1] } as const;
    const signed = { op: 'QuantizeLinear', in: ['x', 's', 'z'] };
    expect(play(signed, x, { outputs: [{ name: 'y', dtype: 'INT8' }], initializers: [scale([0.5]), zero] })).toEqual([
      -128, -2, 0, 2, 6, 127,
    ]);
  });

  it.each<[what: string, attrs: NodeText['attrs'], zero: readonly Constant[], sums: number[]]>([
    ['UINT8, where nothing says another', {}, [], [200, 0, 0, 2, 0, 254]],
    ['UINT8, where the attribute is 0', { output_dtype: 0 }, [], [200, 0, 0, 2, 0, 254]],
    ['the attribute’s', { output_dtype: 3 }, [], [-56, -2, 0, 2, 0, -2]],
    ['the zero point’s', {}, [{ name: 'z', dtype: 'INT8', dims: [], values: [0] }], [-56, -2, 0, 2, 0, -2]],
  ])('gives values that wrap around as the type is: %s', (_, attrs, zero, sums) => {
    const nodes: NodeText[] = [
      // x of integers, whose type is not that of the result.
      { op: 'Cast', in: ['x'], out: ['i'], attrs: { to: 6 } },
      { op: 'QuantizeLinear', in: ['i', 's', ...zero.map(({ name }) => name)], out: ['q'], attrs },
      { op: 'Add', in: ['q', 'q'], out: ['y'] },
    ];
    const more: ModelText = { outputs: [{ name: 'y', dtype: 'INT8' }], opset: 21, initializers: [scale([1]), ...zero] };
    expect(play({ op: '' }, [100, -1, 0, 1, 0, 1000], { ...more, nodes })).toEqual(sums);
  });

  it('has one scale an entry of its axis', () => {
    const node = { op: 'QuantizeLinear', in: ['x', 's'], attrs: { axis: 0 } };
    expect(play(node, [1, 2, 3, 4, 5, 6], { ...bytes, initializers: [scale([1, 2], [2])] })).toEqual([
      1, 2, 3, 2, 2, 3,
    ]);
    expect(() => play(node, x, { initializers: [scale([1, 2, 3], [3])] })).toThrow(
      /one an entry of axis 0 of \[2, 3\]/,
    );
  });

  it('refuses blocks, and two types', () => {
    const blocks = { op: 'QuantizeLinear', in: ['x', 's'], attrs: { block_size: 2 } };
    expect(() => play(blocks, x, { opset: 21, initializers: [scale([1])] })).toThrow(/quantisation in blocks of 2/);
    const two = { op: 'QuantizeLinear', in: ['x', 's', 'z'], attrs: { output_dtype: 3 } };
    const zero = { name: 'z', dtype: 'UINT8', dims: [], values: [1] } as const;
    const initializers = [scale([1]), zero];
    expect(() => play(two, x, { opset: 21, initializers })).toThrow(/output_dtype is INT8, and the zero point UINT8/);
  });
});

describe('DynamicQuantizeLinear', () => {
  const nodes: NodeText[] = [
    { op: 'DynamicQuantizeLinear', in: ['x'], out: ['q', 's', 'z'] },
    { op: 'DequantizeLinear', in: ['q', 's', 'z'], out: ['y'] },
  ];

  it('and back is within half a step', () => {
    const values = [-1, -0.3, 0, 0.4, 2, 4.1];
    const back = play({ op: '' }, values, { nodes });
    back.forEach((v, i) => {
      expect(Math.abs(v - values[i]!)).toBeLessThanOrEqual(0.51 * (5.1 / 255));
    });
  });

  it('of zeros is zeros', () => {
    expect(play({ op: '' }, [0, 0, 0, 0, 0, 0], { nodes })).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
