/**
 * What the records of functions of two broadcast operands have in common. Function declarations only: modules that import
 * each other in a circle may call them before this one has run.
 */
import { elementCount } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import {
  type BadSample,
  type GradientContext,
  type OpRecord,
  OpValueError,
  require,
  type Sample,
} from '../graph/op-record.ts';
import { broadcastMap, broadcastOf, sumTo } from './broadcast.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/** What sets one binary function apart from the others. */
interface BinarySpec {
  readonly name: string;
  readonly doc: string;
  readonly f: (a: number, b: number) => number;
  /** Where a pair of i32 is taken too: the same function of integers, to be wrapped modulo 2^32. */
  readonly integers?: (a: number, b: number) => number;
  /** Cotangents at the broadcast shape; they are summed to the operands' shapes here. */
  readonly gradient: (a: Tensor, b: Tensor, dy: Tensor, y: Tensor, context: GradientContext) => (Tensor | undefined)[];
  /** FLOPs an element: 1 for what is one instruction, more for what is a polynomial. */
  readonly flops?: number;
  readonly samples: readonly Sample[];
}

/** A record of y = f(a, b), element by element. */
export function binary(spec: BinarySpec): OpRecord {
  const { integers } = spec;
  return defineOp({
    name: spec.name,
    doc: `${spec.doc} ${integers ? 'Both f32 or both i32 (modulo 2³²)' : 'f32'}, NumPy broadcasting.`,
    infer: ([a, b]) => {
      require(a && b, 'takes two tensors');
      if (integers) {
        require(a.dtype === b.dtype &&
          a.dtype !== 'bool', `operands must be both f32 or both i32, not ${a.dtype} and ${b.dtype}`);
      } else {
        for (const t of [a, b]) require(t.dtype === 'f32', `operands must be f32, not ${t.dtype}`);
      }
      return [{ dtype: a.dtype, shape: broadcastOf(a.shape, b.shape) }];
    },
    reference: ([a, b], _, [y]) => {
      const ia = broadcastMap(a!.type.shape, y!.shape);
      const ib = broadcastMap(b!.type.shape, y!.shape);
      const f = integers && y!.dtype === 'i32' ? (p: number, q: number) => integers(p, q) | 0 : spec.f;
      return [Float64Array.from(ia, (at, i) => f(a!.data[at]!, b!.data[ib[i]!]!))];
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
    badSamples: badOperands(integers !== undefined),
  });
}

function badOperands(integers: boolean): BadSample[] {
  const shaped = (a: number[], b: number[], message: string): BadSample => ({
    inputs: [a, b].map((shape) => ({ dtype: 'f32', shape })),
    attrs: {},
    message,
  });
  return [
    shaped([2, 3], [4], 'axis -1 is 3 and 4'),
    shaped([2, 3], [3, 3], 'axis -2 is 2 and 3'),
    {
      inputs: [
        { dtype: 'f32', shape: [2] },
        { dtype: 'i32', shape: [2] },
      ],
      attrs: {},
      message: integers ? 'operands must be both f32 or both i32, not f32 and i32' : 'operands must be f32, not i32',
    },
  ];
}

type Range = { low?: number; high?: number; distinct?: number; awayFrom?: readonly number[] };

/** The shapes that broadcasting has to get right: equal, odd sizes, rows, columns, both ways, scalars, alternating axes. */
export function broadcastSamples(a: Range, b: Range, base: Partial<Sample> = {}): Sample[] {
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

/** Pairs of integers: all tails of a row, a column beside a row, and results that wrap. */
export function integerSamples(): Sample[] {
  const ends = [-2147483648, 2147483647, -2147483648, 2147483647, 65537, -16777217];
  return [
    {
      name: 'i32',
      inputs: [
        { shape: [7], dtype: 'i32', low: -50, high: 50 },
        { shape: [7], dtype: 'i32', low: 1, high: 9 },
      ],
      attrs: {},
    },
    {
      name: 'i32, column and row',
      inputs: [
        { shape: [5, 1], dtype: 'i32', low: -50, high: 50 },
        { shape: [3], dtype: 'i32', values: [-3, 2, 7] },
      ],
      attrs: {},
    },
    {
      name: 'i32, wrapping around',
      inputs: [
        { shape: [ends.length], dtype: 'i32', values: ends },
        { shape: [ends.length], dtype: 'i32', values: [-1, 1, 2147483647, -2147483648, 65537, -7] },
      ],
      attrs: {},
    },
  ];
}

/** An integer to divide by, checked: a kernel traps where this throws. */
export function divisor(b: number): number {
  if (b === 0) throw new OpValueError('an integer is divided by zero');
  return b;
}
