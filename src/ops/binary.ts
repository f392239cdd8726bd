import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { binary, broadcastSamples, divisor, integerSamples } from './binary-record.ts';
import { sumTo } from './broadcast.ts';
import { and, equal, greaterEqual, less, where } from './compare.ts';
import { lift, type Operand } from './define.ts';
import { abs, log, neg } from './unary.ts';

export const addOp = binary({
  name: 'add',
  doc: 'y = a + b. ONNX Add, torch.add.',
  f: (a, b) => a + b,
  integers: (a, b) => a + b,
  gradient: (_a, _b, dy, _y, { needs }) => [needs(0) ? dy : undefined, needs(1) ? dy : undefined],
  samples: [...broadcastSamples({}, {}), ...integerSamples()],
});

export const subOp = binary({
  name: 'sub',
  doc: 'y = a − b. ONNX Sub, torch.sub.',
  f: (a, b) => a - b,
  integers: (a, b) => a - b,
  gradient: (_a, b, dy, _y, { needs }) => [needs(0) ? dy : undefined, needs(1) ? neg(sumTo(dy, b.shape)) : undefined],
  samples: [...broadcastSamples({}, {}), ...integerSamples()],
});

export const mulOp = binary({
  name: 'mul',
  doc: 'y = a · b. ONNX Mul, torch.mul.',
  f: (a, b) => a * b,
  integers: Math.imul,
  gradient: (a, b, dy, _y, { needs }) => [needs(0) ? mul(dy, b) : undefined, needs(1) ? mul(dy, a) : undefined],
  samples: [...broadcastSamples({}, {}), ...integerSamples()],
});

export const divOp = binary({
  name: 'div',
  doc: 'y = a / b; integers towards zero, and a zero divisor is an error. ONNX Div, torch.div (rounding_mode trunc).',
  f: (a, b) => a / b,
  integers: (a, b) => Math.trunc(a / divisor(b)),
  // ∂(a/b)/∂b = −y/b
  gradient: (_a, b, dy, y, { needs }) => [
    needs(0) ? div(dy, b) : undefined,
    needs(1) ? neg(div(mul(dy, y), b)) : undefined,
  ],
  samples: [...broadcastSamples({}, { low: 0.5, high: 2 }), ...integerSamples()],
});

/** a^b modulo 2³². A negative exponent means 1/a^|b| towards zero: 0, but for a = ±1 (PyTorch; 0 for a = 0 as well). */
function integerPower(a: number, b: number): number {
  if (b < 0) return a === 1 || a === -1 ? a ** (b & 1) : 0;
  let y = 1;
  for (let [base, rest] = [a, b]; rest > 0; base = Math.imul(base, base), rest >>= 1) {
    if (rest & 1) y = Math.imul(y, base);
  }
  return y;
}

/** Below it (in magnitude) 1/a leaves the range of f32. */
const smallestNormal = 2 ** -126;

export const powOp = binary({
  name: 'pow',
  doc: 'y = a^b. ONNX Pow, torch.pow. At a = 0 the gradients are PyTorch’s: 0 for b where b ≥ 0, and 0 for a where b = 0. Integers: a negative exponent gives 1/a^|b| towards zero.',
  f: (a, b) => (a === 1 ? 1 : a === -1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b),
  integers: integerPower,
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
    {
      name: 'i32, column and row',
      inputs: [
        { shape: [9, 1], dtype: 'i32', values: [0, 1, -1, 2, -2, 3, 46341, -2147483648, 2147483647] },
        { shape: [9], dtype: 'i32', values: [0, 1, 2, 3, 31, 2147483647, -1, -2, -2147483648] },
      ],
      attrs: {},
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
  f: Math.max,
  integers: Math.max,
  gradient: (a, b, dy, _y, { needs }) => [
    needs(0) ? winner(less(a, b), equal(a, b), dy) : undefined,
    needs(1) ? winner(less(b, a), equal(a, b), dy) : undefined,
  ],
  samples: [...awayFromTies(), ...integerSamples()],
});

export const minimumOp = binary({
  name: 'minimum',
  doc: 'y = min(a, b), NaN where either is NaN; at ties each side gets half the gradient. ONNX Min, torch.minimum.',
  f: Math.min,
  integers: Math.min,
  gradient: (a, b, dy, _y, { needs }) => [
    needs(0) ? winner(less(b, a), equal(a, b), dy) : undefined,
    needs(1) ? winner(less(a, b), equal(a, b), dy) : undefined,
  ],
  samples: [...awayFromTies(), ...integerSamples()],
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
