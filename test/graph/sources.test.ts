import { describe, expect, it } from 'vitest';
import { GraphError } from '../../src/core/errors.ts';
import { Graph } from '../../src/graph/graph.ts';

describe('an input', () => {
  it.each([
    [{}, 'no shape'],
    [undefined, 'no shape'],
    [{ shape: 4 }, 'no shape'],
    [{ shape: [4], dtype: 'float32' }, 'the dtype float32'],
  ])('is refused where callers in JavaScript give %j', (options, got) => {
    const make = () => new Graph().input('x', options as never);
    expect(make).toThrow(GraphError);
    expect(make).toThrow(`input x has a shape and is f32, i32 or bool; it was given ${got}`);
  });

  it('is one by its name: asked for again it is the same, and as another type refused', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [4] });
    expect(graph.input('x', { shape: [4] })).toBe(x);
    expect(() => graph.input('x', { shape: [4], dtype: 'i32' })).toThrow(
      'input x is f32[4] and was asked for as i32[4]',
    );
  });
});
