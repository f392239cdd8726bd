/**
 * Breaks one gradient rule in each test, for `scripts/mutate-gradients.mjs`; the suite itself never loads this file.
 * PARTITA_MUTATE=<way>:<input> breaks the cotangent of that input in the rule of the op that the running test is named
 * after, and in no other rule. What became of it stands in the test's `meta`.
 */
import { afterEach, beforeEach } from 'vitest';
import type { Tensor } from '../../src/graph/graph.ts';
import type { GradientRule, InputGradients, OpRecord } from '../../src/graph/op-record.ts';
import { mul, neg } from '../../src/ops/elementwise.ts';
import { isOpName, recordOf } from '../../src/ops/index.ts';

declare module 'vitest' {
  interface TaskMeta {
    op?: string;
    /** Inputs of the op's largest sample. */
    inputs?: number;
    /** The op's rule gives the input a cotangent. */
    mutable?: boolean;
  }
}

type Break = (cotangent: Tensor) => Tensor | undefined;

/** y = x, with a wrong derivative. */
function lie(x: Tensor, gradient: Break): Tensor {
  const record: OpRecord = {
    name: 'mutant',
    doc: 'The identity with a wrong derivative.',
    infer: ([type]) => [type!],
    reference: ([value]) => [value!.data],
    gradient: { kind: 'rule', rule: ({ grads }) => [gradient(grads[0]!)] },
    cost: () => ({ flops: 0, bytes: 0 }),
    samples: [],
    badSamples: [],
  };
  return x.graph.add(record, [x], {})[0]!;
}

const ways: Readonly<Record<string, Break>> = {
  scaled: (g) => mul(g, 1.01),
  negated: neg,
  dropped: () => undefined,
  // The right values, but without a derivative of their own.
  frozen: (g) => lie(g, () => undefined),
};

function broken(gradient: GradientRule, at: number, change: Break, found: () => void): GradientRule {
  switch (gradient.kind) {
    case 'none':
    case 'zero':
      return gradient;
    case 'rule':
      return {
        kind: 'rule',
        rule: (context) => {
          // Asked for everything, so that a cotangent that no test wants is noticed too.
          if (gradient.rule({ ...context, needs: () => true })[at]) found();
          const grads: InputGradients = gradient.rule(context);
          return grads.map((g, i) => (g && i === at ? change(g) : g));
        },
      };
    case 'decompose':
      return {
        kind: 'decompose',
        build: (inputs, attrs) => {
          if (inputs[at]?.dtype !== 'f32') return gradient.build(inputs, attrs);
          found();
          return gradient.build(inputs.with(at, lie(inputs[at], change)), attrs);
        },
      };
  }
}

const [way = '', input = ''] = (process.env.PARTITA_MUTATE ?? '').split(':');
const change = ways[way];
if (!change) throw new Error(`PARTITA_MUTATE must be one of ${Object.keys(ways).join(', ')} and an input's index`);

let restore = () => {};

beforeEach(({ task }) => {
  const op = /^'?(\w+):/.exec(task.name)?.[1] ?? '';
  if (!isOpName(op)) return;
  const record = recordOf(op) as { gradient: GradientRule };
  const { gradient } = record;
  task.meta.op = op;
  task.meta.inputs = Math.max(...recordOf(op).samples.map((s) => s.inputs.length));
  record.gradient = broken(gradient, Number(input), change, () => {
    task.meta.mutable = true;
  });
  restore = () => {
    record.gradient = gradient;
  };
});

afterEach(() => restore());
