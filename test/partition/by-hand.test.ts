import { describe, expect, it } from 'vitest';
import { type PartitaError, PlanError, UsageError } from '../../src/core/errors.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, neg } from '../../src/ops/elementwise.ts';
import { makePartition, type StageSpec } from '../../src/partition/index.ts';
import { mlp, trained } from '../graph/models.ts';

const graph = trained(mlp(4));
const stagesOf = (g: Graph, spec: StageSpec): string =>
  Object.values(makePartition(g, spec, { stages: 9 }).assignment).join('');

function failure(g: Graph, spec: StageSpec): PartitaError {
  try {
    makePartition(g, spec, { stages: 9 });
  } catch (error) {
    return error as PartitaError;
  }
  throw new Error('no error');
}

// Forward nodes of mlp(4): block.0 … block.2 of matmul and relu, block.3.matmul, loss.mul, loss.sum.
describe('cuts', () => {
  it('begins a stage at a node, a layer or a pattern, in graph order', () => {
    expect(stagesOf(graph, { cuts: [] })).toBe('000000000');
    expect(stagesOf(graph, { cuts: ['block.1'] })).toBe('001111111');
    expect(stagesOf(graph, { cuts: ['block.3', 'block.0.relu'] })).toBe('011111222');
    expect(stagesOf(graph, { cuts: ['*.1.rel*', 'loss'] })).toBe('000111122');
    expect(stagesOf(graph, { cuts: ['loss.sum'] })).toBe('000000001');
  });

  it('names the nearest layer', () => {
    const error = failure(graph, { cuts: ['block.1', 'bolck.2', 'los'] });
    expect(error).toBeInstanceOf(UsageError);
    expect(error.code).toBe('partition-unknown-name');
    expect(error.fields).toMatchObject({ names: ['bolck.2', 'los'], nearest: ['block.2', 'loss'] });
    expect(error.message).toContain('no node or layer is named bolck.2; did you mean block.2?');
  });

  it('takes the layers of exported files by their paths and by the names of their modules', () => {
    const exported = exportedNames();
    for (const cut of ['/blocks.1', 'blocks.1', 'blocks.1.fc', '/blocks.1/fc', '/blocks.1/fc/MatMul', '*.1/fc']) {
      expect([cut, stagesOf(exported, { cuts: [cut] })]).toEqual([cut, '0011']);
    }
    expect(stagesOf(exported, { stages: { 'blocks.0': 0, head: 1 } })).toBe('0001');
    const error = failure(exported, { cuts: ['block.1', 'blocks.1.fcc'] });
    expect(error.fields).toMatchObject({ nearest: ['/blocks.1', '/blocks.1/fc'] });
    expect(error.message).toMatch(/^partition: \n {2}- no node or layer is named block\.1; did you mean \/blocks\.1\?/);
  });

  it('does not take a name for a longer one', () => {
    expect(failure(graph, { cuts: ['block.1.mat'] }).code).toBe('partition-unknown-name');
    expect(failure(graph, { cuts: ['block'] }).code).toBe('partition-empty-stage');
  });

  it('refuses more stages than nodes, with both numbers', () => {
    const error = failure(graph, { cuts: Array.from({ length: 9 }, (_, i) => `cut${i}`) });
    expect(error).toBeInstanceOf(PlanError);
    expect([error.code, error.fields]).toEqual(['partition-too-many-stages', { stages: 10, nodes: 9 }]);
    expect(error.message).toContain('10 stages are asked for and the graph has 9 nodes');
  });

  it('refuses empty stages', () => {
    expect(failure(graph, { cuts: ['block.0'] }).message).toContain('so stage 0 is empty');
    const error = failure(graph, { cuts: ['block.1', 'block.1.matmul'] });
    expect([error.code, error.message]).toEqual([
      'partition-empty-stage',
      'cuts block.1 and block.1.matmul both begin at block.1.matmul, so the stage between them is empty',
    ]);
  });
});

/** Nodes named as exporters name them: by the path of the module, and the operator. */
function exportedNames(): Graph {
  const g = new Graph();
  const layer = (path: string, x: Tensor): Tensor => g.scope(path, () => neg(x));
  const x = layer('/blocks.0/fc/MatMul', g.input('x', { shape: [2] }));
  const y = layer('/blocks.1/fc/MatMul', layer('/blocks.0/Relu', x));
  g.output('y', layer('/head/MatMul', y));
  return g;
}

/** a → b → d, a → c → d; c stands behind b in the graph. */
function diamond(): Graph {
  const g = new Graph();
  const a = g.scope('a', () => neg(g.input('x', { shape: [2] })));
  const b = g.scope('b', () => neg(a));
  const c = g.scope('c', () => neg(a));
  g.output(
    'y',
    g.scope('d', () => add(b, c)),
  );
  return g;
}

describe('stages', () => {
  it('takes the first pattern that matches; others follow the latest matched node', () => {
    expect(stagesOf(graph, { stages: { 'block.1': 0, 'block.*': 0, loss: 1 } })).toBe('000000011');
    expect(stagesOf(graph, { stages: { 'block.2': 1 } })).toBe('000011111');
    expect(stagesOf(graph, { stages: { 'block.0': 0, 'block.1': 1, 'block.3': 2 } })).toBe('001111222');
  });

  it('keeps nodes that nothing matches within the order of their inputs and users', () => {
    expect(stagesOf(diamond(), { stages: { a: 0, b: 1, d: 1 } })).toBe('0111');
    const g = diamond();
    g.scope('e', () => neg(g.node('c.neg').outputs[0]!));
    // c stands behind b (stage 1) but e, on stage 0, needs it.
    expect(stagesOf(g, { stages: { a: 0, b: 1, d: 1, e: 0 } })).toBe('01010');
    // Before any match: as early as its inputs allow.
    expect(stagesOf(diamond(), { stages: { c: 1 } })).toBe('0011');
  });

  it('cuts branches side by side', () => {
    expect(stagesOf(diamond(), { stages: { a: 0, b: 2, c: 1, d: 3 } })).toBe('0213');
  });

  it('prints the edges of a cycle', () => {
    const error = failure(graph, { stages: { 'block.0': 0, 'block.1': 1, 'block.2': 0, '*': 1 } });
    expect(error.code).toBe('partition-cycle');
    expect(error.message).toBe(
      "stages need each other's results:\n  stage 1 -> stage 0: block.1.relu -> block.2.matmul\n  stage 0 -> stage 1: block.0.relu -> block.1.matmul",
    );
  });

  it('gives the right order where numbers run backward', () => {
    const error = failure(graph, { stages: { 'block.0': 1, '*': 0 } });
    expect([error.code, error.fields.edges]).toEqual([
      'partition-stage-order',
      [{ from: 1, to: 0, producer: 'block.0.relu', consumer: 'block.1.matmul' }],
    ]);
    expect(error.remedy).toContain('in the order 1, 0 from 0');
  });

  it('refuses gaps, bad numbers, unknown names and more stages than nodes', () => {
    expect(failure(graph, { stages: { 'block.0': 0, '*': 2 } }).code).toBe('partition-empty-stage');
    expect(failure(graph, { stages: { '*': 0, 'block.0': 1 } }).code).toBe('partition-empty-stage');
    expect(failure(graph, { stages: { 'block.0': -1 } }).code).toBe('partition-bad-stage');
    expect(failure(graph, { stages: { 'block.0': 0.5 } }).code).toBe('partition-bad-stage');
    expect(failure(graph, { stages: { blok: 0 } }).fields).toMatchObject({ nearest: ['block'] });
    expect(failure(graph, { stages: { loss: 12 } }).fields).toEqual({ stages: 13, nodes: 9 });
  });
});
