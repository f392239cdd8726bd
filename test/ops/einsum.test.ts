// einsum against its definition: the sum, over every assignment of the letters, of the product of the operands' entries.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { GraphError } from '../../src/core/errors.ts';
import { uniform } from '../../src/core/random.ts';
import { elementCount, type Shape, stridesOf } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { einsum } from '../../src/ops/einsum.ts';

/** Operands drawn from a seeded stream, as inputs of one graph. */
function operandsOf(shapes: readonly Shape[], stream: string) {
  const graph = new Graph();
  const feeds = new Map<Tensor, RefTensor>();
  const operands = shapes.map((shape, i) => {
    const tensor = graph.input(`x${i}`, { shape, batchAxis: null });
    const data = uniform({ seed: 1, stream: `${stream}/${i}` }, elementCount(shape)).map((u) => 2 * u - 1);
    feeds.set(tensor, { type: tensor.type, data });
    return tensor;
  });
  return { graph, feeds, operands };
}

/** The definition. Ellipsis axes are named 0, 1 … from the right; `result` names each axis of the result. */
function direct(terms: readonly string[][], result: readonly string[], values: readonly RefTensor[]): Float64Array {
  const sizes = new Map<string, number>();
  terms.forEach((labels, i) => {
    for (const [axis, l] of labels.entries()) sizes.set(l, Math.max(sizes.get(l) ?? 1, values[i]!.type.shape[axis]!));
  });
  const labels = [...sizes.keys()];
  const steps = terms.map((own, i) => {
    const { shape } = values[i]!.type;
    const strides = stridesOf(shape);
    return labels.map((l) => own.reduce((s, o, axis) => (o === l && shape[axis] !== 1 ? s + strides[axis]! : s), 0));
  });
  const out = stridesOf(result.map((l) => sizes.get(l)!));
  const outSteps = labels.map((l) => (result.includes(l) ? out[result.indexOf(l)]! : 0));
  const y = new Float64Array(elementCount(result.map((l) => sizes.get(l)!)));
  const walk = (at: number, offsets: readonly number[], to: number): void => {
    if (at === labels.length) {
      y[to] = y[to]! + offsets.reduce((p, o, i) => p * values[i]!.data[o]!, 1);
      return;
    }
    for (let v = 0; v < sizes.get(labels[at]!)!; v++) {
      walk(
        at + 1,
        offsets.map((o, i) => o + v * steps[i]![at]!),
        to + v * outSteps[at]!,
      );
    }
  };
  walk(
    0,
    terms.map(() => 0),
    0,
  );
  return y;
}

function expectNear(actual: Float64Array, expected: Float64Array): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, e] of expected.entries()) expect(Math.abs(actual[i]! - e)).toBeLessThan(1e-10 * (1 + Math.abs(e)));
}

/** Equation, the operands' labels and the result's written out, shapes. */
const CASES: [equation: string, terms: string[], result: string, shapes: number[][]][] = [
  ['ij->ji', ['ij'], 'ji', [[2, 3]]],
  ['ij->', ['ij'], '', [[2, 3]]],
  ['ii->i', ['ii'], 'i', [[4, 4]]],
  ['ii', ['ii'], '', [[4, 4]]],
  ['iij->ij', ['iij'], 'ij', [[3, 3, 2]]],
  ['ijii->ji', ['ijii'], 'ji', [[3, 2, 3, 3]]],
  ['...ii->...i', ['10ii'], '10i', [[2, 3, 4, 4]]],
  [
    'ij,jk->ik',
    ['ij', 'jk'],
    'ik',
    [
      [2, 3],
      [3, 4],
    ],
  ],
  [
    'ij,jk',
    ['ij', 'jk'],
    'ik',
    [
      [2, 3],
      [3, 4],
    ],
  ],
  [
    'ba,ca',
    ['ba', 'ca'],
    'bc',
    [
      [2, 3],
      [4, 3],
    ],
  ],
  [
    'ji,jk->ki',
    ['ji', 'jk'],
    'ki',
    [
      [3, 2],
      [3, 4],
    ],
  ],
  [
    'bij,bjk->bik',
    ['bij', 'bjk'],
    'bik',
    [
      [2, 3, 4],
      [2, 4, 5],
    ],
  ],
  [
    'bthd,bshd->bhts',
    ['bthd', 'bshd'],
    'bhts',
    [
      [2, 3, 2, 4],
      [2, 5, 2, 4],
    ],
  ],
  [
    'bhts,bshd->bthd',
    ['bhts', 'bshd'],
    'bthd',
    [
      [2, 2, 3, 5],
      [2, 5, 2, 4],
    ],
  ],
  [
    'bti,oi->bto',
    ['bti', 'oi'],
    'bto',
    [
      [2, 3, 4],
      [5, 4],
    ],
  ],
  ['i,i->', ['i', 'i'], '', [[5], [5]]],
  ['i,i->i', ['i', 'i'], 'i', [[5], [5]]],
  ['i,j->ij', ['i', 'j'], 'ij', [[3], [4]]],
  ['i,j->ji', ['i', 'j'], 'ji', [[3], [4]]],
  [
    'ij,kl->',
    ['ij', 'kl'],
    '',
    [
      [2, 3],
      [4, 2],
    ],
  ],
  [
    'ij,ij->j',
    ['ij', 'ij'],
    'j',
    [
      [2, 3],
      [2, 3],
    ],
  ],
  [
    '...ij,...jk->...ik',
    ['0ij', '10jk'],
    '10ik',
    [
      [3, 2, 4],
      [2, 1, 4, 2],
    ],
  ],
  [
    '...i,...i',
    ['10i', '0i'],
    '10',
    [
      [2, 3, 4],
      [3, 4],
    ],
  ],
  [
    'i...,i...->...',
    ['i10', 'i0'],
    '10',
    [
      [3, 2, 4],
      [3, 4],
    ],
  ],
  ['...ij->ij', ['10ij'], 'ij', [[2, 2, 3, 2]]],
  [
    'ab,bc,cd->ad',
    ['ab', 'bc', 'cd'],
    'ad',
    [
      [2, 3],
      [3, 4],
      [4, 2],
    ],
  ],
  [
    'bn,anm,bm->ba',
    ['bn', 'anm', 'bm'],
    'ba',
    [
      [2, 3],
      [4, 3, 5],
      [2, 5],
    ],
  ],
  ['i,i,i->i', ['i', 'i', 'i'], 'i', [[3], [3], [3]]],
  [
    'ij,jk->ik',
    ['ij', 'jk'],
    'ik',
    [
      [2, 1],
      [3, 4],
    ],
  ],
  [
    'bi,bj->bij',
    ['bi', 'bj'],
    'bij',
    [
      [1, 3],
      [2, 4],
    ],
  ],
  [',i->i', ['', 'i'], 'i', [[], [3]]],
  [
    ' i j , j k -> i k ',
    ['ij', 'jk'],
    'ik',
    [
      [2, 3],
      [3, 2],
    ],
  ],
];

describe('einsum equals its definition', () => {
  it.each(CASES)('%s', (equation, terms, result, shapes) => {
    const { feeds, operands } = operandsOf(shapes, equation);
    const [y] = evaluate([einsum(equation, ...operands)], feeds);
    expectNear(
      y!.data,
      direct(
        terms.map((t) => [...t]),
        [...result],
        operands.map((t) => feeds.get(t)!),
      ),
    );
  });

  it('on random equations of one to four operands', () => {
    const letters = ['a', 'b', 'c', 'd', 'e'];
    const sizes = new Map(letters.map((l, i) => [l, [2, 3, 1, 4, 2][i]!]));
    for (let trial = 0; trial < 150; trial++) {
      const draws = uniform({ seed: 2, stream: `equation ${trial}` }, 64);
      let next = 0;
      const below = (n: number) => Math.floor(draws[next++]! * n);
      const terms = Array.from({ length: 1 + below(4) }, () =>
        Array.from({ length: below(4) }, () => letters[below(5)]!),
      );
      const present = letters.filter((l) => terms.flat().includes(l));
      const result = present
        .filter(() => below(2) === 1)
        .sort((a, b) => (draws[letters.indexOf(a)]! < draws[letters.indexOf(b)]! ? -1 : 1));
      const equation = `${terms.map((t) => t.join('')).join(',')}->${result.join('')}`;
      const { feeds, operands } = operandsOf(
        terms.map((t) => t.map((l) => sizes.get(l)!)),
        equation,
      );
      const [y] = evaluate([einsum(equation, ...operands)], feeds);
      expectNear(
        y!.data,
        direct(
          terms,
          result,
          operands.map((t) => feeds.get(t)!),
        ),
      );
    }
  });
});

describe('einsum', () => {
  it('contracts by matmul, without moving operands that lie right', () => {
    const names = (equation: string, ...shapes: number[][]) => {
      const { graph, operands } = operandsOf(shapes, equation);
      einsum(equation, ...operands);
      return graph.nodes.flatMap((n) => n.op?.name ?? []);
    };
    expect(names('ij,jk->ik', [2, 3], [3, 4])).toEqual(['matmul']);
    expect(names('ij,kj->ik', [2, 3], [4, 3])).toEqual(['matmul']);
    expect(names('bij,bkj->bik', [2, 3, 4], [2, 5, 4])).toEqual(['matmul']);
    expect(names('bti,oi->bto', [2, 3, 4], [5, 4])).toEqual(['reshape', 'matmul', 'reshape']);
    expect(names('i,i->i', [3], [3])).toEqual(['mul']);
  });

  it('builds the same nodes for a chunk of one sample', () => {
    for (const [equation, ...shapes] of [
      ['bti,oi->bto', [0, 3, 4], [5, 4]],
      ['bthd,bshd->bhts', [0, 3, 2, 4], [0, 5, 2, 4]],
      ['bn,anm,bm->ba', [0, 3], [4, 3, 5], [0, 5]],
      ['tb,i->tbi', [3, 0], [4]],
      ['tbi,ij->bj', [3, 0, 4], [4, 2]],
    ] as [string, ...number[][]][]) {
      const build = (batch: number) => {
        const { graph, operands } = operandsOf(
          shapes.map((s) => s.map((d) => d || batch)),
          equation,
        );
        const y = einsum(equation, ...operands);
        gradients([{ tensor: y, cotangent: graph.input('dy', { shape: y.shape, batchAxis: null }) }], operands);
        return graph.nodes.map((n) => `${n.name} ${n.op?.name} ${n.inputs.map((t) => t.name)}`);
      };
      expect(build(1)).toEqual(build(3));
    }
  });

  it('has the gradient of its definition', () => {
    const equation = 'bij,bjk,kb->ib';
    const shapes = [
      [2, 3, 4],
      [2, 4, 2],
      [2, 2],
    ];
    const { graph, feeds, operands } = operandsOf(shapes, equation);
    const y = einsum(equation, ...operands);
    const dy = graph.input('dy', { shape: y.shape, batchAxis: null });
    feeds.set(dy, { type: dy.type, data: uniform({ seed: 3, stream: 'dy' }, 6) });
    const found = evaluate(
      gradients([{ tensor: y, cotangent: dy }], operands).map((g) => g!),
      feeds,
    );
    const terms = ['bij', 'bjk', 'kb'];
    terms.forEach((term, i) => {
      // The others and dy, summed to this operand's letters.
      const others = [...terms.filter((_, j) => j !== i), 'ib'].map((t) => [...t]);
      const values = [...operands.filter((_, j) => j !== i), dy].map((t) => feeds.get(t)!);
      expectNear(found[i]!.data, direct(others, [...term], values));
    });
  });

  it('says what is wrong with an equation', () => {
    const { graph, operands } = operandsOf(
      [
        [2, 3],
        [3, 4],
      ],
      'wrong',
    );
    const [a, b] = operands as [Tensor, Tensor];
    const integers = graph.input('n', { dtype: 'i32', shape: [3], batchAxis: null });
    for (const [attempt, reason] of [
      [() => einsum('ij,jk->ik', a), '2 operands are named and 1 given'],
      [() => einsum('i,jk->k', a, b), "'i' names 1 axes of operand 0, which is [2, 3]"],
      [() => einsum('ij,ik->jk', a, b), 'i is 2 and 3'],
      [() => einsum('ij,jk->il', a, b), "the result's l is in no operand"],
      [() => einsum('ij,jk->ii', a, b), 'the result names i twice'],
      [() => einsum('i.j,jk->i', a, b), "'i.j' must be letters with at most one '...'"],
      [() => einsum('ij->i->j', a), 'more than one ->'],
      [() => einsum('i->', integers), 'operand 0 must be f32, not i32'],
    ] as const) {
      expect(attempt).toThrow(GraphError);
      expect(attempt).toThrow(reason);
    }
  });
});
