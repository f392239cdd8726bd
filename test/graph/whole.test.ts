import { expect, it } from 'vitest';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add } from '../../src/ops/elementwise.ts';

const inputOf = (graph: Graph) => graph.input('x', { shape: [2, 3] });

/** A layer that is refused when it has made a parameter, which somebody keeps. */
function refused(graph: Graph): Tensor {
  let kept: Tensor | undefined;
  expect(() =>
    graph.whole(() => {
      kept = graph.parameter('weight', [2, 3], { kind: 'zeros' });
      graph.label('old', kept);
      graph.label('new', kept);
      throw new Error('refused');
    }),
  ).toThrow('refused');
  return kept!;
}

it('what a refused layer has made is taken nowhere, also where its number is of another node by now', () => {
  const graph = new Graph();
  const x = inputOf(graph);
  graph.label('old', x);
  const kept = refused(graph);
  const message = /weight.* was made in a layer that was refused, and taken back with it\s+at .*whole\.test\.ts/;
  const isRefused = (use: () => unknown) =>
    expect(use).toThrow(expect.objectContaining({ code: 'withdrawn-tensor', message: expect.stringMatching(message) }));
  isRefused(() => add(x, kept));
  const weight = graph.parameter('weight', [2, 3], { kind: 'zeros' });
  expect([weight.node.id, weight.node.name]).toEqual([kept.node.id, kept.node.name]);
  isRefused(() => add(kept, x));
  isRefused(() => graph.output('y', kept));
  isRefused(() => graph.label('y', kept));
  isRefused(() => graph.assign(kept, weight));
  isRefused(() => graph.assign(weight, kept));
  expect([add(x, weight).node.graph, graph.outputs.size, graph.assignments]).toEqual([graph, 0, []]);
});

it('labels are as they were before a refused layer', () => {
  const graph = new Graph();
  const x = inputOf(graph);
  graph.label('old', x);
  refused(graph);
  expect([...graph.labels]).toEqual([['old', x]]);
});

it('an output that is declared twice stays as it was declared first', () => {
  const graph = new Graph();
  const one = graph.parameter('weight', [1], { kind: 'zeros' });
  graph.output('o', one);
  expect(() => graph.outputPerMicrobatch('o', one)).toThrow(expect.objectContaining({ code: 'duplicate-output' }));
  expect(graph.isPerMicrobatch('o')).toBe(false);
});
