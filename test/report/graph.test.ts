import { describe, expect, it } from 'vitest';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { add, exp, mul, sigmoid } from '../../src/ops/elementwise.ts';
import { partitionByCuts } from '../../src/partition/by-hand.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { drawnView } from '../../src/report/graph/copies.ts';
import { layoutGraph, rowsOf } from '../../src/report/graph/layout.ts';
import { graphSvg } from '../../src/report/graph/svg.ts';
import { graphValues } from '../../src/report/graph/values.ts';
import { type GraphView, graphView } from '../../src/report/graph/view.ts';
import { mlp, tied, trained } from '../graph/models.ts';

const scalar = (value: number): RefTensor => ({ type: { dtype: 'f32', shape: [] }, data: Float64Array.of(value) });
const whole = { shape: [], batchAxis: null } as const;

/** g = (x + y) · z */
function expression() {
  const graph = new Graph();
  const [x, y, z] = ['x', 'y', 'z'].map((name) => graph.input(name, whole)) as [Tensor, Tensor, Tensor];
  const p = add(x, y);
  const g = graph.output('g', mul(p, z), { batchAxis: null });
  const feeds = new Map([x, y, z].map((t, i) => [t, scalar([1, 3, -3][i]!)]));
  return { graph, x, y, z, p, g, feeds };
}

const gpt = modelOf({ kind: 'gpt', vocab: 11, context: 6, layers: 1, heads: 2, width: 4 });

/** The training graph of a model, cut at two of its layers. */
function cut(graph: Graph, cuts: readonly string[]): { graph: Graph; stageOf: (node: Node) => number } {
  return { graph, stageOf: stageMap(graph, partitionByCuts(graph, cuts)) };
}

const views: Record<string, GraphView> = {
  expression: graphView(expression().graph),
  'a training step': graphView(trained(mlp(3))),
  'a training step on three stages': (({ graph, stageOf }) => graphView(graph, { stageOf, placement: [0, 1, 0] }))(
    cut(trained(mlp(3)), ['block.1', 'block.2']),
  ),
  'tied weights on two stages': (({ graph, stageOf }) => graphView(graph, { stageOf }))(cut(trained(tied()), ['last'])),
  transformer: graphView(gpt.build(2).graph),
};

describe('graphValues', () => {
  it('gives the textbook values of g = (x + y) · z and of its gradients', () => {
    const { graph, x, y, z, p, g, feeds } = expression();
    const nodes = graph.nodes.length;
    const values = graphValues(graph, feeds, [{ loss: g, weight: 1 }]);
    expect([x, y, z, p, g].map((t) => values.valueOf(t)![0])).toEqual([1, 3, -3, 4, -12]);
    expect([x, y, z, p, g].map((t) => values.gradientOf(t)![0])).toEqual([-3, -3, 4, -3, 1]);
    expect(graph.nodes.length).toBe(nodes);
  });

  it('tells the gradient along each edge, and their sum', () => {
    const graph = new Graph();
    const x = graph.input('x', whole);
    // y = x · x + 5 x: along the edges to mul x = 3 each, along the edge to the other mul 5.
    const square = mul(x, x);
    const line = mul(x, 5);
    const y = add(square, line);
    const values = graphValues(graph, new Map([[x, scalar(3)]]), [{ loss: y, weight: 2 }]);
    expect([0, 1].map((input) => values.gradientAlong(x, square.node, input)![0])).toEqual([6, 6]);
    expect(values.gradientAlong(x, line.node, 0)![0]).toBe(10);
    expect(values.gradientOf(x)![0]).toBe(22);
    // A result that is not differentiated sends nothing back.
    expect(values.gradientAlong(y, undefined, 0)![0]).toBe(2);
    expect(values.gradientAlong(line, undefined, 0)).toBeUndefined();
  });

  it('gives no gradient where the objective does not depend on a tensor, and none without an objective', () => {
    const { graph, x, g, feeds } = expression();
    const other = exp(x);
    expect(graphValues(graph, feeds, [{ loss: g, weight: 1 }]).gradientOf(other)).toBeUndefined();
    expect(graphValues(graph, feeds).gradientOf(g)).toBeUndefined();
  });

  it('refuses large graphs, with the limit', () => {
    const graph = new Graph();
    sigmoid(graph.input('x', { shape: [100, 1000] }));
    expect(() => graphValues(graph, new Map())).toThrow(
      /at most 400 nodes and 100,000 elements; this one has 2 nodes and 200,000/,
    );
  });
});

describe('graphView', () => {
  it('is plain JSON with nodes in order, edges and cut edges', () => {
    const view = views['a training step on three stages']!;
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
    expect(view.stages).toEqual([
      { stage: 0, device: 0 },
      { stage: 1, device: 1 },
      { stage: 2, device: 0 },
    ]);
    const cuts = view.edges.filter((e) => e.cut).map((e) => `${e.tensor} ${e.cut!.from}>${e.cut!.to} ${e.cut!.bytes}`);
    expect(cuts).toContain('block.0.relu 0>1 48');
    expect(cuts).toContain('block.1.relu 1>2 48');
    expect(cuts.some((text) => / 2>1 48$/.test(text))).toBe(true);
    // Fed inputs are given to every device.
    expect(cuts.some((text) => text.startsWith('optimizer/hyper'))).toBe(false);
  });

  it('carries values and gradients to the edges', () => {
    const { graph, g, feeds } = expression();
    const { edges } = graphView(graph, { values: graphValues(graph, feeds, [{ loss: g, weight: 1 }]) });
    expect(edges.map((e) => [e.tensor, e.value![0], e.gradient![0]])).toEqual([
      ['x', 1, -3],
      ['y', 3, -3],
      ['add', 4, -3],
      ['z', -3, 4],
      ['mul', -12, 1],
    ]);
  });
});

describe('drawnView', () => {
  it('draws a source again beside its readers, but a shared weight once', () => {
    const { nodes, edges, beside } = drawnView(views['tied weights on two stages']!);
    const drawings = nodes.flatMap((n, i) => (n.name === 'w' && n.kind === 'parameter' ? [i] : []));
    const readers = drawings.map((i) => edges.filter((e) => e.from === i).map((e) => nodes[e.to]!));
    expect(readers[0]!.map((n) => n.name)).toEqual(['first.matmul', 'last.matmul']);
    expect(beside[drawings[0]!]).toBeUndefined();
    expect(readers.slice(1).every((list) => list.length === 1 && list[0]!.phase !== 'forward')).toBe(true);
    for (const i of drawings.slice(1)) expect(nodes[i]!.stage).toBe(nodes[beside[i]!]!.stage);
  });

  it('keeps every edge', () => {
    for (const view of Object.values(views)) {
      const drawn = drawnView(view);
      const ends = ({ nodes, edges }: GraphView) => edges.map((e) => [nodes[e.from]!.name, nodes[e.to]!.name]);
      expect(ends(drawn)).toEqual(ends(view));
    }
  });
});

describe.each(Object.entries(views))('the drawing of %s', (_, view) => {
  const drawn = drawnView(view);
  const rows = rowsOf(drawn);
  const size = { width: 60, height: 30 };

  it('runs the model down, its derivative up, and each stage in rows of its own', () => {
    const { nodes, edges, beside } = drawn;
    for (const { from, to } of edges) {
      if (beside[from] !== undefined) continue;
      const [a, b] = [nodes[from]!, nodes[to]!];
      expect(rows[from]).not.toBe(rows[to]);
      if (a.stage !== b.stage) expect(rows[from]! < rows[to]!).toBe((a.stage ?? 0) < (b.stage ?? 0));
      else expect(rows[from]! < rows[to]!).toBe(!(a.phase === 'backward' && b.phase === 'backward' && b.kind === 'op'));
    }
    expect([...new Set(rows)].sort((a, b) => a - b)).toEqual([...new Set(rows)].map((_, i) => i).sort((a, b) => a - b));
  });

  it('places nodes so that no two overlap', () => {
    const { nodes } = layoutGraph(
      drawn,
      drawn.nodes.map(() => size),
      drawn.edges.map(() => ({ width: 0, height: 0 })),
    );
    nodes.forEach((a, i) => {
      for (const b of nodes.slice(i + 1)) {
        expect(Math.abs(a.x - b.x) >= size.width || Math.abs(a.y - b.y) >= size.height).toBe(true);
      }
    });
  });

  it('is a well-formed SVG of its own, the same every time', () => {
    const svg = graphSvg(view, { title: 'a <title> & "more"', notes: ['a note'] });
    expect(graphSvg(view, { title: 'a <title> & "more"', notes: ['a note'] })).toBe(svg);
    expect(svg).toContain('<title>a &#60;title&#62; &#38; &#34;more&#34;</title>');
    expect(svg).not.toMatch(/<script|<style|href=|NaN|undefined|url\((?!#)/);
    // Every element is closed by its own end, and every text is escaped.
    const open: string[] = [];
    for (const [, end, name, rest] of svg.matchAll(/<(\/?)([a-z]+)((?:[^<>"]|"[^<"]*")*)>/gi)) {
      if (end) expect(open.pop()).toBe(name);
      else if (!rest!.endsWith('/')) open.push(name!);
    }
    expect(open).toEqual([]);
    expect(svg.replace(/<\/?[a-z]+(?:[^<>"]|"[^<"]*")*>/gi, '')).not.toMatch(/[<>]|&(?!#\d+;)/);
    // One outline a drawn node, one line an edge.
    expect(svg.match(/<g transform="[^"]*"><title>/g)).toHaveLength(drawn.nodes.length);
    expect(svg.match(/marker-end/g)!.length).toBeGreaterThanOrEqual(drawn.edges.length);
  });
});

it('names stages in bands and tells what moves between them', () => {
  const svg = graphSvg(views['a training step on three stages']!, { title: 'mlp' });
  for (const text of [
    'stage 0, device 0',
    'stage 1, device 1',
    'stage 2, device 0',
    'stage 0 → 1, 48 B',
    'f32[4, 3]',
  ]) {
    expect(svg).toContain(`>${text}<`);
  }
});
