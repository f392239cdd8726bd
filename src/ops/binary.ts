import { elementCount, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type BadSample, type GradientContext, type OpRecord, require, type Sample } from '../graph/op-record.ts';
import { broadcastMap, broadcastOf, sumTo } from './broadcast.ts';
import { and, equal, greaterEqual, less, where } from './compare.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp, lift, type Operand } from './define.ts';
import { abs, log, neg } from './unary.ts';

/** What sets one binary function apart from the others. */
interface BinarySpec {
  readonly name: string;
  readonly doc: string;
  readonly f: (a: number, b: number) => number;
  /** Cotangents at the broadcast shape; they are summed to the operands' shapes here. */
  readonly gradient: (a: Tensor, b: Tensor, dy: Tensor, y: Tensor, context: GradientContext) => (Tensor | undefined)[];
  /** FLOPs an element: 1 for what is one instruction, more for what is a polynomial. */
  readonly flops?: number;
  readonly samples: readonly Sample[];
}

function binary(spec: BinarySpec): OpRecord {
  return defineOp({
    name: spec.name,
    doc: `${spec.doc} f32, NumPy broadcasting.`,
    infer: ([a, b]) => {
      require(a && b, 'takes two tensors');
      for (const t of [a, b]) require(t.dtype === 'f32', `operands must be f32, not ${t.dtype}`);
      return [{ dtype: 'f32', shape: broadcastOf(a.shape, b.shape) }];
    },
    reference: ([a, b], _, [y]) => {
      const ia = broadcastMap(a!.type.shape, y!.shape);
      const ib = broadcastMap(b!.type.shape, y!.shape);
      return [Float64Array.from(ia, (at, i) => spec.f(a!.data[at]!, b!.data[ib[i]!]!))];
    },
    gradient: {
      kind: 'rule',
      rule: (context) => {
        const [a, b] = context.inputs as [Tensor, Tensor];
        const parts = spec.gradient(a, b, context.grads[0]!, context.outputs[0]!, context);
        return parts.map((g, i) => g && sumTo(g, context.inputs[i]!.shape));
      },
    },
    cost: (inputs, [y]) => ({
      flops: (spec.flops ?? 1) * elementCount(y!.shape),
      bytes: elementwiseBytes(inputs, [y!]),
    }),
    samples: spec.samples,
    badSamples: badOperands,
  });
}

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

const badOperands: readonly BadSample[] = [
  { inputs: [f32(2, 3), f32(4)], attrs: {}, message: 'axis -1 is 3 and 4' },
  { inputs: [f32(2, 3), f32(3, 3)], attrs: {}, message: 'axis -2 is 2 and 3' },
  { inputs: [f32(2), { dtype: 'i32', shape: [2] }], attrs: {}, message: 'operands must be f32, not i32' },
];

type Range = { low?: number; high?: number; distinct?: number; awayFrom?: readonly number[] };

/** The shapes that broadcasting has to get right: equal, odd sizes, rows, columns, both ways, scalars, alternating axes. */
function broadcastSamples(a: Range, b: Range, base: Partial<Sample> = {}): Sample[] {
  const shapes: [string, number[], number[]][] = [
    ['same shape', [3, 5], [3, 5]],
    ['row', [4, 7], [7]],
    ['column', [2, 1, 3], [4, 1]],
    ['scalar', [], [3, 3]],
    ['one element', [1, 1], [1]],
    ['alternating axes', [2, 1, 3, 1, 2], [1, 2, 1, 3, 2]],
    ['six axes', [2, 1, 2, 1, 2, 1], [1, 2, 1, 3, 1, 2]],
  ];
  return shapes.map(([name, sa, sb]) => ({
    ...base,
    name,
    inputs: [
      { shape: sa, ...a },
      { shape: sb, ...b },
    ],
    attrs: {},
  }));
}

export const addOp = binary({
  name: 'add',
  doc: 'y = a + b. ONNX Add, torch.add.',
  f: (a, b) => a + b,
  gradient: (_a, _b, dy, _y, { needs }) => [needs(0) ? dy : undefined, needs(1) ? dy : undefined],
  samples: broadcastSamples({}, {}),
});

export const subOp = binary({
  name: 'sub',
  doc: 'y = a − b. ONNX Sub, torch.sub.',
  f: (a, b) => a - b,
  gradient: (_a, b, dy, _y, { needs }) => [needs(0) ? dy : undefined, needs(1) ? neg(sumTo(dy, b.shape)) : undefined],
  samples: broadcastSamples({}, {}),
});

export const mulOp = binary({
  name: 'mul',
  doc: 'y = a · b. ONNX Mul, torch.mul.',
  f: (a, b) => a * b,
  gradient: (a, b, dy, _y, { needs }) => [needs(0) ? mul(dy, b) : undefined, needs(1) ? mul(dy, a) : undefined],
  samples: broadcastSamples({}, {}),
});

export const divOp = binary({
  name: 'div',
  doc: 'y = a / b. ONNX Div, torch.div.',
  f: (a, b) => a / b,
  // ∂(a/b)/∂b = −y/b
  gradient: (_a, b, dy, y, { needs }) => [
    needs(0) ? div(dy, b) : undefined,
    needs(1) ? neg(div(mul(dy, y), b)) : undefined,
  ],
  samples: broadcastSamples({}, { low: 0.5, high: 2 }),
});

/** Below it (in magnitude) 1/a leaves the range of f32. */
const smallestNormal = 2 ** -126;

export const powOp = binary({
  name: 'pow',
  doc: 'y = a^b. ONNX Pow, torch.pow. At a = 0 the gradients are PyTorch’s: 0 for b where b ≥ 0, and 0 for a where b = 0.',
  f: (a, b) => (a === 1 ? 1 : a === -1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b),
  gradient: (a, b, dy, y, { needs }) => [
    needs(0) ? powBase(a, b, dy) : undefined,
    // a^b·ln a, whose limit at a = 0 is 0 for b > 0: the logarithm is taken of 1 there, so that no 0·∞ arises in the
    // gradient of this gradient either.
    needs(1) ? mul(dy, mul(y, log(where(and(equal(a, 0), greaterEqual(b, 0)), 1, a)))) : undefined,
  ],
  flops: 20,
  samples: [
    ...broadcastSamples({ low: 0.5, high: 2 }, { low: -1.5, high: 2.5 }),
    {
      name: 'negative base, whole exponents',
      inputs: [
        { shape: [6], values: [-2, -1.5, -0.5, 0.5, 1.5, -1] },
        { shape: [6], values: [2, 3, -1, -2, 0, 4] },
      ],
      attrs: {},
      gradientOf: [0],
    },
  ],
});

/** dy·b·a^(b−1) */
function powBase(a: Tensor, b: Tensor, dy: Tensor): Tensor | undefined {
  const constant = b.node.source?.kind === 'constant' && b.rank === 0 ? b.node.source.value![0] : undefined;
  if (constant === 0) return undefined;
  if (constant === 1) return dy;
  if (constant === 2) return mul(dy, mul(a, 2));
  if (constant !== undefined) return mul(dy, mul(pow(a, constant - 1), constant));
  // 0·0^(−1) is 0 here. The exponent is replaced only where a itself vanishes: elsewhere the derivative by b at b = 0
  // (1/a, in second-order gradients) must stay.
  const vanishes = and(equal(b, 0), less(abs(a), smallestNormal));
  return mul(dy, mul(b, pow(a, where(vanishes, 0, sub(b, 1)))));
}

/** Shared by maximum and minimum: all of dy to the winner, half each at ties (PyTorch). */
const winner = (lost: Tensor, tie: Tensor, dy: Tensor): Tensor => where(lost, 0, where(tie, mul(dy, 0.5), dy));

export const maximumOp = binary({
  name: 'maximum',
  doc: 'y = max(a, b), NaN where either is NaN; at ties each side gets half the gradient. ONNX Max, torch.maximum.',
  f: (a, b) => Math.max(a, b),
  gradient: (a, b, dy, _y, { needs }) => [
    needs(0) ? winner(less(a, b), equal(a, b), dy) : undefined,
    needs(1) ? winner(less(b, a), equal(a, b), dy) : undefined,
  ],
  samples: awayFromTies(),
});

export const minimumOp = binary({
  name: 'minimum',
  doc: 'y = min(a, b), NaN where either is NaN; at ties each side gets half the gradient. ONNX Min, torch.minimum.',
  f: (a, b) => Math.min(a, b),
  gradient: (a, b, dy, _y, { needs }) => [
    needs(0) ? winner(less(b, a), equal(a, b), dy) : undefined,
    needs(1) ? winner(less(a, b), equal(a, b), dy) : undefined,
  ],
  samples: awayFromTies(),
});

/** The operands' values lie on interleaved grids, so that no draw comes near a tie. */
function awayFromTies(): Sample[] {
  const grid = (n: number, offset: number) =>
    Array.from({ length: n }, (_, i) => ((i * 7) % n) * 0.25 - n / 8 + offset);
  const shapes: [string, number[], number[]][] = [
    ['same shape', [3, 5], [3, 5]],
    ['row and column', [4, 1], [7]],
    ['alternating axes', [2, 1, 3, 1, 2], [1, 2, 1, 3, 2]],
    ['scalar', [], [3, 3]],
  ];
  return shapes.map(([name, a, b]) => ({
    name,
    inputs: [
      { shape: a, values: grid(elementCount(a), 0) },
      { shape: b, values: grid(elementCount(b), 0.125) },
    ],
    attrs: {},
  }));
}

const build =
  (op: OpRecord) =>
  (a: Operand, b: Operand): Tensor => {
    const [ta, tb] = lift(a, b);
    return ta!.graph.add(op, [ta!, tb!], {})[0]!;
  };

/** a + b */
export const add = build(addOp);
/** a − b */
export const sub = build(subOp);
/** a · b, element by element */
export const mul = build(mulOp);
/** a / b */
export const div = build(divOp);
/** a^b */
export const pow = build(powOp);
/** The larger of a and b, element by element. */
export const maximum = build(maximumOp);
/** The smaller of a and b, element by element. */
export const minimum = build(minimumOp);
