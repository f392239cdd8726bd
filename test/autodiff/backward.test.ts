import { describe, expect, it } from 'vitest';
import { backward, gradients } from '../../src/autodiff/backward.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { cast, greater } from '../../src/ops/compare.ts';
import { add, mul, relu, tanh } from '../../src/ops/elementwise.ts';
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

  it('refuses to pass what is not differentiable, with the reason', () => {
    const graph = new Graph();
    const x = leaf(graph, 'x');
    expect(() => derivative(accumulate(x), x)).toThrow(/accumulate.*not differentiable.*microbatch region/);
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
