// The network with one hidden layer and weight decay, z = W₁x, h = φ(z), o = W₂h, J = L + λ/2 (‖W₁‖² + ‖W₂‖²), with and
// without biases: every gradient beside its formula, and again from two devices, one layer each.
import { buildTrainingGraph, Graph, losses, nn, ops, valueAndGrad } from 'partita';
import {
  check,
  columnSums,
  compare,
  isMain,
  map,
  numbers,
  plus,
  rows,
  say,
  scaled,
  shown,
  squares,
  times,
  transpose,
  valuesOf,
  zip,
} from './lib.mjs';

/** `sizes`: [inputs, hidden, outputs]. With `bias`: relu and cross entropy; without: tanh and mean squared error. */
export const networkOf = ([inputs, hidden, outputs], { bias }) => ({
  name: 'one-hidden-layer',
  build: (n) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [n, inputs] });
    const h = (bias ? nn.relu : ops.tanh)(nn.linear(x, hidden, { bias, name: 'hidden' }));
    const o = graph.output('o', nn.linear(h, outputs, { bias, name: 'out' }));
    return { graph, objective: [{ loss: (bias ? losses.crossEntropy : losses.mse)(o, 'target'), weight: 1 }] };
  },
});

/** J and all gradients by the textbook's formulas. Examples are rows, so a sum over examples is a product of matrices. */
export function byHand({ x, target, w1, b1, w2, b2, lambda }) {
  const n = x.length;
  const z = times(x, transpose(w1)).map((row) => row.map((v, j) => v + (b1?.[j] ?? 0)));
  const h = map(z, b1 ? (v) => Math.max(0, v) : Math.tanh);
  const o = times(h, transpose(w2)).map((row) => row.map((v, j) => v + (b2?.[j] ?? 0)));
  const [L, dO] = b1 ? crossEntropy(o, target) : meanSquaredError(o, target);
  const dH = times(dO, w2);
  const dZ = zip(dH, z, (d, v) => d * (b1 ? Number(v > 0) : 1 - Math.tanh(v) ** 2));
  return {
    o,
    J: L + (lambda / 2) * (squares(w1) + squares(w2)),
    dO,
    dH,
    dZ,
    dW2: plus(times(transpose(dO), h), scaled(w2, lambda)),
    dW1: plus(times(transpose(dZ), x), scaled(w1, lambda)),
    dB2: columnSums(dO),
    dB1: columnSums(dZ),
    dX: times(dZ, w1),
    n,
  };
}

/** Mean over the examples; ∂L/∂o = (softmax(o) − one-hot) / n. */
function crossEntropy(o, target) {
  const p = o.map((row) => {
    const e = row.map((v) => Math.exp(v - Math.max(...row)));
    const sum = e.reduce((a, b) => a + b);
    return e.map((v) => v / sum);
  });
  const L = p.reduce((sum, row, i) => sum - Math.log(row[target[i]]), 0) / o.length;
  return [L, p.map((row, i) => row.map((v, j) => (v - Number(j === target[i])) / o.length))];
}

/** Mean over all elements; ∂L/∂o = 2 (o − y) / elements. */
function meanSquaredError(o, target) {
  const elements = o.length * o[0].length;
  return [squares(zip(o, target, (a, b) => a - b)) / elements, zip(o, target, (a, b) => (2 * (a - b)) / elements)];
}

/** The same from the graph, in f64; `values` by names of inputs and parameters. */
export function fromGraph(model, n, lambda, values) {
  const parameters = ['hidden.weight', 'out.weight'];
  const l2 = { lambda, parameters };
  const graph = buildTrainingGraph(model.build(n), {
    l2,
    fetch: { outputs: true, gradients: true, inputGradients: true },
  });
  const names = [...graph.outputs.keys()];
  const results = valuesOf(graph, [...graph.outputs.values()], values);
  return Object.fromEntries(names.map((name, i) => [name, results[i]]));
}

const host = (dtype, shape, values) => ({
  type: { dtype, shape },
  data: (dtype === 'i32' ? Int32Array : Float32Array).from([values].flat(9)),
});

if (isMain(import.meta.url)) {
  // λ is a power of two: its f32 in the graph is the number itself.
  const [sizes, n, lambda] = [[3, 4, 2], 2, 0.125];
  for (const bias of [false, true]) {
    const [x, w1, w2] = [rows(numbers(6, 1), 3), rows(numbers(12, 2), 3), rows(numbers(8, 3), 4)];
    const [b1, b2] = bias ? [numbers(4, 4), numbers(2, 5)] : [];
    const target = bias ? [1, 0] : rows(numbers(4, 6), 2);
    const model = networkOf(sizes, { bias });
    const inputs = {
      x,
      target,
      'hidden.weight': w1,
      'out.weight': w2,
      ...(bias ? { 'hidden.bias': b1, 'out.bias': b2 } : {}),
    };
    const scale = bias ? { 'scale/target': 1 / n } : { 'scale/elements/2': 1 / (n * 2) };
    const got = fromGraph(model, n, lambda, { ...inputs, ...scale });
    const want = byHand({ x, target, w1, b1, w2, b2, lambda });

    say(
      `${bias ? 'With biases, φ = relu, L = cross entropy' : 'Without biases, φ = tanh, L = mean squared error'}; ${n} examples, λ = ${lambda}\n`,
    );
    compare([
      ['o', got['output/o'], `W₂ φ(W₁x${bias ? ' + b₁) + b₂' : ')'}`, want.o],
      ['J', got.loss, 'L + λ/2 (‖W₁‖² + ‖W₂‖²)', want.J],
      ['∂J/∂W₂', got['grad/out.weight'], '∂J/∂o·hᵀ + λW₂', want.dW2],
      ...(bias ? [['∂J/∂b₂', got['grad/out.bias'], '∂J/∂o', want.dB2]] : []),
      ['∂J/∂W₁', got['grad/hidden.weight'], '∂J/∂z·xᵀ + λW₁, ∂J/∂z = (W₂ᵀ·∂J/∂o) ⊙ φ′(z)', want.dW1],
      ...(bias ? [['∂J/∂b₁', got['grad/hidden.bias'], '∂J/∂z', want.dB1]] : []),
      ['∂J/∂x', got['grad_input/x'], 'W₁ᵀ·∂J/∂z', want.dX],
    ]);

    // The same model on two devices, W₁ on the first and W₂ on the second, in f32.
    const shapes = { 'hidden.weight': [4, 3], 'hidden.bias': [4], 'out.weight': [2, 4], 'out.bias': [2] };
    const names = Object.keys(shapes).filter((name) => name in inputs);
    const two = await valueAndGrad({
      model,
      data: { x: host('f32', [n, 3], x), target: bias ? host('i32', [n], target) : host('f32', [n, 2], target) },
      parameters: new Map(names.map((name) => [name, host('f32', shapes[name], inputs[name])])),
      l2: { lambda, parameters: ['hidden.weight', 'out.weight'] },
      devices: 2,
      partition: { cuts: ['out'] },
      microbatches: n,
    });
    const apart = Math.max(
      ...names.flatMap((name) => got[`grad/${name}`].map((v, i) => Math.abs(v - two.gradients.get(name).data[i]))),
    );
    check(
      apart < 1e-6,
      `two devices, a microbatch an example: the same within 1e-6`,
      `two devices differ by ${shown(apart)}`,
    );
    say();
  }
}
