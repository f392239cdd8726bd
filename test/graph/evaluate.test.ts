import { describe, expect, it } from 'vitest';
import { GraphError } from '../../src/core/errors.ts';
import type { TensorType } from '../../src/core/types.ts';
import { evaluate } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { foldConstants } from '../../src/graph/passes/constant-folding.ts';
import { ops } from '../../src/ops/public.ts';

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const loose = (value: unknown): any => value;

function refusal(call: () => unknown): GraphError {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(GraphError);
  return error as GraphError;
}

const ofType = (type: TensorType, ...data: number[]): RefTensor => ({ type, data: Float64Array.from(data) });

describe('values that have no result', () => {
  type Build = (x: Tensor, indices: Tensor) => Tensor;
  const cases: readonly (readonly [op: string, message: string, index: number, build: Build])[] = [
    ['gather', 'index 2 is outside an axis of 2', 2, (x, i) => ops.gather(x, i)],
    ['gather', 'index -3 is outside an axis of 2', -3, (x, i) => ops.gather(x, i)],
    ['scatterAdd', 'index 9 is outside an axis of 4', 9, (x, i) => ops.scatterAdd(i, x, { size: 4 })],
    ['div', 'an integer is divided by zero', 0, (_, i) => ops.div(i, i)],
    ['crossEntropy', 'target 3 is not one of 3 classes', 3, (x, i) => ops.crossEntropyLoss(x, i)],
  ];
  it.each(cases)('%s: %s', (op, message, index, build) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3] });
    const indices = graph.input('indices', { shape: [2], dtype: 'i32' });
    const feeds = new Map([
      [x, ofType(x.type, 1, 2, 3, 4, 5, 6)],
      [indices, ofType(indices.type, 0, index)],
    ]);
    const y = build(x, indices);
    const error = refusal(() => evaluate([y], feeds));
    expect(error.message).toBe(`${y.node.name} (${op}): ${message}`);
    expect(error.fields).toMatchObject({ node: y.node.name, op });
    expect(error.remedy).toContain('indices');
  });

  it('of constants are told when they are folded', () => {
    const graph = new Graph();
    const x = graph.constant({ type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(1, 2) }, 'table');
    const i = graph.constant({ type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(5) }, 'row');
    graph.output('y', ops.neg(ops.gather(x, i)));
    const error = refusal(() => foldConstants(graph));
    expect(error.message).toContain('(gather): index 5 is outside an axis of 2');
    expect(error.remedy).toBe('correct the values of table or row');
  });
});

describe('what is fed', () => {
  const graph = new Graph();
  const x = graph.input('x', { shape: [2] });
  const y = ops.relu(x);
  const cases: readonly (readonly [message: string, value: unknown])[] = [
    ['x is f32[2], got nothing', undefined],
    ['x is f32[2], got [1, 2]', [1, 2]],
    ['x is f32[2], got an object with type, data', ofType({ dtype: 'f32', shape: [3] }, 1, 2, 3)],
    ['x is f32[2], got an object with type, data', ofType({ dtype: 'i32', shape: [2] }, 1, 2)],
    ['x is f32[2], got a Float64Array of 1 for its data', ofType(x.type, 1)],
  ];
  it.each(cases)('is refused: %s', (message, value) => {
    const error = refusal(() => evaluate([y], new Map([[x, loose(value)]])));
    expect(error.message).toBe(`evaluate: ${message}`);
    expect(error.remedy).toContain('new Float64Array(2)');
  });

  it('and by what is no tensor', () => {
    expect(refusal(() => evaluate([y], new Map([[loose('x'), ofType(x.type, 1, 2)]]))).message).toContain(
      'takes a tensor',
    );
  });
});
