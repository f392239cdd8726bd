import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { add, mul, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { mean, sum, sumOfSquares } from '../../src/ops/reduce.ts';
import { trackAverage } from '../../src/ops/running-average.ts';
import { broadcastTo, reshape, transpose } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import { sampleGroups } from '../../src/program/sample-groups.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

// Where samples are computed one by one: what runs together, what is added once a sample, and what is refused.

const BATCH = 5;

const weight = (graph: Graph) => graph.parameter('w', [4, 3], { kind: 'uniform', low: -1, high: 1 });

function model(build: (x: Tensor, graph: Graph) => Tensor): Model {
  return {
    name: 'test',
    build: (batch) => {
      const graph = new Graph();
      return { graph, objective: [{ loss: build(graph.input('x', { shape: [batch, 4] }), graph), weight: 1 }] };
    },
  };
}

const invariant = (m: Model, microbatches = 2) => planOf(m, { batch: BATCH, microbatches, invariant: true });

async function trained(m: Model, microbatches: number, isInvariant: boolean): Promise<Map<string, HostTensor>> {
  const plan = planOf(m, { batch: BATCH, microbatches, invariant: isInvariant });
  await using session = await Session.open(plan, { audit: true, transport: 'local' });
  const { results } = await session.run('train', { x: f32([BATCH, 4], 1) }, { step: 0 });
  return new Map([...results, ...(await session.parameters())]);
}

const hexes = (tensors: Map<string, HostTensor>) => [...tensors].map(([name, t]) => `${name} ${toHex(t)}`);

describe('sample by sample', () => {
  it('a gradient that is the same for all samples is added once for each', async () => {
    // The objective is the mean of x·w + b: its gradient by b is a constant.
    const linear = model((x, graph) => {
      const b = graph.parameter('b', [3], { kind: 'constant', value: 0.5 });
      const scale = graph.feed('scale', { dtype: 'f32', shape: [] }, { kind: 'inverseElements', perSample: 3 });
      return mul(sum(add(matmul(x, weight(graph)), b)), scale);
    });
    const one = await trained(linear, 1, true);
    for (const v of one.get('b')!.data) expect(v).toBeCloseTo(0.5 - 0.1 / 3, 6);
    const plain = await trained(linear, 1, false);
    one.get('w')!.data.forEach((v, i) => void expect(v).toBeCloseTo(plain.get('w')!.data[i]!, 6));
    for (const microbatches of [2, 3, 5]) expect(hexes(await trained(linear, microbatches, true))).toEqual(hexes(one));
  });

  it('no gradient is kept for all samples where its parameter is read through another shape', () => {
    const reshaped = model((x, graph) => {
      const w = graph.parameter('w', [40], { kind: 'uniform', low: -1, high: 1 });
      return sum(tanh(matmul(x, reshape(w, [4, 10]))));
    });
    const plan = planOf(reshaped, { batch: 32, invariant: true });
    const largest = Math.max(...plan.programs.train!.devices[0]!.buffers.map((b) => b.bytes));
    // The widest activations of 32 samples, and not 32 gradients of 40 numbers.
    expect(largest).toBe(32 * 10 * 4);
  });

  it('refuses what follows the microbatches in their order', () => {
    const running = model((x, graph) => {
      const y = matmul(x, weight(graph));
      trackAverage(graph.buffer('running', [3], { kind: 'ones' }), sum(y, { axes: [0] }), 0.1);
      return sum(y);
    });
    expect(() => invariant(running)).toThrow(/follows the microbatches in their order/);
    planOf(running, { batch: BATCH, microbatches: 2 });
  });

  it('refuses a sum that does not depend on the batch', () => {
    const penalty = model((_, graph) => {
      const w = weight(graph);
      return sum(mul(w, w));
    });
    // Beside a term that does depend on it too: the penalty's own gradient is then the sum that would be repeated.
    const penalised = model((x, graph) => {
      const w = weight(graph);
      return add(sum(matmul(x, w)), sum(mul(w, w)));
    });
    for (const m of [penalty, penalised]) {
      expect(() => invariant(m)).toThrow(/does not depend on the batch, and would be added once a microbatch/);
    }
  });

  it('refuses what joins samples within the model, and lets a total and constants be', () => {
    const centred = model((x, graph) => {
      const y = matmul(x, weight(graph));
      const average = mean(y, { axes: [0] });
      return squaredError(y, broadcastTo(average, y.shape));
    });
    expect(() => invariant(centred)).toThrow(/mean \(mean\) joins the samples of a microbatch/);
    // The norm of a weight does not grow with the batch either, and is read by samples.
    const scaled = model((x, graph) => {
      const w = weight(graph);
      return sum(mul(matmul(x, w), sum(mul(w, w))));
    });
    invariant(scaled);
  });
});

describe('sample groups', () => {
  interface Nodes {
    readonly [name: string]: Node;
  }
  /** Names of the nodes that run together, in order. */
  function grouped(nodes: Nodes, kept: readonly string[] = []): string[][] {
    const list = Object.values(nodes);
    const nameOf = new Map(Object.entries(nodes).map(([name, node]) => [node, name]));
    const readersOf = (node: Node) => node.graph.nodes.filter((n) => n.inputs.some((t) => t.node === node));
    return sampleGroups(list, readersOf, (node) => kept.includes(nameOf.get(node)!)).map((group) =>
      group.map((node) => nameOf.get(node)!),
    );
  }

  function gradientOf(graph = new Graph()) {
    const x = graph.input('x', { shape: [1, 4] });
    const y = matmul(x, weight(graph));
    const product = matmul(transpose(x), y);
    return { y, product };
  }

  it('are a sum, what feeds it alone, and what that was made from at the same size', () => {
    const { y, product } = gradientOf();
    const scaled = mul(product, 2);
    const turned = transpose(scaled);
    const total = accumulate(turned);
    const nodes = { y: y.node, product: product.node, scaled: scaled.node, turned: turned.node, total: total.node };
    expect(grouped(nodes)).toEqual([['y'], ['product', 'scaled', 'turned', 'total']]);
    expect(grouped(nodes, ['turned'])).toEqual([['y'], ['product'], ['scaled'], ['turned'], ['total']]);
    expect(grouped(nodes, ['scaled'])).toEqual([['y'], ['product'], ['scaled'], ['turned', 'total']]);
  });

  it('are one where a value is added to two sums', () => {
    const { y, product } = gradientOf();
    const [first, second] = [accumulate(product), accumulate(product)];
    const nodes = { y: y.node, product: product.node, first: first.node, second: second.node };
    expect(grouped(nodes)).toEqual([['y'], ['product', 'first', 'second']]);
  });

  it('stand behind all that their last node reads', () => {
    const { y, product } = gradientOf();
    const factor = sum(y);
    const scaled = mul(product, factor);
    const total = accumulate(scaled);
    const nodes = { y: y.node, product: product.node, factor: factor.node, scaled: scaled.node, total: total.node };
    expect(grouped(nodes)).toEqual([['y'], ['factor'], ['product', 'scaled', 'total']]);
  });

  it('leave out what something else reads', () => {
    const { y, product } = gradientOf();
    const total = accumulate(product);
    const other = mul(product, 2);
    const further = mul(other, 2);
    const nodes = { y: y.node, product: product.node, total: total.node, other: other.node, further: further.node };
    expect(grouped(nodes)).toEqual([['y'], ['product'], ['total'], ['other'], ['further']]);
  });

  it('take along what is measured on them, if it is small and nothing waits for it', () => {
    const { y, product } = gradientOf();
    const total = accumulate(product);
    const square = sumOfSquares(product);
    const nodes = { y: y.node, product: product.node, total: total.node, square: square.node };
    expect(grouped(nodes)).toEqual([['y'], ['product', 'total', 'square']]);
    const waiting = mul(square, 2);
    expect(grouped({ ...nodes, waiting: waiting.node })).toEqual([
      ['y'],
      ['product'],
      ['total'],
      ['square'],
      ['waiting'],
    ]);
  });

  it('do not take along a reader that is as large as what it reads', () => {
    const { y, product } = gradientOf();
    const total = accumulate(product);
    const copy = mul(product, 2);
    const nodes = { y: y.node, product: product.node, total: total.node, copy: copy.node };
    expect(grouped(nodes)).toEqual([['y'], ['product'], ['total'], ['copy']]);
  });

  it('leave what feeds two sums through other values to all samples', () => {
    // One value at the same size behind two gradients: it would join two groups into one.
    const { y, product } = gradientOf();
    const [left, right] = [mul(product, 2), transpose(product)];
    const totals = [accumulate(left), accumulate(right)];
    const nodes = {
      y: y.node,
      product: product.node,
      left: left.node,
      right: right.node,
      first: totals[0]!.node,
      second: totals[1]!.node,
    };
    expect(grouped(nodes)).toEqual([['y'], ['product'], ['left', 'first'], ['right', 'second']]);
  });
});

it('a model that adds to other totals at another chunk size is refused', () => {
  const uneven: Model = {
    name: 'uneven',
    build: (batch) => {
      const graph = new Graph();
      const y = matmul(graph.input('x', { shape: [batch, 4] }), weight(graph));
      const gain = graph.parameter('gain', [3], { kind: 'ones' });
      return { graph, objective: [{ loss: sum(batch === 2 ? mul(y, gain) : y), weight: 1 }] };
    },
  };
  expect(() => planOf(uneven, { batch: BATCH, microbatches: 2 })).toThrow(
    /builds another graph for another batch size/,
  );
});

it('a model that has other outputs at another chunk size is refused', () => {
  const uneven: Model = {
    name: 'uneven',
    build: (batch) => {
      const graph = new Graph();
      const y = matmul(graph.input('x', { shape: [batch, 4] }), weight(graph));
      graph.output('y', y);
      if (batch !== 2) graph.output('doubled', mul(y, 2));
      return { graph, objective: [{ loss: sum(y), weight: 1 }] };
    },
  };
  expect(() => planOf(uneven, { batch: BATCH, microbatches: 2 })).toThrow('not every one gives output/doubled');
});
