/**
 * ONNX's formulas for LSTM, GRU and RNN in f64, written straight from the operators' documentation and from nothing else:
 * one sample, one step, one unit at a time. Gates in ONNX's order.
 */
export type Activation = readonly [name: string, alpha?: number, beta?: number];

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export function activation([name, alpha = 0, beta = 0]: Activation): (x: number) => number {
  switch (name) {
    case 'affine':
      return (x) => alpha * x + beta;
    case 'relu':
      return (x) => (x > 0 ? x : 0);
    case 'leakyRelu':
      return (x) => (x >= 0 ? x : alpha * x);
    case 'thresholdedRelu':
      return (x) => (x >= alpha ? x : 0);
    case 'scaledTanh':
      return (x) => alpha * Math.tanh(beta * x);
    case 'hardSigmoid':
      return (x) => Math.min(Math.max(alpha * x + beta, 0), 1);
    case 'elu':
      return (x) => (x >= 0 ? x : alpha * (Math.exp(x) - 1));
    case 'softsign':
      return (x) => x / (1 + Math.abs(x));
    case 'softplus':
      return (x) => Math.log(1 + Math.exp(x));
    case 'sigmoid':
      return sigmoid;
    case 'tanh':
      return Math.tanh;
    default:
      throw new Error(`no formula for ${name}`);
  }
}

type Matrix = readonly (readonly number[])[];

export interface Case {
  readonly steps: number;
  readonly batch: number;
  readonly inputs: number;
  readonly size: number;
  readonly reverse?: boolean;
  readonly lengths?: readonly number[];
  readonly clip?: number;
  readonly activations?: readonly Activation[];
  /** LSTM: forget = 1 − input. */
  readonly inputForget?: boolean;
  /** GRU: linear_before_reset. */
  readonly resetAfter?: boolean;
}

/** Row-major values by operand: x [T, N, I], w [G·H, I], r [G·H, H], bw and br [G·H], h0 and c0 [N, H], p [3·H]. */
export type Operands = Readonly<
  Record<'x' | 'w' | 'r' | 'bw' | 'br' | 'h0' | 'c0' | 'p', ArrayLike<number> | undefined>
>;

export interface Results {
  /** [T, N, H] */
  readonly output: number[];
  readonly hN: number[];
  readonly cN: number[];
}

const rows = (data: ArrayLike<number> | undefined, count: number, width: number): Matrix =>
  Array.from({ length: count }, (_, i) => Array.from({ length: width }, (__, j) => data?.[i * width + j] ?? 0));

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

/** Plays one sample after the other; `step` gives the next [h, c]. */
function play(
  c: Case,
  o: Operands,
  step: (x: readonly number[], h: readonly number[], cell: readonly number[]) => [number[], number[]],
): Results {
  const x = rows(o.x, c.steps * c.batch, c.inputs);
  const [h0, c0] = [rows(o.h0, c.batch, c.size), rows(o.c0, c.batch, c.size)];
  const output: number[][] = Array.from({ length: c.steps * c.batch }, () => new Array<number>(c.size).fill(0));
  const finals: [number[], number[]][] = [];
  for (let n = 0; n < c.batch; n++) {
    const length = c.lengths?.[n] ?? c.steps;
    let state: [number[], number[]] = [[...h0[n]!], [...c0[n]!]];
    for (let k = 0; k < length; k++) {
      const t = c.reverse ? length - 1 - k : k;
      state = step(x[t * c.batch + n]!, ...state);
      output[t * c.batch + n] = state[0];
    }
    finals.push(state);
  }
  return { output: output.flat(), hN: finals.flatMap((s) => s[0]), cN: finals.flatMap((s) => s[1]) };
}

/** Weights as blocks of rows, one a gate. */
function gates(o: Operands, c: Case, count: number) {
  const [w, r] = [rows(o.w, count * c.size, c.inputs), rows(o.r, count * c.size, c.size)];
  const [bw, br] = [rows(o.bw, count, c.size), rows(o.br, count, c.size)];
  const row = (gate: number, j: number): number => gate * c.size + j;
  return {
    /** X·Wᵀ + Wb of one unit */
    input: (x: readonly number[], gate: number, j: number) => dot(x, w[row(gate, j)]!) + bw[gate]![j]!,
    /** H·Rᵀ + Rb */
    state: (h: readonly number[], gate: number, j: number) => dot(h, r[row(gate, j)]!) + br[gate]![j]!,
  };
}

const clipper = (c: Case) => (x: number) => (c.clip === undefined ? x : Math.min(Math.max(x, -c.clip), c.clip));
const units = (c: Case): number[] => Array.from({ length: c.size }, (_, j) => j);

export function lstmFormula(c: Case, o: Operands): Results {
  const { input, state } = gates(o, c, 4);
  const [f, g, h] = (c.activations ?? [['sigmoid'], ['tanh'], ['tanh']]).map(activation) as [
    (x: number) => number,
    (x: number) => number,
    (x: number) => number,
  ];
  const clip = clipper(c);
  const p = rows(o.p, 3, c.size);
  return play(c, o, (x, hPrev, cPrev) => {
    const cell: number[] = [];
    const hidden = units(c).map((j) => {
      const pre = (gate: number) => input(x, gate, j) + state(hPrev, gate, j);
      const it = f(clip(pre(0) + p[0]![j]! * cPrev[j]!));
      const ft = c.inputForget ? 1 - it : f(clip(pre(2) + p[2]![j]! * cPrev[j]!));
      const ct = g(clip(pre(3)));
      cell[j] = ft * cPrev[j]! + it * ct;
      const ot = f(clip(pre(1) + p[1]![j]! * cell[j]!));
      return ot * h(cell[j]!);
    });
    return [hidden, cell];
  });
}

export function gruFormula(c: Case, o: Operands): Results {
  const { input, state } = gates(o, c, 3);
  const [f, g] = (c.activations ?? [['sigmoid'], ['tanh']]).map(activation) as [
    (x: number) => number,
    (x: number) => number,
  ];
  const clip = clipper(c);
  return play(c, o, (x, hPrev, cell) => {
    const z = units(c).map((j) => f(clip(input(x, 0, j) + state(hPrev, 0, j))));
    const r = units(c).map((j) => f(clip(input(x, 1, j) + state(hPrev, 1, j))));
    const gated = hPrev.map((v, j) => r[j]! * v);
    const hidden = units(c).map((j) => {
      const recurrent = c.resetAfter ? r[j]! * state(hPrev, 2, j) : state(gated, 2, j);
      const candidate = g(clip(input(x, 2, j) + recurrent));
      return (1 - z[j]!) * candidate + z[j]! * hPrev[j]!;
    });
    return [hidden, [...cell]];
  });
}

export function rnnFormula(c: Case, o: Operands): Results {
  const { input, state } = gates(o, c, 1);
  const f = activation(c.activations?.[0] ?? ['tanh']);
  const clip = clipper(c);
  return play(c, o, (x, hPrev, cell) => [units(c).map((j) => f(clip(input(x, 0, j) + state(hPrev, 0, j)))), [...cell]]);
}
