/** Remainders of division, with the sign of the divisor or of the dividend. */
import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { div, mul, sub } from './binary.ts';
import { binary, divisor, integerSamples } from './binary-record.ts';
import { lift, type Operand } from './define.ts';
import { round } from './rounding.ts';
import { neg } from './unary.ts';

/** y = a − q·b: 1 for a, −q for b. The quotient is found again from y, so that it is the one that y was made with. */
const gradient = (a: Tensor, b: Tensor, dy: Tensor, y: Tensor, needs: (i: number) => boolean) => [
  needs(0) ? dy : undefined,
  needs(1) ? neg(mul(dy, round(div(sub(a, y), b)))) : undefined,
];

/** Python's %: of the sign of b. */
function modulo(a: number, b: number): number {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

/** Quotients at least 0.04 from whole numbers, where both functions jump. */
const samples: readonly Sample[] = [
  {
    name: 'same shape',
    inputs: [
      { shape: [2, 4], values: [5.3, -5.3, 5.3, -5.3, 0.7, -0.7, 9.1, -20.2] },
      { shape: [2, 4], values: [2, 2, -2, -2, 3, 3, 0.8, -1.5] },
    ],
    attrs: {},
  },
  {
    name: 'column and row',
    inputs: [
      { shape: [5, 1], values: [7.3, -4.6, 3.1, -12.6, 0.4] },
      { shape: [3], values: [1.7, -2.4, 5.2] },
    ],
    attrs: {},
  },
  {
    name: 'scalar divisor',
    inputs: [
      { shape: [3], values: [2.5, -1.25, 4.1] },
      { shape: [], values: [1.1] },
    ],
    attrs: {},
  },
  {
    name: 'special values',
    inputs: [
      { shape: [12, 1], values: [0, -0, 1, -1, 6, -6, 1e30, -3e38, 1e-40, Infinity, -Infinity, Number.NaN] },
      { shape: [9], values: [0, 1, -1, 3, -3, 1e-30, Infinity, -Infinity, Number.NaN] },
    ],
    attrs: {},
    gradientOf: [],
  },
  ...integerSamples(),
];

export const modOp = binary({
  name: 'mod',
  doc: 'y = a − ⌊a/b⌋·b, of the sign of b (Python’s %). An integer zero divisor is an error. ONNX Mod (fmod = 0), torch.remainder.',
  f: modulo,
  integers: (a, b) => modulo(a, divisor(b)),
  gradient: (a, b, dy, y, { needs }) => gradient(a, b, dy, y, needs),
  flops: 10,
  samples,
});

export const fmodOp = binary({
  name: 'fmod',
  doc: 'y = a − q·b, q = a/b towards zero: of the sign of a (C’s fmod). An integer zero divisor is an error. ONNX Mod (fmod = 1), torch.fmod.',
  f: (a, b) => a % b,
  integers: (a, b) => a % divisor(b),
  gradient: (a, b, dy, y, { needs }) => gradient(a, b, dy, y, needs),
  flops: 8,
  samples,
});

const build =
  (op: OpRecord) =>
  (a: Operand, b: Operand): Tensor => {
    const [ta, tb] = lift(a, b);
    return ta!.graph.add(op, [ta!, tb!], {})[0]!;
  };

/** The remainder of a / b with the sign of b (Python's %). */
export const mod = build(modOp);
/** The remainder of a / b with the sign of a (C's fmod). */
export const fmod = build(fmodOp);
