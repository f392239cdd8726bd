// The operator cases of ONNX for arithmetic, comparisons, logic, casts and activations: by the graph, and by host and graph.
import { describe, expect, it } from 'vitest';
import type { OnnxAttribute, OnnxDType, OnnxTensor } from '../../../src/formats/onnx/model.ts';
import { activations } from '../../../src/formats/onnx/operators/activations.ts';
import { elementwise } from '../../../src/formats/onnx/operators/elementwise.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

const operators = new Set(Object.keys({ ...elementwise, ...activations }));

/** Cases that are not held to their outputs, with the reason; a case of another kind that fails is a fault. */
const exceptions: readonly (readonly [names: RegExp, why: string])[] = [
  [/STRING/, 'no tensor of a graph holds strings'],
  [/BFLOAT16/, 'the files hold the bits of bfloat16 as UINT16'],
  [/operator_add_(size1_)?(right_|singleton_)?broadcast/, 'broadcasting along an axis is of opset 6, and refused'],
  [/operator_addconstant/, 'the files hold doubles beyond f32'],
];

/** Others test the operators of other files. */
const ours = casesOf(operators, ['Constant', 'Identity']).filter(
  ([name]) => !exceptions.some(([names]) => names.test(name)),
);

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there for every operator that has some', () => {
    const covered = new Set(ours.flatMap(([, c]) => c.model.graph.nodes.map((n) => n.opType)));
    // Operators younger than the cases (opset 17 and before), which the graphs below test.
    expect([...operators].filter((op) => !covered.has(op))).toEqual(['Gelu', 'Mish']);
    expect(ours.length).toBeGreaterThan(200);
  });

  describe.each(['none', 'integers', 'all'] as const)('with constants: %s', (constants) => {
    it.each(ours)('%s', (_, c) => {
      expect(differs(runCase(c, { constants }), c)).toBeUndefined();
    });
  });
});

const writers: Readonly<Partial<Record<OnnxDType, (values: readonly number[]) => ArrayBufferView>>> = {
  FLOAT: (v) => Float32Array.from(v),
  INT64: (v) => BigInt64Array.from(v, BigInt),
  INT32: (v) => Int32Array.from(v),
  INT8: (v) => Int8Array.from(v),
  BOOL: (v) => Uint8Array.from(v),
};

function tensor(dtype: OnnxDType, dims: readonly number[], ...values: number[]): OnnxTensor {
  const { buffer, byteOffset, byteLength } = writers[dtype]!(values);
  return { name: '', dtype, dims, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}
const floats = (...values: number[]): OnnxTensor => tensor('FLOAT', [values.length], ...values);
const integers = (...values: number[]): OnnxTensor => tensor('INT64', [values.length], ...values);

interface NodeOptions {
  readonly opset?: number;
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Inputs that are constants of the file; the others are fed. */
  readonly constant?: readonly number[];
  readonly result?: OnnxDType;
}

/** Values of one node of the graph, with `undefined` for an input that is left out. */
function play(opType: string, inputs: readonly (OnnxTensor | undefined)[], options: NodeOptions = {}): number[] {
  const { opset = 20, attributes = {}, constant = [], result = inputs[0]!.dtype } = options;
  const named = inputs.flatMap((t, i) => (t ? [{ ...t, name: `x${i}`, at: i }] : []));
  const fed = named.filter(({ at }) => !constant.includes(at));
  const node = {
    name: 'node',
    opType,
    domain: '',
    overload: '',
    inputs: inputs.map((t, i) => (t ? `x${i}` : '')),
    outputs: ['y'],
    attributes: new Map(Object.entries(attributes)),
  };
  const graph = {
    name: 'graph',
    nodes: [
      ...named
        .filter(({ at }) => constant.includes(at))
        .map((t) => ({
          name: `constant ${t.name}`,
          opType: 'Constant',
          domain: '',
          overload: '',
          inputs: [],
          outputs: [t.name],
          attributes: new Map<string, OnnxAttribute>([['value', { kind: 'tensor', value: t }]]),
        })),
      node,
    ],
    initializers: [],
    inputs: fed.map(({ name, dtype, dims }) => ({ name, dtype, shape: dims })),
    outputs: [{ name: 'y', dtype: result, shape: undefined }],
    valueInfo: [],
  };
  const model = { irVersion: 8, producer: 'test', opsets: new Map([['', opset]]), graph, functions: [] };
  const [y] = runCase({ model, inputs: fed, outputs: [] }, { constants: 'none' });
  return [...y!.data];
}

const float = (value: number): OnnxAttribute => ({ kind: 'float', value });
const int = (value: number): OnnxAttribute => ({ kind: 'int', value });
const text = (value: string): OnnxAttribute => ({ kind: 'string', value });
const near = (actual: readonly number[], expected: readonly number[]) =>
  actual.forEach((v, i) => void expect(v).toBeCloseTo(expected[i]!, 6));

describe('operators by version and attribute', () => {
  const x = floats(-2, -0.5, 0.5, 2);

  it('Gelu: exact or by tanh', () => {
    // torch.nn.functional.gelu
    near(play('Gelu', [x]), [-0.04550026, -0.15426877, 0.34573123, 1.95449974]);
    near(
      play('Gelu', [x], { attributes: { approximate: text('tanh') } }),
      [-0.04540229, -0.15428599, 0.34571401, 1.95459771],
    );
    expect(() => play('Gelu', [x], { attributes: { approximate: text('fast') } })).toThrow('approximate is "fast"');
  });

  it('Mish', () => {
    near(play('Mish', [x]), [-0.25250148, -0.22074423, 0.37524524, 1.94395896]);
  });

  it('Clip: attributes before opset 11, inputs since; bounds left out, known, or computed', () => {
    const attributes = { min: float(-1), max: float(1) };
    const clipped = [-1, -0.5, 0.5, 1];
    expect(play('Clip', [x], { opset: 6, attributes })).toEqual(clipped);
    expect(play('Clip', [x], { opset: 10, attributes })).toEqual(clipped);
    expect(play('Clip', [x], { opset: 10 })).toEqual([-2, -0.5, 0.5, 2]);
    const [low, high] = [tensor('FLOAT', [], -1), tensor('FLOAT', [], 1)];
    expect(play('Clip', [x, low, high], { opset: 11, constant: [1, 2] })).toEqual(clipped);
    expect(play('Clip', [x, low, high], { opset: 13 })).toEqual(clipped);
    expect(play('Clip', [x, low, high], { constant: [1] })).toEqual(clipped);
    expect(play('Clip', [x, undefined, high])).toEqual([-2, -0.5, 0.5, 1]);
    expect(play('Clip', [x, undefined, high], { constant: [2] })).toEqual([-2, -0.5, 0.5, 1]);
    expect(play('Clip', [x, low])).toEqual([-1, -0.5, 0.5, 2]);
    // Bounds that cross give the upper one.
    expect(play('Clip', [x, high, low])).toEqual([-1, -1, -1, -1]);
    expect(play('Clip', [x, high, low], { constant: [1, 2] })).toEqual([-1, -1, -1, -1]);
    // The least and greatest i64 are no bounds to an i32.
    const whole = [tensor('INT64', [], -4), tensor('INT64', [], 2 ** 40)] as const;
    expect(play('Clip', [integers(-9, 0, 9), ...whole], { constant: [1, 2] })).toEqual([-4, 0, 9]);
  });

  it('Pow: the type of the base', () => {
    expect(play('Pow', [floats(3, -2), integers(2, 3)])).toEqual([9, -8]);
    expect(play('Pow', [integers(4, 7), floats(0.5, 2)])).toEqual([2, 49]);
    expect(play('Pow', [integers(4, -3), integers(2, 3)])).toEqual([16, -27]);
    for (const exponent of [2, 3, 0.5, -1]) {
      near(play('Pow', [floats(4, 9), floats(exponent)], { constant: [1] }), [4 ** exponent, 9 ** exponent]);
      near(play('Pow', [floats(4, 9), floats(exponent)]), [4 ** exponent, 9 ** exponent]);
    }
  });

  it('Cast: to integers towards zero, to narrow ones modulo their width', () => {
    const to = (number: number) => ({ attributes: { to: int(number) } });
    const y = floats(-1.9, 1.9, 200.5, -129, 65536, 3e9);
    expect(play('Cast', [y], { ...to(7), result: 'INT64' })).toEqual([-1, 1, 200, -129, 65536, 2147483647]);
    expect(play('Cast', [y], { ...to(3), result: 'INT8' })).toEqual([-1, 1, -56, 127, 0, -1]);
    expect(play('Cast', [y], { ...to(2), result: 'UINT8' })).toEqual([255, 1, 200, 127, 0, 255]);
    expect(play('Cast', [y], { ...to(5), result: 'INT16' })).toEqual([-1, 1, 200, -129, 0, -1]);
    expect(play('Cast', [y], { ...to(4), result: 'UINT16' })).toEqual([65535, 1, 200, 65407, 0, 65535]);
    expect(play('Cast', [y], { ...to(9), result: 'BOOL' })).toEqual([1, 1, 1, 1, 1, 1]);
    expect(play('Cast', [tensor('BOOL', [2], 1, 0)], { ...to(2), result: 'UINT8' })).toEqual([1, 0]);
    expect(() => play('Cast', [y], to(17))).toThrow('a cast to the element type of number 17');
    expect(play('CastLike', [y, tensor('INT8', [1], 0)], { result: 'INT8' })).toEqual([-1, 1, -56, 127, 0, -1]);
  });

  it('Mod: floats need fmod', () => {
    expect(play('Mod', [floats(5.5, -5.5), floats(2, 2)], { attributes: { fmod: int(1) } })).toEqual([1.5, -1.5]);
    expect(() => play('Mod', [floats(5), floats(3)])).toThrow('floats need the attribute fmod = 1');
    expect(play('Mod', [integers(5, -5, 5), integers(3, 3, -3)])).toEqual([2, 1, -1]);
    expect(play('Mod', [integers(5, -5, 5), integers(3, 3, -3)], { attributes: { fmod: int(1) } })).toEqual([2, -2, 2]);
  });

  it('bools: Equal and Where', () => {
    const [a, b] = [tensor('BOOL', [4], 0, 0, 1, 1), tensor('BOOL', [4], 0, 1, 0, 1)];
    expect(play('Equal', [a, b])).toEqual([1, 0, 0, 1]);
    expect(play('Where', [tensor('BOOL', [4], 1, 1, 0, 0), a, b])).toEqual([0, 0, 0, 1]);
  });

  it('integers: Div towards zero, Relu, PRelu, Shrink, Max, Mean of one', () => {
    expect(play('Div', [integers(7, -7), integers(2, 2)])).toEqual([3, -3]);
    expect(play('Relu', [integers(-3, 0, 4)], { opset: 14 })).toEqual([0, 0, 4]);
    expect(play('PRelu', [integers(-3, 0, 4), integers(2)])).toEqual([-6, 0, 4]);
    expect(play('Shrink', [integers(-3, 0, 4)], { attributes: { bias: float(1), lambd: float(1.5) } })).toEqual([
      -2, 0, 3,
    ]);
    expect(play('Max', [integers(1, 5), integers(4, 2), integers(3, 3)])).toEqual([4, 5]);
    expect(play('Mean', [floats(1, 2)])).toEqual([1, 2]);
    expect(play('Mean', [floats(1), floats(2, 3), floats(4)])).toEqual([7 / 3, 8 / 3]);
  });

  it('PRelu repeats the slope, never x', () => {
    const image = tensor('FLOAT', [1, 2, 2], -1, 1, -2, 2);
    expect(play('PRelu', [image, tensor('FLOAT', [2, 1], 0.5, 0.25)])).toEqual([-0.5, 1, -0.5, 2]);
    expect(play('PRelu', [image, tensor('FLOAT', [2], 0.5, 0.25)], { opset: 6 })).toEqual([-0.5, 1, -0.5, 2]);
    expect(() => play('PRelu', [floats(1), floats(1, 2)])).toThrow(
      "the slope's shape [2] does not broadcast to x's, [1]",
    );
  });

  it('IsInf of one sign', () => {
    const y = floats(Infinity, -Infinity, Number.NaN, 1);
    const signs = (positive: number, negative: number) =>
      play('IsInf', [y], {
        attributes: { detect_positive: int(positive), detect_negative: int(negative) },
        result: 'BOOL',
      });
    expect([signs(1, 1), signs(1, 0), signs(0, 1), signs(0, 0)]).toEqual([
      [1, 1, 0, 0],
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 0, 0],
    ]);
    expect(play('IsNaN', [y], { result: 'BOOL' })).toEqual([0, 0, 1, 0]);
  });

  it('default parameters are those of ONNX', () => {
    near(play('Elu', [x]), [Math.expm1(-2), Math.expm1(-0.5), 0.5, 2]);
    near(play('Celu', [x], { attributes: { alpha: float(2) } }), [2 * Math.expm1(-1), 2 * Math.expm1(-0.25), 0.5, 2]);
    near(play('Selu', [x]), [-1.5201665, -0.6917582, 0.5253505, 2.101402]);
    near(play('LeakyRelu', [x]), [-0.02, -0.005, 0.5, 2]);
    near(play('HardSigmoid', [x]), [0.1, 0.4, 0.6, 0.9]);
    near(play('ThresholdedRelu', [x]), [0, 0, 0, 2]);
    near(play('Shrink', [x]), [-2, 0, 0, 2]);
    near(play('HardSwish', [x]), [-1 / 3, -0.5 * (2.5 / 6), 0.5 * (3.5 / 6), 2 * (5 / 6)]);
  });
});
