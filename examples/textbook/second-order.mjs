// Derivatives of derivatives of the network in weight-decay.mjs (tanh, no biases), and what each order costs. A gradient is
// a graph, so it is differentiated like any other: with a direction v, order k is D(k) = ∂/∂θ of ⟨D(k−1), v⟩, D(1) = ∂J/∂θ.
// D(2) is the Hessian times v, D(3) the third derivative along v twice. With --time, each order is run and timed too.
import {
  buildTrainingGraph,
  formatBytes,
  formatCount,
  formatSeconds,
  gradients,
  hvp,
  makePlan,
  ops,
  plan as plans,
  Session,
  table,
} from 'partita';
import { check, compare, numbers, plus, rows, say, scaled, valuesOf } from './lib.mjs';
import { byHand, networkOf } from './weight-decay.mjs';

const [sizes, n, lambda] = [[16, 32, 4], 32, 0.125];
const network = networkOf(sizes, { bias: false });
const [inputs, hidden, outputs] = sizes;
const x = rows(numbers(n * inputs, 1), inputs);
const target = rows(numbers(n * outputs, 2), outputs);
const theta = [rows(numbers(hidden * inputs, 3), inputs), rows(numbers(outputs * hidden, 4), hidden)].map((w) =>
  scaled(w, 0.5),
);
// The graph holds v as f32: only numbers that f32 has.
const v = [numbers(hidden * inputs, 5), numbers(outputs * hidden, 6)].map((flat) => [...Float32Array.from(flat)]);

/** The model whose gradient is D(order): J itself for orders 0 and 1, ⟨D(order − 1), v⟩ above. */
const modelOf = (order) => ({
  name: `order-${order}`,
  build: (batch) => {
    const { graph, objective } = network.build(batch);
    const parameters = graph.parameters;
    const penalty = parameters.map((w) => ops.mul(ops.sum(ops.mul(w, w)), lambda / 2)).reduce((a, b) => ops.add(a, b));
    let scalar = ops.add(objective[0].loss, penalty);
    for (let k = 2; k <= order; k++) {
      const found = gradients([{ tensor: scalar, cotangent: graph.scalar(1) }], parameters);
      const products = found.map((d, i) => {
        const direction = graph.constant({ type: parameters[i].type, data: Float32Array.from(v[i]) }, 'v');
        return ops.sum(ops.mul(d, direction));
      });
      scalar = products.reduce((a, b) => ops.add(a, b));
    }
    return { graph, objective: [{ loss: scalar, weight: 1 }] };
  },
});

/** D(order) by parameter, in f64. */
function derivative(order) {
  const graph = buildTrainingGraph(modelOf(order).build(n), { fetch: { gradients: true } });
  const values = {
    x,
    target,
    'hidden.weight': theta[0],
    'out.weight': theta[1],
    [`scale/elements/${outputs}`]: 1 / (n * outputs),
  };
  return valuesOf(graph, [graph.outputs.get('grad/hidden.weight'), graph.outputs.get('grad/out.weight')], values);
}

/** ∂J/∂θ at θ + s·v by the formulas of the first order, without any graph. */
function gradientAt(s) {
  const [w1, w2] = theta.map((w, i) => plus(w, scaled(rows(v[i], w[0].length), s)));
  const { dW1, dW2 } = byHand({ x, target, w1, w2, lambda });
  return [dW1.flat(), dW2.flat()];
}
const combine = (terms) =>
  [0, 1].map((i) => terms[0][1][i].map((_, j) => terms.reduce((sum, [c, g]) => sum + c * g[i][j], 0)));

const [d1, d2, d3] = [1, 2, 3].map(derivative);
const g0 = gradientAt(0);
say(`A network of ${sizes.join(', ')} units, ${n} examples\n`);
compare([
  ['∂J/∂W₁', d1[0], '∂J/∂z·xᵀ + λW₁', g0[0]],
  ['∂J/∂W₂', d1[1], '∂J/∂o·hᵀ + λW₂', g0[1]],
]);
say();
// Central differences of the first order's formulas are their own check: they know nothing of the graph's second order.
const [e, f] = [1e-4, 1e-3];
const hv = combine([
  [1 / (2 * e), gradientAt(e)],
  [-1 / (2 * e), gradientAt(-e)],
]);
compare(
  d2.map((d, i) => [`H·v, W${i + 1}`, d, '(∂J/∂θ(θ + εv) − ∂J/∂θ(θ − εv)) / 2ε', hv[i]]),
  { tolerance: 1e-6 },
);
say();
const third = (step) =>
  combine([
    [1, gradientAt(step)],
    [-2, g0],
    [1, gradientAt(-step)],
  ]).map((g) => g.map((d) => d / step ** 2));
compare(
  d3.map((d, i) => [`D(3), W${i + 1}`, d, '(∂J/∂θ(θ + εv) − 2 ∂J/∂θ(θ) + ∂J/∂θ(θ − εv)) / ε²', third(f)[i]]),
  { tolerance: 1e-5 },
);

say('\nWhat an order costs, on one device\n');
const costs = [0, 1, 2, 3].map((order) => {
  const spec = order === 0 ? { batch: n, mode: 'forward' } : { batch: n, mode: 'gradients' };
  const device = { backend: 'wasm', memory: null, speed: 1 };
  const plan = makePlan({
    model: modelOf(order),
    programs: { run: spec },
    devices: [device],
    microbatches: 1,
    schedule: '1f1b',
    partition: 'auto',
  });
  const flops = plans.summarizePlan(plan).stages.reduce((sum, stage) => sum + stage.flops, 0);
  return {
    order,
    plan,
    ops: plan.graphs.run.nodes.filter((node) => node.op).length,
    flops,
    bytes: plan.memory[0].peakBytes,
  };
});
const names = ['J', '∂J/∂θ', 'H·v', 'D(3)'];
say(
  table(
    ['order', '', 'ops', 'FLOPs', 'of order 1', 'peak memory', 'of order 1'],
    costs.map(({ order, ops: count, flops, bytes }) => [
      order,
      names[order],
      count,
      formatCount(flops),
      (flops / costs[1].flops).toFixed(2),
      formatBytes(bytes),
      (bytes / costs[1].bytes).toFixed(2),
    ]),
    { indent: 2 },
  ),
);
say();
// Reverse mode's promise (Baur and Strassen, 1983; Griewank and Walther, 2008): a gradient costs a small multiple of its
// function, so each order costs a small multiple of the one below, whatever the number of parameters.
const factors = costs.slice(1).map(({ flops }, i) => flops / costs[i].flops);
check(
  Math.max(...factors) < 4,
  `each order costs less than 4 times the one below: ${factors.map((r) => r.toFixed(2)).join(', ')}`,
);

const f32 = (shape, values) => ({ type: { dtype: 'f32', shape }, data: Float32Array.from([values].flat(9)) });
const data = { x: f32([n, inputs], x), target: f32([n, outputs], target) };

if (process.argv.includes('--time')) {
  /** Median of steps in seconds, behind a few in which code is compiled. */
  const measure = async ({ plan }) => {
    const session = await Session.open(plan, { transport: 'local' });
    const seconds = [];
    for (let i = 0; i < 220; i++) {
      const { reports } = await session.run('run', data);
      if (i >= 20) seconds.push(reports[0].busySeconds);
    }
    await session.close();
    return seconds.sort((p, q) => p - q)[100];
  };
  const times = [];
  for (const cost of costs) times.push(await measure(cost));
  say('\nMeasured on one device, median of 200 steps\n');
  say(
    table(
      ['order', '', 'time', 'of order 1'],
      costs.map(({ order }, i) => [order, names[order], formatSeconds(times[i]), (times[i] / times[1]).toFixed(2)]),
      { indent: 2 },
    ),
  );
  say();
}

// The same product through a pipeline of two devices, in f32.
const shapes = { 'hidden.weight': [hidden, inputs], 'out.weight': [outputs, hidden] };
const tensors = (values) => new Map(Object.entries(shapes).map(([name, shape], i) => [name, f32(shape, values[i])]));
const { hvp: product } = await hvp({
  model: network,
  data,
  parameters: tensors(theta),
  direction: tensors(v),
  l2: { lambda, parameters: Object.keys(shapes) },
  devices: 2,
  partition: { cuts: ['out'] },
  microbatches: 4,
});
const apart = Math.max(
  ...Object.keys(shapes).flatMap((name, i) => d2[i].map((d, j) => Math.abs(d - product.get(name).data[j]))),
);
check(
  apart < 1e-5,
  'H·v from two devices in four microbatches: the same within 1e-5',
  `two devices differ by ${apart}`,
);
