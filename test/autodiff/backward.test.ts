import { describe, expect, it } from 'vitest';
import { backward, gradients } from '../../src/autodiff/backward.ts';
import { GraphError, UsageError } from '../../src/core/errors.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { OpRecord, RefTensor } from '../../src/graph/op-record.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { scaledDotProductAttention } from '../../src/ops/attention.ts';
import { cast, greater } from '../../src/ops/compare.ts';
import { add, mul, neg, relu, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';

const leaf = (graph: Graph, name: string, shape: number[] = []): Tensor =>
  graph.input(name, { shape, batchAxis: null });
const at = (tensor: Tensor, values: Record<string, number>) => {
  const feeds = new Map<Tensor, RefTensor>();
  for (const t of tensor.graph.sources('input')) {
    if (values[t.name] !== undefined) feeds.set(t, { type: t.type, data: Float64Array.of(values[t.name]!) });
  }
  return evaluate([tensor], feeds)[0]!.data[0];
};
const derivative = (y: Tensor, x: Tensor): Tensor => gradients([{ tensor: y, cotangent: y.graph.scalar(1) }], [x])[0]!;

describe('reverse walk', () => {
  it('adds the gradients of all uses of a tensor', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    expect(at(derivative(add(mul(x, x), mul(x, 3)), x), { x: 5 })).toBe(13);
    expect(at(derivative(mul(x, mul(x, x)), x), { x: 2 })).toBe(12);
  });

  it('meets diamonds once', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    const shared = mul(x, 2);
    const y = mul(add(shared, 1), add(shared, 2)); // (2x+1)(2x+2)
    const before = graph.nodes.length;
    const dy = derivative(y, x);
    expect(at(dy, { x: 3 })).toBe(30);
    // Both arriving cotangents are added before the node's own rule runs, once.
    const made = graph.nodes.slice(before).filter((n) => n.origin === shared.node);
    expect(made.map((n) => n.op?.name)).toEqual(['add', 'mul']);
  });

  it('gives one contribution a use, in graph order', () => {
    const graph = new Graph();
    const w = leaf(graph, 'w');
    const y = mul(tanh(mul(w, 2)), mul(w, 3));
    const uses = backward([{ tensor: y, cotangent: graph.scalar(1) }], [w]).get(w)!;
    expect(uses).toHaveLength(2);
    expect(uses.map((u) => u.use!.name)).toEqual(['mul', 'mul_1']);
    expect(uses.map((u) => u.cotangent.node.origin!.name)).toEqual(['mul', 'mul_1']);
  });

  it('differentiates any number of times', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    const d1 = derivative(tanh(x), x);
    const d2 = derivative(d1, x);
    const d3 = derivative(d2, x);
    const t = Math.tanh(0.3);
    expect(at(d1, { x: 0.3 })).toBeCloseTo(1 - t * t, 12);
    expect(at(d2, { x: 0.3 })).toBeCloseTo(-2 * t * (1 - t * t), 12);
    expect(at(d3, { x: 0.3 })).toBeCloseTo((1 - t * t) * (6 * t * t - 2), 12);
  });

  it('is undefined where nothing depends on the tensor', () => {
    const graph = new Graph();
    const [x, z] = [leaf(graph, 'x'), leaf(graph, 'z')];
    const mask = cast(greater(z, 0), 'f32');
    expect(derivative(mul(x, mask), z)).toBeUndefined();
    expect(derivative(x, z)).toBeUndefined();
  });

  it('marks every node it makes as the derivative of a forward node', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x', [4, 3]);
    const w = leaf(graph, 'w', [3, 2]);
    const y = sum(relu(matmul(x, w)));
    const before = graph.nodes.length;
    backward([{ tensor: y, cotangent: graph.derivativeOf(y.node, () => graph.scalar(1)) }], [x, w]);
    for (const node of graph.nodes.slice(before)) {
      expect(node.origin, node.name).toBeDefined();
      expect(node.pass === 1 && node.origin!.pass === 0, node.name).toBe(true);
    }
  });

  it('within a model makes forward values of the next order, each at the mirrored place of a lower one', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x', [4, 3]);
    let y = sum(tanh(x));
    for (const order of [1, 2, 3]) {
      const before = graph.nodes.length;
      const [g] = gradients([{ tensor: y, cotangent: graph.scalar(1) }], [x]);
      const made = graph.nodes.slice(before).filter((n) => n.op && n.origin);
      expect(made.length).toBeGreaterThan(0);
      for (const node of made) {
        expect(node.pass, node.name).toBe(0);
        expect(node.order, node.name).toBe(order);
        expect(node.origin!.order, node.name).toBeLessThan(order);
      }
      y = sum(mul(g!, g!));
      // What is made of gradients is of their order, and nobody's derivative.
      expect([y.node.order, y.node.origin]).toEqual([order, undefined]);
    }
  });

  it('is of a higher order than the cotangent it starts from', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x', [3]);
    const g = derivative(sum(tanh(x)), x);
    const before = graph.nodes.length;
    gradients([{ tensor: tanh(x), cotangent: g }], [x]);
    const made = graph.nodes.slice(before).filter((n) => n.op && n.origin);
    expect(new Set(made.map((n) => n.order))).toEqual(new Set([2]));
  });

  it('gives a tensor that is used on and a root itself both, the root last', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    const y = mul(x, 2);
    const roots = [
      { tensor: y, cotangent: graph.scalar(7) },
      { tensor: mul(y, 3), cotangent: graph.scalar(1) },
    ];
    const found = backward(roots, [y, x]);
    expect(found.get(y)!.map((c) => c.use?.name)).toEqual(['mul_1', undefined]);
    // What is wanted half way is passed on as well.
    expect(at(found.get(x)![0]!.cotangent, { x: 1 })).toBe(2 * (3 + 7));
  });

  /** An op of this gradient: two outputs, both −x. */
  const negated = (gradient: OpRecord['gradient']): OpRecord => ({
    name: 'negated',
    doc: 'y = −x, twice.',
    infer: ([type]) => [type!, type!],
    reference: ([value]) => [0, 1].map(() => value!.data.map((v) => -v)),
    gradient,
    cost: () => ({ flops: 0, bytes: 0 }),
    samples: [],
    badSamples: [],
  });

  it('passes a decomposed op down to its very first part, and nothing by an output that no part stands for', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    const op = negated({ kind: 'decompose', build: ([t]) => [neg(t!), undefined] });
    const [first, second] = graph.add(op, [x], {});
    expect(at(derivative(mul(first!, 3), x), { x: 5 })).toBe(-3);
    expect(at(derivative(mul(first!, second!), x), { x: 5 })).toBe(5);
    expect(derivative(second!, x)).toBeUndefined();
  });

  it('leaves what to do about it to the user where there is something', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    const of = (remedy?: string) => {
      const none = { kind: 'none', why: 'it is not', ...(remedy === undefined ? {} : { remedy }) } as const;
      return () => derivative(graph.add(negated(none), [x], {})[0]!, x);
    };
    expect(of()).toThrow(GraphError);
    expect(of('--other')).toThrow(UsageError);
    expect(of('--other')).toThrow(expect.objectContaining({ code: 'not-differentiable', remedy: '--other' }));
  });

  it('counts an input that one decomposed op reads several times once', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x', [1, 1, 2, 3]);
    const copies = ['q', 'k', 'v'].map((name) => leaf(graph, name, [1, 1, 2, 3]));
    const cotangent = graph.constant({ type: x.type, data: Float32Array.of(1, -2, 3, 4, -5, 6) });
    // The second derivative: the first one's op is differentiated by its parts.
    const second = (q: Tensor, k: Tensor, v: Tensor) => {
      const y = scaledDotProductAttention(q, k, v);
      const by = [...new Set([q, k, v])];
      const first = gradients([{ tensor: y, cotangent }], by);
      const penalty = first.map((g) => sum(mul(g!, g!))).reduce((a, b) => add(a, b));
      return gradients([{ tensor: penalty, cotangent: graph.scalar(1) }], by);
    };
    const [own] = second(x, x, x);
    // By the chain rule of x ↦ (x, x, x): the penalty is of the sum of the three first gradients.
    const y = scaledDotProductAttention(copies[0]!, copies[1]!, copies[2]!);
    const total = gradients([{ tensor: y, cotangent }], copies).reduce((a, b) => add(a!, b!))!;
    const parts = gradients([{ tensor: sum(mul(total, total)), cotangent: graph.scalar(1) }], copies);
    const expected = parts.reduce((a, b) => add(a!, b!))!;
    const data = Float64Array.of(0.3, -0.7, 0.2, 0.9, 0.5, -0.4);
    const feeds = new Map([x, ...copies].map((t) => [t, { type: t.type, data }]));
    const [got, wanted] = evaluate([own!, expected], feeds);
    got!.data.forEach((v, i) => {
      expect(v).toBeCloseTo(wanted!.data[i]!, 10);
    });
    expect(Math.max(...wanted!.data.map(Math.abs))).toBeGreaterThan(0.1);
  });

  it('refuses to pass what is not differentiable, with the reason', () => {
    const graph = new Graph();
    const [x, z] = [leaf(graph, 'x'), leaf(graph, 'z')];
    const y = accumulate(x);
    expect(() => derivative(y, x)).toThrow(/accumulate.*not differentiable.*microbatch region/);
    // Where nothing that is asked for lies behind it, it is not passed: nor where it is asked for itself.
    expect(gradients([{ tensor: y, cotangent: graph.scalar(1) }], [z])).toEqual([undefined]);
    expect(at(derivative(mul(y, z), y), { z: 3 })).toBe(3);
  });

  it('notes a gradient by what is the same for every microbatch, where there is one', () => {
    const graph = new Graph();
    const [x, w, idle] = [graph.input('x', { shape: [2] }), leaf(graph, 'w'), leaf(graph, 'idle')];
    gradients([{ tensor: sum(mul(x, w)), cotangent: graph.scalar(1) }], [x, idle]);
    expect([...graph.gradientsOfWholeBatch]).toEqual([]);
    gradients([{ tensor: sum(mul(x, w)), cotangent: graph.scalar(1) }], [x, w]);
    expect([...graph.gradientsOfWholeBatch]).toEqual(['w']);
  });
});

describe('gradient of a linear layer', () => {
  it.each([false, true])('is two products, each of rank 2 or one b, and no transpose (transB %s)', (transB) => {
    const graph = new Graph();
    const x = leaf(graph, 'x', [4, 7, 5]);
    const w = leaf(graph, 'w', transB ? [3, 5] : [5, 3]);
    const y = matmul(x, w, { transB });
    const before = graph.nodes.length;
    const dy = leaf(graph, 'dy', [4, 7, 3]);
    const [, dw] = gradients([{ tensor: y, cotangent: dy }], [x, w]);
    const made = graph.nodes.slice(before).filter((n) => n.op);
    expect(made.filter((n) => n.op!.name === 'matmul')).toHaveLength(2);
    expect(made.filter((n) => !['matmul', 'reshape'].includes(n.op!.name))).toEqual([]);
    // K = batch · rows: one product sums over both.
    expect(dw!.node.inputs.map((t) => t.shape[0])).toEqual([28, 28]);
    expect(dw!.node.attrs).toEqual({ transA: true, transB: false });
  });
});
