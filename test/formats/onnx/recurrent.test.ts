// LSTM, GRU and RNN as files have them: ONNX's own cases, and every variant of the attributes against the formulas.
import { describe, expect, it } from 'vitest';
import type { OnnxAttribute, OnnxModel, OnnxTensor } from '../../../src/formats/onnx/model.ts';
import { firstDifference } from '../../conformance/compare.ts';
import { generator } from '../../nn/helpers.ts';
import {
  type Activation,
  type Case,
  gruFormula,
  lstmFormula,
  type Operands,
  type Results,
  rnnFormula,
} from '../../ops/recurrent-formulas.ts';
import { caseNames, differs, hasCases, readCase, runCase } from './operator-case.ts';

describe.runIf(hasCases)("ONNX's own cases", () => {
  const names = hasCases ? caseNames().filter((name) => /_(lstm|gru|rnn|simple_rnn)_/.test(name)) : [];
  it.each(names)('%s', (name) => {
    const c = readCase(name);
    for (const constants of ['none', 'integers', 'all'] as const) {
      expect(differs(runCase(c, { constants }), c), constants).toBeUndefined();
    }
  });
  it('are all there', () => expect(names).toHaveLength(12));
});

type OpType = 'LSTM' | 'GRU' | 'RNN';
const operators: Readonly<
  Record<OpType, { gates: number; formula: (c: Case, o: Operands) => Results; outputs: (keyof Results)[] }>
> = {
  LSTM: { gates: 4, formula: lstmFormula, outputs: ['output', 'hN', 'cN'] },
  GRU: { gates: 3, formula: gruFormula, outputs: ['output', 'hN'] },
  RNN: { gates: 1, formula: rnnFormula, outputs: ['output', 'hN'] },
};
/** Input names in the operators' order; the last two are the LSTM's alone. */
const inputNames = ['X', 'W', 'R', 'B', 'sequence_lens', 'initial_h', 'initial_c', 'P'] as const;
type InputName = (typeof inputNames)[number];

interface Variant {
  readonly title: string;
  readonly opType: OpType;
  readonly opset?: number;
  readonly direction?: 'forward' | 'reverse' | 'bidirectional';
  readonly layout?: 0 | 1;
  readonly without?: readonly InputName[];
  readonly lengths?: readonly number[];
  readonly fed?: boolean;
  /** Positions of outputs that the node has; default all. */
  readonly wanted?: readonly number[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** What the attributes mean, by direction where they differ. */
  readonly meaning?: Partial<Case> | readonly Partial<Case>[];
}

const [steps, batch, inputs, size] = [4, 3, 2, 3];
const strings = (...value: string[]): OnnxAttribute => ({ kind: 'strings', value });
const floats = (...value: number[]): OnnxAttribute => ({ kind: 'floats', value });
const int = (value: number): OnnxAttribute => ({ kind: 'int', value });
const float = (value: number): OnnxAttribute => ({ kind: 'float', value });

const variants: readonly Variant[] = [
  ...(['LSTM', 'GRU', 'RNN'] as const).flatMap((opType) =>
    (['forward', 'reverse', 'bidirectional'] as const).flatMap((direction): Variant[] => [
      { title: direction, opType, direction },
      { title: `${direction}, batch first`, opType, direction, layout: 1 },
      {
        title: `${direction}, nothing optional, operator set 7`,
        opType,
        direction,
        opset: 7,
        without: ['B', 'initial_h', 'initial_c', 'P'],
      },
      { title: `${direction}, operator set 22, final state only`, opType, direction, opset: 22, wanted: [1] },
      {
        title: `${direction}, sequence only, no initial state`,
        opType,
        direction,
        wanted: [0],
        without: ['initial_h'],
      },
      { title: `${direction}, lengths`, opType, direction, lengths: [2, 4, 1] },
      { title: `${direction}, fed lengths, batch first`, opType, direction, layout: 1, lengths: [4, 0, 3], fed: true },
      { title: `${direction}, lengths that are all steps`, opType, direction, lengths: [4, 4, 4] },
      {
        title: `${direction}, clip`,
        opType,
        direction,
        attributes: { clip: float(0.25) },
        meaning: { clip: 0.25 },
      },
    ]),
  ),
  {
    title: 'both states, no sequence',
    opType: 'LSTM',
    direction: 'bidirectional',
    layout: 1,
    wanted: [1, 2],
  },
  { title: 'no peepholes', opType: 'LSTM', without: ['P'] },
  { title: 'coupled gates', opType: 'LSTM', attributes: { input_forget: int(1) }, meaning: { inputForget: true } },
  ...(['forward', 'bidirectional'] as const).map(
    (direction): Variant => ({
      title: `linear before reset, ${direction}`,
      opType: 'GRU',
      direction,
      attributes: { linear_before_reset: int(1) },
      meaning: { resetAfter: true },
    }),
  ),
  {
    title: 'functions by direction, parameters in order, then defaults',
    opType: 'LSTM',
    direction: 'bidirectional',
    attributes: {
      activations: strings('Sigmoid', 'LeakyRelu', 'ScaledTanh', 'HardSigmoid', 'Elu', 'Affine'),
      activation_alpha: floats(0.1, 0.7, 0.3),
      activation_beta: floats(1.2),
    },
    meaning: [
      { activations: [['sigmoid'], ['leakyRelu', 0.1], ['scaledTanh', 0.7, 1.2]] },
      {
        activations: [
          ['hardSigmoid', 0.3, 0.5],
          ['elu', 1],
          ['affine', 1, 0],
        ],
      },
    ],
  },
  {
    title: 'defaults of LeakyRelu and ThresholdedRelu, names in lower case',
    opType: 'GRU',
    attributes: { activations: strings('thresholdedrelu', 'leakyrelu') },
    meaning: { activations: [['thresholdedRelu', 1] as Activation, ['leakyRelu', 0.01] as Activation] },
  },
  { title: 'Relu', opType: 'RNN', attributes: { activations: strings('Relu') }, meaning: { activations: [['relu']] } },
  {
    title: 'Softsign and Softplus',
    opType: 'RNN',
    direction: 'bidirectional',
    attributes: { activations: strings('Softsign', 'Softplus') },
    meaning: [{ activations: [['softsign']] }, { activations: [['softplus']] }],
  },
];

function tensor(
  name: string,
  dtype: 'FLOAT' | 'INT32',
  dims: readonly number[],
  values: readonly number[],
): OnnxTensor {
  const data = dtype === 'FLOAT' ? Float32Array.from(values) : Int32Array.from(values);
  return { name, dtype, dims, bytes: new Uint8Array(data.buffer) };
}

/** The variant's node as a model, with values for its inputs. */
function modelOf(v: Variant): {
  model: OnnxModel;
  tensors: OnnxTensor[];
  values: Partial<Record<InputName, number[]>>;
} {
  const wide = operators[v.opType].gates * size;
  const d = v.direction === 'bidirectional' ? 2 : 1;
  const state = v.layout === 1 ? [batch, d, size] : [d, batch, size];
  const dims: Record<InputName, number[]> = {
    X: v.layout === 1 ? [batch, steps, inputs] : [steps, batch, inputs],
    W: [d, wide, inputs],
    R: [d, wide, size],
    B: [d, 2 * wide],
    sequence_lens: [batch],
    initial_h: state,
    initial_c: state,
    P: [d, 3 * size],
  };
  const next = generator(3);
  const draw = (n: number): number[] => Array.from({ length: n }, () => Math.fround(next()));
  const given = inputNames.filter(
    (name, i) =>
      !v.without?.includes(name) && (i < 6 || v.opType === 'LSTM') && (name !== 'sequence_lens' || v.lengths),
  );
  const values = Object.fromEntries(
    given.map((name) => [
      name,
      name === 'sequence_lens' ? [...v.lengths!] : draw(dims[name].reduce((n, size) => n * size, 1)),
    ]),
  ) as Partial<Record<InputName, number[]>>;
  const dtype = (name: InputName) => (name === 'sequence_lens' ? 'INT32' : 'FLOAT');
  const names = operators[v.opType].outputs.map((name, i) => (!v.wanted || v.wanted.includes(i) ? name : ''));
  const attributes = new Map<string, OnnxAttribute>([
    ['hidden_size', int(size)],
    ...Object.entries(v.attributes ?? {}),
    ...(v.direction ? [['direction', { kind: 'string', value: v.direction }] as const] : []),
    ...(v.layout ? [['layout', int(v.layout)] as const] : []),
  ]);
  const model: OnnxModel = {
    irVersion: 8,
    producer: 'test',
    opsets: new Map([['', v.opset ?? 14]]),
    functions: [],
    graph: {
      name: 'recurrent',
      initializers: [],
      valueInfo: [],
      inputs: given.map((name) => ({ name, dtype: dtype(name), shape: dims[name] })),
      outputs: names.filter(Boolean).map((name) => ({ name, dtype: 'FLOAT', shape: undefined })),
      nodes: [
        {
          name: 'layer',
          opType: v.opType,
          domain: '',
          overload: '',
          inputs: inputNames.map((name) => (given.includes(name) ? name : '')),
          outputs: names,
          attributes,
        },
      ],
    },
  };
  return { model, tensors: given.map((name) => tensor(name, dtype(name), dims[name], values[name]!)), values };
}

/** Exchanges the first two axes of [a, b, …rest]. */
function exchanged(data: readonly number[], a: number, b: number): number[] {
  const rest = data.length / (a * b);
  return Array.from(
    { length: data.length },
    (_, i) => data[((Math.floor(i / rest) % a) * b + Math.floor(i / (a * rest))) * rest + (i % rest)]!,
  );
}

/** The formulas' outputs in the operator's layout. */
function expectedOf(v: Variant, values: Partial<Record<InputName, number[]>>): Record<keyof Results, number[]> {
  const { formula } = operators[v.opType];
  const reverses = { forward: [false], reverse: [true], bidirectional: [false, true] }[v.direction ?? 'forward'];
  const d = reverses.length;
  const part = (data: readonly number[] | undefined, k: number): number[] | undefined =>
    data?.slice((k * data.length) / d, ((k + 1) * data.length) / d);
  const states = (data: number[] | undefined): number[] | undefined =>
    data && v.layout === 1 ? exchanged(data, batch, d) : data;
  const runs = reverses.map((reverse, k) => {
    const meaning = Array.isArray(v.meaning) ? v.meaning[k] : v.meaning;
    const biases = part(values.B, k);
    const half = (biases?.length ?? 0) / 2;
    return formula(
      { steps, batch, inputs, size, reverse, ...(v.lengths ? { lengths: v.lengths } : {}), ...(meaning ?? {}) },
      {
        x: v.layout === 1 ? exchanged(values.X!, batch, steps) : values.X!,
        w: part(values.W, k),
        r: part(values.R, k),
        bw: biases?.slice(0, half),
        br: biases?.slice(half),
        h0: part(states(values.initial_h), k),
        c0: part(states(values.initial_c), k),
        p: part(values.P, k),
      },
    );
  });
  /** [D, N, H] as the layout has it. */
  const final = (name: 'hN' | 'cN'): number[] => {
    const all = runs.flatMap((run) => run[name]);
    return v.layout === 1 ? exchanged(all, d, batch) : all;
  };
  const output = (n: number, t: number, k: number): number[] => {
    const at = (t * batch + n) * size;
    return runs[k]!.output.slice(at, at + size);
  };
  const each = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  return {
    // [N, T, D, H] or [T, D, N, H]
    output:
      v.layout === 1
        ? each(batch).flatMap((n) => each(steps).flatMap((t) => each(d).flatMap((k) => output(n, t, k))))
        : each(steps).flatMap((t) => each(d).flatMap((k) => each(batch).flatMap((n) => output(n, t, k)))),
    hN: final('hN'),
    cN: final('cN'),
  };
}

describe.each(['LSTM', 'GRU', 'RNN'] as const)('%s', (opType) => {
  it.each(variants.filter((v) => v.opType === opType))('$title', (v) => {
    const { model, tensors, values } = modelOf(v);
    const results = runCase({ model, inputs: tensors, outputs: [] }, { constants: v.fed ? 'none' : 'integers' });
    const expected = expectedOf(v, values);
    const names = model.graph.outputs.map(({ name }) => name as keyof Results);
    expect(results).toHaveLength(names.length);
    const d = v.direction === 'bidirectional' ? 2 : 1;
    const state = v.layout === 1 ? [batch, d, size] : [d, batch, size];
    names.forEach((name, i) => {
      const shape = name === 'output' ? (v.layout === 1 ? [batch, steps, d, size] : [steps, d, batch, size]) : state;
      expect(results[i]!.type.shape, name).toEqual(shape);
      expect(firstDifference(results[i]!.data, expected[name], { atol: 1e-6, rtol: 1e-5 }), name).toBeUndefined();
    });
  });
});

describe('what files do wrong', () => {
  const failing = (v: Partial<Variant>) => () => {
    const { model, tensors } = modelOf({ title: '', opType: 'LSTM', ...v });
    return runCase({ model, inputs: tensors, outputs: [] });
  };
  it.each<[string, Partial<Variant>]>([
    ['direction sideways is not forward, reverse or bidirectional', { direction: 'sideways' as 'forward' }],
    ['hidden_size is 7, R has 3', { attributes: { hidden_size: int(7) } }],
    ['clip -1 is not positive', { attributes: { clip: float(-1) } }],
    ['activations must name 3 functions, got 1', { attributes: { activations: strings('Tanh') } }],
    ['the activation Cosine', { attributes: { activations: strings('Cosine', 'Tanh', 'Tanh') } }],
    ['length 5 is not one of 0 … 4', { lengths: [5, 1, 1] }],
  ])('%s', (message, v) => {
    expect(failing(v)).toThrow(message);
  });
});
