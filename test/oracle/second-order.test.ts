import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost } from '../../src/graph/evaluate.ts';
import type { Graph, Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { add, mul } from '../../src/ops/elementwise.ts';
import { sum } from '../../src/ops/reduce.ts';
import { CaseFiles, type SecondOrderCase } from './case-files.ts';
import { classifier } from './experiments.ts';
import { feedsOf } from './reference.ts';
import { expectAll } from './tolerance.ts';

// Gradients of gradients in f64. Both sides are f64 results rounded once to f32, so besides the case's tolerances, which
// are made for f32 runs, they must agree to a unit in the last place.

/** One f32 rounding apart at most; atol for elements whose exact value is 0. */
const rounded = { rtol: 2 ** -24, atol: 1e-15 };

interface SecondOrder {
  readonly graph: Graph;
  /** Directions v, by parameter: inputs of the graph. */
  readonly directions: ReadonlyMap<string, Tensor>;
  readonly results: ReadonlyMap<string, Tensor>;
}

/** d/dθ ⟨dL/dθ, v⟩, and the gradient of P = Σ (∂L/∂x)². */
function differentiateTwice(name: string, { json }: CaseFiles<SecondOrderCase>): SecondOrder {
  const { graph, objective } = classifier(`second-order/${name}`, 'inputs.safetensors').build(json.inputs.batch);
  const { loss } = objective[0]!;
  const { parameters } = graph;
  const x = graph.node('x').outputs[0]!;
  const one = graph.scalar(1);
  const found = gradients([{ tensor: loss, cotangent: one }], [...parameters, x]) as Tensor[];
  const grads = found.slice(0, -1);
  const inputGrad = found.at(-1)!;

  const directions = new Map(
    parameters.map((p) => [p.name, graph.input(`v/${p.name}`, { shape: p.shape, batchAxis: null })]),
  );
  const roots = grads.map((tensor, i) => ({ tensor, cotangent: directions.get(parameters[i]!.name)! }));
  const hvp = gradients(roots, parameters) as Tensor[];
  const products = parameters.map((p, i) => sum(mul(directions.get(p.name)!, hvp[i]!)));

  const penalty = sum(mul(inputGrad, inputGrad));
  const gradpen = gradients([{ tensor: penalty, cotangent: one }], parameters);
  const results = new Map<string, Tensor>([
    ['loss', loss],
    ['input_grad', inputGrad],
    ['penalty', penalty],
    ['vhv', products.reduce((a, b) => add(a, b))],
  ]);
  parameters.forEach((p, i) => {
    results.set(`grad/${p.name}`, grads[i]!);
    results.set(`hvp/${p.name}`, hvp[i]!);
    if (gradpen[i]) results.set(`gradpen/${p.name}`, gradpen[i]);
  });
  return { graph, directions, results };
}

/** Parameters that a result does not depend on have zeros. */
function withZeros(results: Map<string, HostTensor>, parameters: readonly Tensor[]): Map<string, HostTensor> {
  for (const p of parameters) {
    const key = `gradpen/${p.name}`;
    if (!results.has(key))
      results.set(key, { type: p.type, data: new Float32Array(p.type.shape.reduce((n, d) => n * d, 1)) });
  }
  return results;
}

describe.each(['mlp_tiny', 'mlp_tanh'])('second derivatives of %s', (name) => {
  const files = new CaseFiles<SecondOrderCase>(`second-order/${name}`);
  const { graph, directions, results } = differentiateTwice(name, files);
  const feeds = feedsOf(graph, files.tensors('inputs.safetensors'), files.json.inputs.batch);
  const expected = files.raw('expected.safetensors');
  const hessian = expected.get('hessian');
  expected.delete('hessian');
  expected.delete('hessian_eigenvalues');

  it('Hessian-vector product and gradient penalty', () => {
    const values = evaluate([...results.values()], feeds);
    const actual = new Map([...results.keys()].map((key, i) => [key, toHost(values[i]!)]));
    withZeros(actual, graph.parameters);
    expectAll(actual, expected, (key) => files.json.tolerance[key.split('/')[0]!]!);
    expectAll(actual, expected, () => rounded);
  });

  if (!hessian) return; // only the smallest model has one

  it('Hessian, one row a direction', () => {
    const order = files.json.hessian_order!;
    const n = order.reduce((total, { count }) => total + count, 0);
    const wanted = order.map((o) => results.get(`hvp/${o.name}`)!);
    const data = new Float32Array(n * n);
    for (let row = 0; row < n; row++) {
      const unit = new Map<Tensor, RefTensor>(feeds);
      for (const { name: parameter, offset, count } of order) {
        const v = directions.get(parameter)!;
        unit.set(v, {
          type: v.type,
          data: Float64Array.from({ length: count }, (_, i) => (offset + i === row ? 1 : 0)),
        });
      }
      for (const [i, part] of evaluate(wanted, unit).entries()) data.set(toHost(part).data, row * n + order[i]!.offset);
    }
    const actual = new Map([['hessian', { type: { dtype: 'f32', shape: [n, n] }, data } as const]]);
    expectAll(actual, new Map([['hessian', hessian]]), () => files.json.tolerance.hessian!);
    expectAll(actual, new Map([['hessian', hessian]]), () => rounded);
    const asymmetry = data.map((v, i) => Math.abs(v - data[(i % n) * n + Math.floor(i / n)]!));
    expect(Math.max(...asymmetry)).toBeLessThan(1e-7);
  });
});
