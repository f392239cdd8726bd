import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { elementCount } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { mergeCommonSubexpressions } from '../../src/graph/passes/common-subexpressions.ts';
import { foldConstants } from '../../src/graph/passes/constant-folding.ts';
import { eliminateDeadCode } from '../../src/graph/passes/dead-code.ts';
import { printGraph } from '../../src/graph/print.ts';
import { rewrite } from '../../src/graph/rewrite.ts';
import { verify } from '../../src/graph/verify.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { add, maximum, mul, neg, sub } from '../../src/ops/elementwise.ts';
import { broadcastTo } from '../../src/ops/shape.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { mlp, tied, trained, zeros } from './models.ts';

const passes = { eliminateDeadCode, mergeCommonSubexpressions, foldConstants, copy: (g: Graph) => rewrite(g, {}) };

/** What random graphs are made of: an op and two earlier values, by index from the end. */
interface Step {
  op: 'add' | 'sub' | 'max' | 'neg' | 'constant';
  a: number;
  b: number;
  value: number;
}
const steps = fc.array(
  fc.record({
    op: fc.constantFrom<Step['op']>('add', 'sub', 'max', 'neg', 'constant'),
    a: fc.nat(5),
    b: fc.nat(5),
    value: fc.integer({ min: -2, max: 2 }),
  }),
  { minLength: 1, maxLength: 18 },
);

/** Whole numbers below 2²⁴ throughout, so that rounding to f32 is exact and results must be equal. */
function randomGraph(list: readonly Step[], results: readonly number[]): Graph {
  const graph = new Graph();
  const values: Tensor[] = [graph.input('x', { shape: [3] }), graph.parameter('w', [3], zeros)];
  const pick = (back: number) => values[Math.max(0, values.length - 1 - back)]!;
  for (const { op, a, b, value } of list) {
    const make = {
      add: () => add(pick(a), pick(b)),
      sub: () => sub(pick(a), pick(b)),
      max: () => maximum(pick(a), pick(b)),
      neg: () => neg(pick(a)),
      constant: () => graph.scalar(value),
    };
    values.push(make[op]());
  }
  results.forEach((r, i) => void graph.output(`y${i}`, values[r % values.length]!));
  return graph;
}

function outputsOf(graph: Graph, feed: readonly number[]): Record<string, number[]> {
  const feeds = new Map<Tensor, RefTensor>();
  for (const t of [...graph.sources('input'), ...graph.parameters]) {
    const own = feed.slice(0, elementCount(t.shape));
    feeds.set(t, { type: t.type, data: Float64Array.from(own, (v) => (t.node.source!.kind === 'input' ? v : v + 1)) });
  }
  const names = [...graph.outputs.keys()];
  const values = evaluate([...graph.outputs.values()], feeds);
  return Object.fromEntries(names.map((name, i) => [name, [...values[i]!.data].map((v) => v + 0)]));
}

describe('every pass', () => {
  for (const [name, pass] of Object.entries(passes)) {
    it(`${name} preserves the outputs of random graphs, and settles`, () => {
      fc.assert(
        fc.property(
          steps,
          fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }),
          fc.tuple(fc.integer({ min: -3, max: 3 }), fc.nat(3), fc.nat(3)),
          (list, results, feed) => {
            const before = randomGraph(list, results);
            const after = pass(before);
            verify(after);
            expect(outputsOf(after, feed)).toEqual(outputsOf(before, feed));
            expect(after.nodes.length).toBeLessThanOrEqual(before.nodes.length);
            expect(printGraph(pass(after))).toBe(printGraph(after));
          },
        ),
        { numRuns: 300 },
      );
    });

    it(`${name} keeps a training graph whole`, () => {
      for (const kind of ['sgd', 'adam'] as const) {
        for (const model of [mlp(3), tied()]) {
          const before = trained(model, { optimizer: makeOptimizer({ kind }), fetch: { gradients: true } });
          const after = pass(before);
          verify(after);
          expect([...after.outputs.keys()]).toEqual([...before.outputs.keys()]);
          expect(after.assignments.map((a) => a.target.name)).toEqual(before.assignments.map((a) => a.target.name));
          expect(outputsOf(after, ones(before))).toEqual(outputsOf(before, ones(before)));
        }
      }
    });
  }

  it('leaves the graph it is given alone', () => {
    const graph = trained(mlp(2));
    const text = printGraph(graph);
    for (const pass of Object.values(passes)) pass(graph);
    expect(printGraph(graph)).toBe(text);
  });
});

/** Enough values for the largest source, all small whole numbers. */
const ones = (graph: Graph): number[] =>
  Array.from(
    { length: Math.max(...graph.nodes.map((n) => n.outputs[0]!.shape.reduce((a, b) => a * b, 1))) },
    (_, i) => i % 3,
  );

describe('eliminateDeadCode', () => {
  it('drops what nothing depends on and keeps inputs and parameters', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    graph.parameter('unused', [5], zeros);
    graph.feed('rate', { dtype: 'f32', shape: [] }, { kind: 'hyper', rule: 'sgd' });
    mul(neg(x), 3);
    graph.output('y', add(x, x));
    expect(printGraph(eliminateDeadCode(graph))).toBe(
      [
        '%x: f32[2] = input batch axis 0',
        '%unused: f32[5] = parameter',
        '%add: f32[2] = add(%x, %x)',
        'outputs',
        '  y = %add',
        '',
      ].join('\n'),
    );
  });

  it('lets a dead derivative give way to its origin', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [] });
    const y = neg(x);
    const first = graph.derivativeOf(y.node, () => neg(x));
    const second = graph.derivativeOf(first.node, () => mul(x, x));
    graph.output('second', second);
    const pruned = eliminateDeadCode(graph);
    expect(pruned.has('grad.neg.neg')).toBe(false);
    expect(pruned.outputs.get('second')!.node.origin!.name).toBe('neg');
    expect(pruned.outputs.get('second')!.node.pass).toBe(2);
  });

  it('keeps a forward node whose stage a live derivative follows, with what it reads', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [] });
    const y = neg(mul(x, 2));
    graph.output(
      'dx',
      graph.derivativeOf(y.node, () => neg(graph.scalar(1))),
    );
    const pruned = eliminateDeadCode(graph);
    verify(pruned);
    expect(pruned.nodes.map((n) => n.name)).toEqual(['x', 'scalar', 'mul', 'neg', 'scalar_1', 'grad.neg.neg']);
  });
});

describe('mergeCommonSubexpressions', () => {
  it('merges equal work in a chain, through equal constants', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    graph.output('y', add(neg(mul(x, 2)), neg(mul(x, 2))));
    expect(printGraph(mergeCommonSubexpressions(graph))).toBe(
      [
        '%x: f32[2] = input batch axis 0',
        '%scalar: f32[] = constant 2',
        '%mul: f32[2] = mul(%x, %scalar)',
        '%neg: f32[2] = neg(%mul)',
        '%add: f32[2] = add(%neg, %neg)',
        'outputs',
        '  y = %add',
        '',
      ].join('\n'),
    );
  });

  it('keeps apart constants of other bits, other inputs, attributes and what must keep its name', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    graph.output('a', add(mul(x, 0), mul(x, -0)));
    graph.output('b', add(broadcastTo(x, [1, 2]), broadcastTo(x, [2, 2])));
    graph.output('c', neg(neg(x)));
    expect(mergeCommonSubexpressions(graph).nodes.length).toBe(graph.nodes.length);
    const twice = new Graph();
    const z = twice.input('x', { shape: [2] });
    twice.output('y', add(neg(z), neg(z)));
    const kept = mergeCommonSubexpressions(twice, { keep: (n) => n.name === 'neg_1' });
    expect(kept.has('neg_1')).toBe(true);
  });

  it('never merges sums over microbatches, nor derivatives of different forward nodes', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    const a = neg(x);
    const b = mul(x, a);
    const [da, db, db2] = [a, b, b].map((of) => graph.derivativeOf(of.node, () => add(x, x))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const sums = [da, db, db2].map((d) => graph.derivativeOf(d.node.origin!, () => accumulate(d)));
    sums.forEach((s, i) => void graph.output(`s${i}`, s));
    graph.output('b', b);
    const merged = mergeCommonSubexpressions(graph);
    verify(merged);
    expect(merged.nodes.filter((n) => n.op?.name === 'accumulate').length).toBe(3);
    expect(merged.nodes.filter((n) => n.op?.name === 'add').map((n) => n.origin!.name)).toEqual(['neg', 'mul']);
  });

  it('leads the derivatives of a merged node to what it became', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    const [a, b] = [neg(x), neg(x)];
    graph.output(
      'dy',
      graph.derivativeOf(b.node, () => add(a, b)),
    );
    const merged = mergeCommonSubexpressions(graph);
    verify(merged);
    expect(merged.outputs.get('dy')!.node.origin!.name).toBe('neg');
  });
});

describe('foldConstants', () => {
  it('computes what depends on constants alone, rounded to f32 once a node', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2] });
    graph.output('y', mul(x, mul(add(graph.scalar(0.1), 0.2), graph.scalar(3))));
    const folded = eliminateDeadCode(foldConstants(graph));
    verify(folded);
    expect(folded.nodes.map((n) => n.op?.name ?? n.source!.kind)).toEqual(['input', 'constant', 'mul']);
    const third = Math.fround(Math.fround(0.1) + Math.fround(0.2));
    expect([...folded.node('mul').source!.value!]).toEqual([Math.fround(third * 3)]);
  });

  it('leaves results, sums over microbatches, large results and what it is told to', () => {
    const graph = new Graph();
    const one = graph.scalar(1);
    const two = graph.scalar(2);
    graph.output('result', add(one, two));
    const { node } = graph.output('x', neg(graph.input('x', { shape: [] })));
    const total = graph.derivativeOf(node, () => accumulate(one));
    graph.output(
      'total',
      graph.inStep(node, () => neg(total)),
    );
    const large = broadcastTo(one, [16 * 1024 + 2]);
    const medium = broadcastTo(one, [16 * 1024 + 1]);
    graph.output('large', neg(large));
    graph.output('medium', neg(medium));
    graph.output('told', neg(sub(one, two)));
    const folded = foldConstants(graph, { keep: (n) => n.op?.name === 'sub' });
    const stays = folded.nodes.filter((n) => n.op).map((n) => n.name);
    expect(stays).toEqual([
      'add',
      'neg',
      'grad.neg.accumulate',
      'update.neg.neg',
      'broadcastTo',
      'neg_1',
      'neg_2',
      'sub',
      'neg_3',
    ]);
    verify(folded);
  });

  it('lets derivatives follow the constant that took their origin’s place', () => {
    const graph = new Graph();
    const y = neg(graph.scalar(1));
    const x = graph.input('x', { shape: [] });
    graph.output(
      'dx',
      graph.derivativeOf(y.node, () => neg(x)),
    );
    const folded = foldConstants(graph);
    verify(folded);
    const { origin } = folded.outputs.get('dx')!.node;
    expect([origin!.name, origin!.source!.kind]).toEqual(['neg', 'constant']);
  });
});

describe('rewrite', () => {
  it('refuses to drop what is needed', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [] });
    const y = neg(x);
    graph.output('y', neg(y));
    expect(() => rewrite(graph, { keep: (n) => n !== y.node })).toThrow(
      'neg_1 needs neg: f32[], which a pass has dropped',
    );
  });

  it('refuses to drop the end of a chain of origins', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [] });
    const y = neg(x);
    graph.output(
      'dy',
      graph.derivativeOf(y.node, () => add(x, x)),
    );
    expect(() => rewrite(graph, { keep: (n) => n !== y.node })).toThrow(
      'a pass has dropped neg, whose stage grad.neg.add follows',
    );
  });
});
