import { describe, expect, it } from 'vitest';
import { Graph, type Node } from '../../src/graph/graph.ts';
import { relu } from '../../src/ops/elementwise.ts';

describe('a graph', () => {
  it('of more nodes than any plan gets through is refused while it is built', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [1] });
    // As if there were a million nodes: making them takes a gigabyte.
    (graph.nodes as Node[]).length = 2 ** 20;
    expect(() => relu(x)).toThrow(
      expect.objectContaining({
        code: 'graph-too-large',
        fields: { most: 2 ** 20 },
        remedy: expect.stringContaining('fewer layers'),
      }),
    );
  });
});
