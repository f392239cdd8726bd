// A deep chain of ReLUs: its derivative is the product of weights and gates, and one dead unit makes it 0.
import { Graph, gradients, ops } from 'partita';
import { check, compare, map, numbers, rows, say, scaled, times, transpose, valuesOf } from './lib.mjs';

// One unit a layer: h₀ = x, zₖ = wₖ·hₖ₋₁ + bₖ, hₖ = relu(zₖ). Then ∂h/∂x = Π wₖ·gₖ with the gate gₖ = 1 where zₖ > 0, else 0.
function scalarChain(title, x, weights, biases) {
  const graph = new Graph();
  const input = graph.input('x', { shape: [], batchAxis: null });
  const ws = weights.map((_, k) => graph.parameter(`w${k + 1}`, [], { kind: 'zeros' }));
  const h = ws.reduce((t, w, k) => ops.relu(ops.add(ops.mul(w, t), biases[k])), input);
  const found = gradients([{ tensor: h, cotangent: graph.scalar(1) }], [input, ...ws]);
  const values = Object.fromEntries([['x', x], ...weights.map((w, k) => [`w${k + 1}`, w])]);
  const [got, dX, ...dW] = valuesOf(graph, [h, ...found], values);

  const hs = [x];
  const gates = weights.map((w, k) => {
    const z = w * hs[k] + biases[k];
    hs.push(Math.max(0, z));
    return Number(z > 0);
  });
  /** Π of weights and gates of the layers behind layer k. */
  const behind = (k) => weights.slice(k).reduce((product, w, i) => product * w * gates[k + i], 1);
  say(`${title}: gates ${gates.join(' ')}\n`);
  compare([
    ['h', got, 'relu(… relu(w₁x + b₁) …)', hs.at(-1)],
    ['∂h/∂x', dX, 'Π wₖ·gₖ', behind(0)],
    ...weights.map((_, k) => [
      `∂h/∂w${k + 1}`,
      dW[k],
      `h${k}·g${k + 1} Π wⱼ·gⱼ, j > ${k + 1}`,
      hs[k] * gates[k] * behind(k + 1),
    ]),
  ]);
  say();
  return dX[0];
}

const weights = [1.5, -2, -0.5, 2, 1.2, 0.8];
const alive = scalarChain('Six layers, all units alive', 1, weights, [0, 4, 2, 0, 0, 0.5]);
const dead = scalarChain('The same with b₂ = 0, so that unit 2 is dead', 1, weights, [0, 0, 2, 0, 0, 0.5]);
check(alive !== 0 && dead === 0, 'one dead unit, and nothing in front of it learns');

// Three units a layer: the Jacobian is the product of the matrices diag(gₖ)·Wₖ.
const [depth, width] = [4, 3];
const layers = Array.from({ length: depth }, (_, k) => rows(numbers(width * width, 7 + k), width));
const graph = new Graph();
const x = graph.input('x', { shape: [1, width] });
const ws = layers.map((_, k) => graph.parameter(`W${k + 1}`, [width, width], { kind: 'zeros' }));
const h = ws.reduce((t, w) => ops.relu(ops.matmul(t, w, { transB: true })), x);
// A row of the Jacobian for each unit of the last layer: the gradient of that unit alone.
const unit = (i) => {
  const data = Float32Array.from({ length: width }, (_, j) => Number(i === j));
  return graph.constant({ type: { dtype: 'f32', shape: [1, width] }, data });
};
const jacobianRows = Array.from({ length: width }, (_, i) => gradients([{ tensor: h, cotangent: unit(i) }], [x])[0]);
const start = [[0.9, -0.4, 0.7]];
const values = Object.fromEntries([['x', start], ...layers.map((w, k) => [`W${k + 1}`, w])]);
const jacobian = valuesOf(graph, jacobianRows, values);

let [state, product] = [start, undefined];
const gates = layers.map((w) => {
  const z = times(state, transpose(w));
  const gate = z[0].map((v) => Number(v > 0));
  state = map(z, (v) => Math.max(0, v));
  const factor = w.map((row, i) => scaled([row], gate[i])[0]);
  product = product ? times(factor, product) : factor;
  return gate;
});
say(`\n${depth} layers of ${width} units: gates ${gates.map((g) => g.join('')).join(' ')}\n`);
compare(jacobian.map((row, i) => [`∂h${i + 1}/∂x`, row, `row ${i + 1} of Π diag(gₖ)·Wₖ`, product[i]]));
