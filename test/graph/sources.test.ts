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

  it.each([undefined, null, 3, {}])('is refused without a name: %j', (name) => {
    expect(() => new Graph().input(name as never, { shape: [4] })).toThrow('an input has a name, got ');
  });
});

describe('a graph', () => {
  it('is for training or for evaluation, and takes no other word', () => {
    expect(new Graph().mode).toBe('training');
    expect(new Graph({ mode: 'evaluation' }).mode).toBe('evaluation');
    for (const mode of ['train', 'eval', '', null, true]) {
      const make = () => new Graph({ mode } as never);
      expect(make).toThrow(expect.objectContaining({ name: 'GraphError', code: 'graph-options' }));
      expect(make).toThrow('the mode must be training or evaluation, got ');
    }
    expect(() => new Graph({ mod: 'training' } as never)).toThrow('unknown option mod, did you mean "mode"?');
    expect(() => new Graph('training' as never)).toThrow('options must be an object, got "training"');
  });

  it.each([undefined, 2, [], {}])('declares no result that is no tensor: %j', (value) => {
    expect(() => new Graph().output('y', value as never)).toThrow('output y is a tensor, got ');
  });

  it.each([undefined, '3', [1], {}])('makes no scalar of what is no number: %j', (value) => {
    expect(() => new Graph().scalar(value as never)).toThrow('a scalar is a number, got ');
  });
});

describe('the axis of the batch', () => {
  it('is counted from the end where it is negative', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [3, 4], batchAxis: -1 });
    expect(x.node.source?.feed).toMatchObject({ batchAxis: 1 });
    graph.output('y', x, { batchAxis: -1 });
    expect(graph.batchAxisOf('y')).toBe(1);
  });

  it.each([2, -3, 0.5, '0', Number.NaN, {}])('is refused where there is none: %j', (batchAxis) => {
    const graph = new Graph();
    const options = { batchAxis } as never;
    const x = graph.input('x', { shape: [3, 4] });
    const error = expect.objectContaining({ code: 'batch-axis', fields: { batchAxis, rank: 2 } });
    expect(() => graph.input('z', { shape: [3, 4], ...(options as object) })).toThrow(error);
    expect(() => graph.output('y', x, options)).toThrow(error);
    expect([...graph.outputs.keys()]).toEqual([]);
  });
});
