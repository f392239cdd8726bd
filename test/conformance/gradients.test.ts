import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { toHost } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { recordOf } from '../../src/ops/index.ts';
import { firstDifference } from './compare.ts';
import { backendKinds, Executor } from './executor.ts';
import { checkGradients } from './gradient-check.ts';
import {
  type Differentiated,
  differentiatedInputs,
  evaluateGradients,
  firstOrder,
  isDifferentiable,
  secondOrder,
} from './graphs.ts';
import { cases, drawCase } from './samples.ts';

const differentiable = cases.filter((c) => differentiatedInputs(c).length > 0);

it('every differentiable op has a sample whose gradient is checked', () => {
  const checked = new Set(differentiable.map((c) => c.op));
  const missing = cases.map((c) => c.op).filter((op) => isDifferentiable(op) && !checked.has(op));
  expect(missing).toEqual([]);
});

describe('gradients that are zero', () => {
  it.each(cases.filter((c) => recordOf(c.op).gradient.kind === 'zero'))('$title', (c) => {
    const values = drawCase(c);
    const [x] = values;
    const graph = new Graph();
    const tensor = graph.input('x', { ...x!.type, batchAxis: null });
    const [y] = graph.add(recordOf(c.op), [tensor], c.sample.attrs);
    if (y!.dtype === 'f32') expect(gradients([{ tensor: y!, cotangent: y! }], [tensor])).toEqual([undefined]);
    if (c.sample.inputs[0]!.distinct === undefined) return;
    // And it is true: a small move off the jumps changes nothing.
    const at = (move: number) =>
      recordOf(c.op).reference([{ type: x!.type, data: Float64Array.from(x!.data, (v) => v + move) }], c.sample.attrs, [
        y!.type,
      ]);
    expect(at(1e-5)).toEqual(at(-1e-5));
  });
});

describe('gradients in f64 against central differences', () => {
  it.each(differentiable)('$title', (c) => {
    const first = firstOrder(c);
    expect(checkGradients(first, c.title)).toBeGreaterThan(c.sample.gradientFloor ?? 1e-3);
  });
});

describe('second gradients in f64 against central differences', () => {
  it.each(differentiable)('$title', (c) => {
    const second = secondOrder(firstOrder(c), c.title);
    // By the cotangents alone there is always a gradient: a first gradient is linear in them.
    expect(checkGradients(second, c.title)).toBeGreaterThan(c.sample.gradientFloor ?? 1e-3);
  });
});

describe.each(backendKinds)('gradient graphs on %s', (kind) => {
  let executor: Executor;
  beforeAll(async () => {
    executor = await Executor.create(kind);
  });

  const compare = (d: Differentiated, atol: number, rtol: number) => {
    const expected = evaluateGradients(d);
    const feeds = new Map([...d.feeds].map(([tensor, value]) => [tensor, toHost(value)]));
    const present = d.gradients.filter((g): g is Tensor => g !== undefined);
    const results = executor.run(present, feeds);
    d.gradients.forEach((gradient, i) => {
      if (!gradient) return;
      const { data } = results[present.indexOf(gradient)]!;
      expect(firstDifference(data, expected[i]!, { atol, rtol }), d.leaves[i]!.name).toBeUndefined();
    });
  };

  // Several ops follow each other, so that their roundings add up: ten times the tolerance of one op.
  it.each(differentiable)('$title', (c) => {
    const first = firstOrder(c);
    const [atol, rtol] = [10 * (c.sample.atol ?? 1e-6), 10 * (c.sample.rtol ?? 1e-5)];
    compare(first, atol, rtol);
    compare(secondOrder(first, c.title), 4 * atol, 4 * rtol);
  });
});
