import { describe, expect, it } from 'vitest';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { printGraph, toDot } from '../../src/graph/print.ts';
import { accumulateOp } from '../../src/ops/accumulate.ts';
import { mul, neg, relu, sub } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { stageMap } from '../../src/partition/stage-of.ts';

/** y = Σ relu(w·x), by hand: forward, backward, a sum over microbatches and an update. */
function small(): Graph {
  const g = new Graph();
  const x = g.input('x', { shape: [2, 3] });
  const w = g.scope('block.0', () => g.parameter('weight', [3], { kind: 'zeros' }));
  const h = g.scope('block.0', () => mul(x, w));
  const y = g.scope('block.1', () => sum(relu(h), { axes: 0 }));
  const dw = g.derivativeOf(h.node, () => sum(mul(x, y), { axes: 0 }));
  const total = g.derivativeOf(h.node, () => g.add({ ...accumulateOp, infer: ([t]) => [t!] }, [dw], {}))[0]!;
  g.output('y', y);
  g.inStep(w.node, () => g.assign(w, sub(w, total)));
  return g;
}

const graph = small();
const partition = { stages: 2, assignment: { 'block.0.mul': 0, 'block.1.relu': 1, 'block.1.sum': 1 }, method: 'test' };

describe('printGraph', () => {
  it('prints forward, backward and step nodes with their stages', async () => {
    await expect(printGraph(graph, { stages: stageMap(graph, partition) })).toMatchFileSnapshot('small.golden.txt');
  });

  it('prints notes below a node, one after the other', () => {
    const g = new Graph();
    g.output('y', neg(g.input('x', { shape: [2] })));
    const notes = (t: Tensor) => (t.name === 'neg' ? ['value [1, 2]', 'gradient [0, 1]'] : []);
    const lines = printGraph(g, { stages: () => 0, notes }).split('\n');
    expect(lines.slice(1, 4)).toEqual([
      's0  %neg: f32[2] = neg(%x)',
      '        value [1, 2]',
      '        gradient [0, 1]',
    ]);
  });

  it('prints every kind of source', () => {
    const g = new Graph();
    g.input('x', { shape: [2, 3], batchAxis: 1 });
    g.input('mask', { dtype: 'bool', shape: [3], batchAxis: null });
    g.feed('count', { dtype: 'f32', shape: [] }, { kind: 'inverseCount', target: 'y', ignoreIndex: null });
    g.parameter('w', [2], { kind: 'ones' }, { frozen: true });
    g.parameter('v', [2], { kind: 'ones' });
    g.state('m/v', { dtype: 'f32', shape: [2] }, { kind: 'zeros' });
    g.scalar(0.1);
    g.constant({ type: { dtype: 'i32', shape: [6] }, data: Int32Array.of(1, 2, 3, 4, 5, 6) }, 'index');
    expect(printGraph(g)).toBe(
      [
        '%x: f32[2, 3] = input batch axis 1',
        '%mask: bool[3] = input whole',
        '%count: f32[] = input inverseCount',
        '%w: f32[2] = parameter frozen',
        '%v: f32[2] = parameter',
        '%m/v: f32[2] = state',
        '%scalar: f32[] = constant 0.1',
        '%index: i32[6] = constant 1 2 3 4 … (6)',
        '',
      ].join('\n'),
    );
  });
});

describe('toDot', () => {
  it('draws stages as clusters, types on edges', async () => {
    await expect(toDot(graph, { stageOf: stageMap(graph, partition) })).toMatchFileSnapshot('small.golden.dot');
  });

  it('draws a graph without stages, with quotes escaped', () => {
    const g = new Graph();
    g.output('y', neg(g.input('a "b"\\', { shape: [2] })));
    expect(toDot(g, { title: 'a "title"', notes: (t, reader) => [`${t.index} of ${reader?.name}`] })).toBe(
      [
        'digraph partita {',
        '  rankdir=TB;',
        '  node [shape=box, fontname="sans-serif", fontsize=10];',
        '  edge [fontname="sans-serif", fontsize=8];',
        '  label="a \\"title\\"";',
        '  labelloc=t;',
        '  n0 [label="a \\"b\\"\\\\\\ninput\\nf32[2]", shape=ellipse, style="filled,solid", color="#1a1a1a", fillcolor=white];',
        '  n1 [label="neg\\nneg", style="filled,solid", color="#0072b2", fillcolor=white];',
        '  n0 -> n1 [label="f32[2]\\n0 of neg", color="#0072b2", style=solid];',
        '  r0 [shape=note, label="y"];',
        '  n1 -> r0 [label="f32[2]\\n0 of undefined", color="#0072b2", style=solid];',
        '}',
        '',
      ].join('\n'),
    );
  });
});
