import { expect, it } from 'vitest';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { mul, tanh } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';

/** What a sum adds, as it is bracketed. */
const termsOf = (t: Tensor): string => {
  const { op, attrs, inputs } = t.node;
  if (op?.name === 'accumulate') return String(attrs.total);
  return `(${inputs.map(termsOf).join(` ${op?.name} `)}${op ? '' : t.name})`;
};

it('the gradient of a parameter is the sum of its uses in graph order, from the first to the last', () => {
  const graph = new Graph();
  const x = graph.input('x', { shape: [2, 3] });
  const w = graph.parameter('w', [3], { kind: 'ones' });
  // Three uses: a sum of two is the same in either order.
  const y = mul(tanh(mul(tanh(mul(x, w)), w)), w);
  const objective = [{ loss: sum(y), weight: 1 }];
  const l2 = { lambda: 0.5, parameters: ['w'] };
  const training = buildTrainingGraph({ graph, objective }, { l2, fetch: { gradients: true } });
  expect(termsOf(training.outputs.get('grad/w')!)).toMatch(/^\(\(\(w#0 add w#1\) add w#2\) add \(.* mul .*\)\)$/);
});
