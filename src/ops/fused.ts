/** A chain, or any small graph, of elementwise ops as one op: one pass over memory (`fusion/` makes them of graphs). */
import { elementCount, formatShape, formatType, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type Attrs, type OpRecord, type RefTensor, require, type Sample } from '../graph/op-record.ts';
import {
  clipOp,
  eluOp,
  geluTanhOp,
  hardSigmoidOp,
  hardSwishOp,
  leakyReluOp,
  preluOp,
  softplusOp,
  softsignOp,
  thresholdedReluOp,
} from './activations.ts';
import {
  clipGradOp,
  eluGradOp,
  geluTanhGradOp,
  hardSigmoidGradOp,
  hardSwishGradOp,
  leakyReluGradOp,
  softsignGradOp,
  thresholdedReluGradOp,
} from './activations-grad.ts';
import { addOp, divOp, maximumOp, minimumOp, mulOp, powOp, subOp } from './binary.ts';
import {
  andOp,
  castOp,
  equalOp,
  greaterEqualOp,
  greaterOp,
  lessEqualOp,
  lessOp,
  notEqualOp,
  notOp,
  orOp,
  whereOp,
  xorOp,
} from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { ceilOp, floorOp, roundOp, signOp } from './rounding.ts';
import { reshape } from './shape.ts';
import { acoshOp, acosOp, asinhOp, asinOp, atanhOp, atanOp, coshOp, sinhOp } from './trigonometry.ts';
import { absOp, erfOp, expOp, geluOp, logOp, negOp, reciprocalOp, reluOp, sigmoidOp, sqrtOp, tanhOp } from './unary.ts';
import { geluGradOp, reluGradOp, sigmoidGradOp, tanhGradOp } from './unary-grad.ts';

/** One op of a chain. `args`: a number below that of the inputs is an input, those behind are steps in their order. */
export type FusedStep = { readonly op: string; readonly args: readonly number[]; readonly attrs: Attrs };

/**
 * `outputs` name steps. `views`: shapes under which the inputs are read, `shapes`: those of the outputs; default their own, and
 * that of the chain. No reshape takes time here, as none does anywhere.
 */
export type FusedAttrs = {
  readonly steps: readonly FusedStep[];
  readonly outputs: readonly number[];
  readonly views?: readonly Shape[];
  readonly shapes?: readonly Shape[];
};

/** The inputs as the chain reads them. */
export const viewedTypes = (inputs: readonly TensorType[], { views }: FusedAttrs): TensorType[] =>
  inputs.map(({ dtype, shape }, i) => ({ dtype, shape: views?.[i] ?? shape }));

/** Which elements an op of a chain may have. */
type Takes = 'floats' | 'numbers' | 'any';

/**
 * Ops that a chain may hold. Integers that may trap (a zero divisor) are none of them. A function, for modules of ops import
 * each other in circles.
 */
const table = () =>
  ({
    abs: [absOp, 'numbers'],
    acos: [acosOp, 'floats'],
    acosh: [acoshOp, 'floats'],
    add: [addOp, 'numbers'],
    and: [andOp, 'any'],
    asin: [asinOp, 'floats'],
    asinh: [asinhOp, 'floats'],
    atan: [atanOp, 'floats'],
    atanh: [atanhOp, 'floats'],
    cast: [castOp, 'any'],
    ceil: [ceilOp, 'floats'],
    clip: [clipOp, 'floats'],
    clipGrad: [clipGradOp, 'floats'],
    cosh: [coshOp, 'floats'],
    div: [divOp, 'floats'],
    elu: [eluOp, 'floats'],
    eluGrad: [eluGradOp, 'floats'],
    equal: [equalOp, 'numbers'],
    erf: [erfOp, 'floats'],
    exp: [expOp, 'floats'],
    floor: [floorOp, 'floats'],
    gelu: [geluOp, 'floats'],
    geluGrad: [geluGradOp, 'floats'],
    geluTanh: [geluTanhOp, 'floats'],
    geluTanhGrad: [geluTanhGradOp, 'floats'],
    greater: [greaterOp, 'numbers'],
    greaterEqual: [greaterEqualOp, 'numbers'],
    hardSigmoid: [hardSigmoidOp, 'floats'],
    hardSigmoidGrad: [hardSigmoidGradOp, 'floats'],
    hardSwish: [hardSwishOp, 'floats'],
    hardSwishGrad: [hardSwishGradOp, 'floats'],
    leakyRelu: [leakyReluOp, 'floats'],
    leakyReluGrad: [leakyReluGradOp, 'floats'],
    less: [lessOp, 'numbers'],
    lessEqual: [lessEqualOp, 'numbers'],
    log: [logOp, 'floats'],
    maximum: [maximumOp, 'numbers'],
    minimum: [minimumOp, 'numbers'],
    mul: [mulOp, 'numbers'],
    neg: [negOp, 'numbers'],
    not: [notOp, 'any'],
    notEqual: [notEqualOp, 'numbers'],
    or: [orOp, 'any'],
    pow: [powOp, 'floats'],
    prelu: [preluOp, 'floats'],
    reciprocal: [reciprocalOp, 'floats'],
    relu: [reluOp, 'floats'],
    reluGrad: [reluGradOp, 'floats'],
    round: [roundOp, 'floats'],
    sigmoid: [sigmoidOp, 'floats'],
    sigmoidGrad: [sigmoidGradOp, 'floats'],
    sign: [signOp, 'floats'],
    sinh: [sinhOp, 'floats'],
    softplus: [softplusOp, 'floats'],
    softsign: [softsignOp, 'floats'],
    softsignGrad: [softsignGradOp, 'floats'],
    sqrt: [sqrtOp, 'floats'],
    sub: [subOp, 'numbers'],
    tanh: [tanhOp, 'floats'],
    tanhGrad: [tanhGradOp, 'floats'],
    thresholdedRelu: [thresholdedReluOp, 'floats'],
    thresholdedReluGrad: [thresholdedReluGradOp, 'floats'],
    where: [whereOp, 'any'],
    xor: [xorOp, 'any'],
  }) satisfies Record<string, readonly [unknown, Takes]>;

export type FusibleOp = keyof ReturnType<typeof table>;

let known: Readonly<Record<string, readonly [OpRecord, Takes]>> | undefined;
const fusible = () => (known ??= table() as unknown as NonNullable<typeof known>);

const recordOf = (op: string): OpRecord => fusible()[op]![0];

export const fusibleOps = (): FusibleOp[] => Object.keys(fusible()) as FusibleOp[];

/** Whether a chain may hold this op on operands of these types. */
export function isFusible(op: string, inputs: readonly TensorType[]): op is FusibleOp {
  if (!Object.hasOwn(fusible(), op)) return false;
  const [, takes] = fusible()[op]!;
  return takes !== 'floats' || inputs.every((t) => t.dtype === 'f32');
}

/** Types of all values: the inputs', then the steps'. */
function typesOf(given: readonly TensorType[], fused: FusedAttrs): TensorType[] {
  const { steps, outputs } = fused;
  const inputs = viewedTypes(given, fused);
  inputs.forEach((view, i) => {
    require(elementCount(view.shape) ===
      elementCount(given[i]!.shape), `input ${i}, ${formatType(given[i]!)}, is viewed as ${formatType(view)}`);
  });
  require(steps?.length > 0, 'needs at least one step');
  const types = [...inputs];
  steps.forEach(({ op, args, attrs }, s) => {
    for (const a of args) require(types[a], `step ${s} (${op}) reads value ${a}, which is not made before it`);
    const operands = args.map((a) => types[a]!);
    require(isFusible(op, operands), `step ${s}: ${op}(${operands.map(formatType).join(', ')}) is not fusible`);
    const [type] = recordOf(op).infer(operands, attrs);
    const first = types[inputs.length] ?? type!;
    require(sameShape(
      type!.shape,
      first.shape,
    ), `step ${s} (${op}) makes ${formatType(type!)} beside ${formatType(first)}`);
    types.push(type!);
  });
  require(outputs.length > 0 &&
    outputs.every((v) => v >= inputs.length && types[v]), `outputs [${outputs.join(', ')}] must name steps`);
  return types;
}

/** Values of all outputs; `store` rounds each step's value to what memory holds of it. */
export function evaluateFused(
  inputs: readonly RefTensor[],
  fused: FusedAttrs,
  store: (values: Float64Array, type: TensorType) => Float64Array = (values) => values,
): Float64Array[] {
  const types = inputs.map((t) => t.type);
  const values = viewedTypes(types, fused).map((type, i) => ({ type, data: inputs[i]!.data }));
  for (const { op, args, attrs } of fused.steps) {
    const operands = args.map((a) => values[a]!);
    const record = recordOf(op);
    const made = record.infer(
      operands.map((t) => t.type),
      attrs,
    );
    const [data] = record.reference(operands, attrs, made);
    values.push({ type: made[0]!, data: store(data!, made[0]!) });
  }
  return fused.outputs.map((v) => values[v]!.data);
}

/** What an op is called in programs and tables: its name, and of a fused one its ops in their order, `add+relu`. */
export const opLabel = ({ name }: { readonly name: string }, attrs: Attrs): string =>
  name === 'fused' ? (attrs as unknown as FusedAttrs).steps.map(({ op }) => op).join('+') : name;

const step = (op: FusibleOp, args: readonly number[], attrs: Attrs = {}): FusedStep => ({ op, args, attrs });

const samples: readonly Sample<FusedAttrs>[] = [
  {
    name: 'bias and activation, both kept',
    inputs: [{ shape: [3, 7], low: -2, high: 2 }, { shape: [7] }],
    attrs: { steps: [step('add', [0, 1]), step('gelu', [2])], outputs: [2, 3] },
  },
  {
    name: 'scalar, channels and a residual',
    inputs: [{ shape: [2, 3, 5] }, { shape: [3, 1] }, { shape: [] }, { shape: [2, 3, 5] }],
    attrs: { steps: [step('mul', [0, 1]), step('mul', [4, 2]), step('add', [3, 5])], outputs: [6] },
  },
  {
    name: 'slopes with parameters, four vectors and a tail',
    inputs: [
      { shape: [19], awayFrom: [0], distinct: 0.02 },
      { shape: [19], awayFrom: [0], distinct: 0.02 },
    ],
    attrs: {
      steps: [
        step('leakyRelu', [0], { slope: 0.2 }),
        step('leakyReluGrad', [0, 1], { slope: 0.2 }),
        step('sub', [2, 3]),
      ],
      outputs: [4],
    },
  },
  {
    name: 'masks within and without',
    inputs: [{ shape: [5, 3], awayFrom: [0], distinct: 0.02 }, { shape: [3], dtype: 'bool' }, { shape: [5, 3] }],
    attrs: {
      steps: [
        step('less', [0, 2]),
        step('and', [3, 1]),
        step('where', [4, 0, 2]),
        step('cast', [4], { to: 'f32' }),
        step('add', [5, 6]),
      ],
      outputs: [7, 4],
    },
    gradientOf: [],
  },
  {
    name: 'reshapes on the way',
    inputs: [{ shape: [6, 5] }, { shape: [5] }, { shape: [2, 3, 5] }],
    attrs: {
      steps: [step('add', [0, 1]), step('tanh', [3]), step('mul', [4, 2])],
      outputs: [3, 5],
      views: [[2, 3, 5], [5], [2, 3, 5]],
      shapes: [
        [6, 5],
        [2, 3, 5],
      ],
    },
  },
  {
    name: 'integers',
    inputs: [
      { shape: [2, 9], dtype: 'i32', low: -50, high: 50 },
      { shape: [], dtype: 'i32', values: [2147483647] },
    ],
    attrs: {
      steps: [step('add', [0, 1]), step('mul', [2, 0]), step('greaterEqual', [3, 0]), step('cast', [3], { to: 'f32' })],
      outputs: [3, 4, 5],
    },
  },
];

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const fusedOp: OpRecord<FusedAttrs> = defineOp<FusedAttrs>({
  name: 'fused',
  doc: 'Elementwise steps of one shape in one pass, the inputs broadcast to it; outputs are the steps that are named. Bit by bit the steps’ own ops.',
  infer: (inputs, attrs) => {
    const types = typesOf(inputs, attrs);
    return attrs.outputs.map((v, i): TensorType => {
      const made = types[v]!;
      const shape = attrs.shapes?.[i] ?? made.shape;
      require(elementCount(shape) ===
        elementCount(made.shape), `output ${i}, ${formatType(made)}, is shaped ${formatShape(shape)}`);
      return { dtype: made.dtype, shape };
    });
  },
  reference: (inputs, attrs) => evaluateFused(inputs, attrs),
  gradient: {
    kind: 'decompose',
    build: (inputs, { steps, outputs, views, shapes }) => {
      const shaped = (t: Tensor, shape: Shape | undefined) =>
        shape === undefined || sameShape(t.shape, shape) ? t : reshape(t, shape);
      const values: Tensor[] = inputs.map((t, i) => shaped(t, views?.[i]));
      for (const { op, args, attrs } of steps) {
        const operands = args.map((a) => values[a]!);
        values.push(operands[0]!.graph.add(recordOf(op), operands, attrs)[0]!);
      }
      return outputs.map((v, i) => shaped(values[v]!, shapes?.[i]));
    },
  },
  cost: (inputs, outputs, attrs) => {
    const types = typesOf(inputs, attrs);
    const flops = attrs.steps.reduce((sum, { op, args, attrs: own }, s) => {
      const operands = args.map((a) => types[a]!);
      return sum + recordOf(op).cost(operands, [types[inputs.length + s]!], own).flops;
    }, 0);
    return { flops, bytes: elementwiseBytes(inputs, outputs) };
  },
  samples,
  badSamples: [
    { inputs: [f32(2)], attrs: { steps: [], outputs: [] }, message: 'needs at least one step' },
    { inputs: [f32(2)], attrs: { steps: [step('relu', [1])], outputs: [1] }, message: 'reads value 1' },
    {
      inputs: [f32(2)],
      attrs: { steps: [{ op: 'softmax', args: [0], attrs: { axis: 0 } }], outputs: [1] },
      message: 'softmax(f32[2]) is not fusible',
    },
    {
      inputs: [f32(2, 3), f32(3)],
      attrs: { steps: [step('relu', [1]), step('add', [0, 2])], outputs: [3] },
      message: 'makes f32[2, 3] beside f32[3]',
    },
    { inputs: [f32(2)], attrs: { steps: [step('relu', [0])], outputs: [0] }, message: 'must name steps' },
    {
      inputs: [f32(2)],
      attrs: { steps: [step('relu', [0])], outputs: [1], views: [[3]] },
      message: 'input 0, f32[2], is viewed as f32[3]',
    },
    {
      inputs: [f32(2)],
      attrs: { steps: [step('relu', [0])], outputs: [1], shapes: [[3]] },
      message: 'output 0, f32[2], is shaped [3]',
    },
  ],
});
