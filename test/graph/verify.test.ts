import { describe, expect, it } from 'vitest';
import { GraphError } from '../../src/core/errors.ts';
import { Graph, type Node, type Tensor } from '../../src/graph/graph.ts';
import type { OpRecord } from '../../src/graph/op-record.ts';
import { graphProblems, verify } from '../../src/graph/verify.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { add, neg } from '../../src/ops/elementwise.ts';
import { negOp } from '../../src/ops/unary.ts';
import { mlp, tied, trained, zeros } from './models.ts';

/** y = −x written over x. */
const negInPlace: OpRecord = { ...negOp, name: 'negInPlace', inPlace: [[0, 0]] };
const overwrite = (t: Tensor): Tensor => t.graph.add(negInPlace, [t], {})[0]!;

const start = (): { graph: Graph; x: Tensor; w: Tensor } => {
  const graph = new Graph();
  return { graph, x: graph.input('x', { shape: [2] }), w: graph.parameter('w', [2], zeros) };
};

/** `at: what` of every problem, with its class. */
const found = (graph: Graph): string[] => graphProblems(graph).map((p) => `${p.code}: ${p.at}: ${p.what}`);

/** What no builder makes: a node changed behind its graph's back. */
const damage = (node: Node, change: Partial<{ -readonly [K in keyof Node]: Node[K] }>): void =>
  void Object.assign(node, change);

describe('verify', () => {
  it('accepts training graphs', () => {
    for (const model of [mlp(1), mlp(3), tied()]) expect(found(trained(model))).toEqual([]);
  });

  it('position', () => {
    const { graph, x } = start();
    const y = neg(x);
    damage(y.node, { id: 7 });
    expect(found(graph)).toEqual(['position: neg: stands at 2 and has id 7']);
    const other = start();
    damage(neg(other.x).node, { graph });
    expect(found(other.graph)).toEqual(['position: neg: says that it is of another graph']);
  });

  it('foreign tensors', () => {
    const { graph, x } = start();
    damage(neg(x).node, { inputs: [start().x] });
    expect(found(graph)).toEqual(['foreign-tensor: neg: input 0, x: f32[2], is not of this graph']);
  });

  it('order', () => {
    const { graph, x } = start();
    const [first, second] = [neg(x), neg(x)];
    damage(first.node, { inputs: [second] });
    expect(found(graph)).toEqual(['order: neg: input 0, neg_1: f32[2], is produced later']);
  });

  it('kind', () => {
    const { graph, x, w } = start();
    damage(neg(x).node, { op: undefined });
    damage(w.node, { inputs: [x] });
    expect(found(graph)).toEqual(['kind: w: a source has 1 inputs', 'kind: neg: must be either an op or a source']);
  });

  it('names', () => {
    const { graph, x, w } = start();
    damage(neg(x).node, { name: 'w' });
    const v = graph.parameter('v', [2], zeros);
    damage(v.node, { source: w.node.source });
    expect(found(graph)).toEqual([
      'name: w: the name is taken by an earlier node',
      'name: v: there is an earlier parameter w',
    ]);
  });

  it('types', () => {
    const { graph, x } = start();
    const y = neg(x);
    const z = neg(x);
    Object.assign(y, { type: { dtype: 'f32', shape: [3] } });
    damage(z.node, { inputs: [] });
    expect(found(graph)).toEqual([
      'type: neg: has f32[3] where neg gives f32[2]',
      'type: neg_1: neg(): takes one tensor',
    ]);
    const shaped = start();
    shaped.graph.add({ ...negOp, alias: true, infer: () => [{ dtype: 'f32', shape: [3] }] }, [shaped.x], {});
    expect(found(shaped.graph)).toEqual(['type: neg: an alias of 8 bytes has 12']);
  });

  it('origins', () => {
    const { graph, x } = start();
    const y = neg(x);
    const dy = graph.derivativeOf(y.node, () => neg(x));
    const late = graph.derivativeOf(y.node, () => neg(x));
    const alien = graph.derivativeOf(y.node, () => neg(x));
    damage(dy.node, { origin: undefined });
    damage(late.node, { origin: alien.node });
    damage(alien.node, { origin: start().x.node });
    expect(found(graph)).toEqual([
      'origin: grad.neg.neg: is a derivative of unknown origin, so it has no stage',
      'origin: grad.neg.neg_1: its origin grad.neg.neg_2 stands behind it',
      'origin: grad.neg.neg_2: its origin x is not of this graph',
    ]);
  });

  it('regions', () => {
    const { graph, x, w } = start();
    const y = neg(x);
    const total = graph.derivativeOf(y.node, () => accumulate(y));
    graph.inStep(w.node, () => add(w, total));
    graph.inStep(w.node, () => neg(y));
    neg(total); // a barrier: allowed
    const updated = graph.inStep(w.node, () => overwrite(w));
    graph.assign(w, updated);
    neg(graph.inStep(w.node, () => neg(updated)));
    expect(found(graph)).toEqual([
      'region: update.w.neg: runs once a step and reads neg: f32[2], which exists once a microbatch',
      'region: neg_2: runs once a microbatch and reads update.w.neg_1: f32[2], which the update makes',
    ]);
  });

  it('in-place outputs', () => {
    const { graph, x, w } = start();
    const updated = graph.inStep(w.node, () => overwrite(w));
    expect(found(graph)).toEqual([
      'in-place: update.w.negInPlace: overwrites w: f32[2], which is not assigned update.w.negInPlace: f32[2]',
    ]);
    graph.assign(w, updated);
    graph.inStep(w.node, () => neg(updated));
    expect(found(graph)).toEqual([]);
    graph.inStep(w.node, () => neg(w));
    overwrite(x);
    expect(found(graph)).toEqual([
      'in-place: update.w.neg_1: reads w: f32[2] behind update.w.negInPlace, which overwrites it',
      'in-place: negInPlace: overwrites the input x',
    ]);
  });

  it('results', () => {
    const { graph } = start();
    graph.outputs.set('y', start().x);
    expect(found(graph)).toEqual(['output: y: x: f32[2] is not of this graph']);
  });

  it('assignments', () => {
    const { graph, x, w } = start();
    const state = graph.state('m/w', w.type, zeros);
    const half = graph.state('half', { dtype: 'f32', shape: [1] }, zeros);
    graph.assign(x, w);
    graph.assign(state, neg(x));
    graph.assign(state, w);
    graph.assignments.push({ target: half, value: w }, { target: w, value: start().w });
    expect(found(graph)).toEqual([
      'assignment: x: x: f32[2] is neither a parameter nor a state nor a buffer',
      'assignment: m/w: is assigned neg: f32[2], which exists once a microbatch',
      'assignment: m/w: is assigned twice',
      'assignment: half: f32[1] is assigned w: f32[2]',
      'assignment: w: w: f32[2] is not of this graph',
    ]);
  });

  it('reports everything at once', () => {
    const { graph, x } = start();
    damage(neg(x).node, { name: 'x' });
    graph.outputs.set('y', start().x);
    const error = (() => {
      try {
        verify(graph);
      } catch (e) {
        return e as GraphError;
      }
    })()!;
    expect(error).toBeInstanceOf(GraphError);
    expect(error.code).toBe('invalid-graph');
    expect((error.fields.problems as unknown[]).length).toBe(2);
    expect(error.message).toBe(
      'the graph is invalid: \n  - x: the name is taken by an earlier node\n  - y: x: f32[2] is not of this graph',
    );
  });
});
