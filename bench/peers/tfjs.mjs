// node tfjs.mjs MODEL FILE native|tuned: TensorFlow.js on WebAssembly, one thread.
//
// tuned: what its backend lacks or does slowly, written with what it does fast. Products with a transposed operand (what its
// gradients ask for) are a scalar loop: transposed by a kernel first. Gradients of convolutions and of max pooling are
// missing: convolutions as slices, concatenation and a product; pooling as maxima of slices; strides as every other row of
// pairs, since strided slices have no gradient either. Gathers: one-hot products.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { learningRateOf, readInstance } from './instance.mjs';
import { decline, serve } from './serve.mjs';

const [name, file, how = 'tuned'] = process.argv.slice(2);
const tuned = how === 'tuned';
try {
  const require = createRequire(import.meta.url);
  const tf = require('@tensorflow/tfjs');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  await tf.setBackend('wasm');
  await tf.ready();
  const { parameters, x, y } = readInstance(readFileSync(file), file);

  const variables = {};
  for (const [n, { shape, data }] of Object.entries(parameters)) {
    // Matrices as [inputs, outputs], filters as [height, width, inputs, outputs]: what this library takes.
    let value = tf.tensor(data, shape);
    if (shape.length === 4) value = tf.transpose(value, [2, 3, 1, 0]);
    // Behind the convolutions values lie as (height, width, channel).
    if (name === 'cnn' && n === 'l0.weight') {
      value = tf.reshape(tf.transpose(tf.reshape(value, [120, 16, 5, 5]), [0, 2, 3, 1]), [120, 400]);
    }
    if (shape.length === 2 && !/^(token|position|embedding)\./.test(n)) value = tf.transpose(value, [1, 0]);
    variables[n] = tf.variable(value, true, n);
  }

  const swap = (v) => tf.transpose(v, v.rank === 2 ? [1, 0] : [0, 2, 1]);
  const matmul = tuned
    ? tf.customGrad((a, b, save) => {
        save([a, b]);
        return {
          value: tf.matMul(a, b),
          gradFunc: (dy, [a, b]) => [tf.matMul(dy, swap(b)), tf.matMul(swap(a), dy)],
        };
      })
    : (a, b) => tf.matMul(a, b);
  const matmulT = tuned ? (a, b) => matmul(a, swap(b)) : (a, b) => tf.matMul(a, b, false, true);
  const linear = (h, layer) => {
    const product = matmul(h, variables[`${layer}.weight`]);
    return variables[`${layer}.bias`] ? tf.add(product, variables[`${layer}.bias`]) : product;
  };
  const layerNorm = (h, layer) => {
    const centred = tf.sub(h, tf.mean(h, 1, true));
    const variance = tf.mean(tf.square(centred), 1, true);
    const normed = tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(normed, variables[`${layer}.weight`]), variables[`${layer}.bias`]);
  };
  const gelu = (v) => {
    const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(v, tf.mul(0.044715, tf.mul(v, tf.square(v)))));
    return tf.mul(tf.mul(0.5, v), tf.add(1, tf.tanh(inner)));
  };
  /** Rows and columns from (i, j) on, `rows` × `columns` of them, every one or every other. */
  const window = (h, i, j, rows, columns, stride) => {
    const [n, , , c] = h.shape;
    const near = tf.slice(h, [0, i, j, 0], [n, stride * rows, stride * columns, c]);
    if (stride === 1) return near;
    const pairs = tf.reshape(near, [n * rows, 2, 2 * columns * c]);
    const lines = tf.reshape(tf.slice(pairs, [0, 0, 0], [n * rows, 1, 2 * columns * c]), [n * rows * columns, 2, c]);
    return tf.reshape(tf.slice(lines, [0, 0, 0], [n * rows * columns, 1, c]), [n, rows, columns, c]);
  };
  const filtered = (h, layer, padding, stride = 1) => {
    const weight = variables[`${layer}.weight`];
    const [kernelHeight, kernelWidth, into, out] = weight.shape;
    const [n, height, width] = h.shape;
    if (!tuned) return tf.conv2d(h, weight, stride, padding);
    const rows = Math.floor((height + 2 * padding - kernelHeight) / stride) + 1;
    const columns = Math.floor((width + 2 * padding - kernelWidth) / stride) + 1;
    if (padding > 0)
      h = tf.pad(h, [
        [0, 0],
        [padding, padding],
        [padding, padding],
        [0, 0],
      ]);
    const patches = [];
    for (let i = 0; i < kernelHeight; i++)
      for (let j = 0; j < kernelWidth; j++) patches.push(window(h, i, j, rows, columns, stride));
    const size = kernelHeight * kernelWidth * into;
    const flat = tf.reshape(patches.length > 1 ? tf.concat(patches, 3) : patches[0], [n * rows * columns, size]);
    return tf.reshape(matmul(flat, tf.reshape(weight, [size, out])), [n, rows, columns, out]);
  };
  const conv = (h, layer, padding) => tf.add(filtered(h, layer, padding), variables[`${layer}.bias`]);
  const batchNorm = (h, layer) => {
    const c = h.shape.at(-1);
    const flat = tf.reshape(h, [h.size / c, c]);
    const centred = tf.sub(flat, tf.mean(flat, 0, true));
    const normed = tf.mul(centred, tf.rsqrt(tf.add(tf.mean(tf.square(centred), 0, true), 1e-5)));
    return tf.reshape(tf.add(tf.mul(normed, variables[`${layer}.weight`]), variables[`${layer}.bias`]), h.shape);
  };
  const pool = (h) => {
    if (!tuned) return tf.maxPool(h, 2, 2, 'valid');
    const [n, height, width, c] = h.shape;
    const rows = (n * height) / 2;
    const pairs = tf.reshape(h, [rows, 2, width * c]);
    const line = (i) => tf.slice(pairs, [0, i, 0], [rows, 1, width * c]);
    const columns = tf.reshape(tf.maximum(line(0), line(1)), [(rows * width) / 2, 2, c]);
    const column = (i) => tf.slice(columns, [0, i, 0], [(rows * width) / 2, 1, c]);
    return tf.reshape(tf.maximum(column(0), column(1)), [n, height / 2, width / 2, c]);
  };

  /** Of sequences, the other order: first steps first. */
  const stepsFirst = ({ shape: [n, t], data }) => data.map((_, i) => data[(i % n) * t + Math.floor(i / n)]);

  const forwards = {
    mlp() {
      const input = tf.tensor(x.data, x.shape);
      return () => linear(tf.relu(linear(tf.relu(linear(input, 'l0')), 'l1')), 'l2');
    },
    cnn() {
      const input = tf.tensor(x.data, [x.shape[0], 28, 28, 1]);
      return () => {
        const h = pool(tf.relu(conv(pool(tf.relu(conv(input, 'c0', 2))), 'c1', 0)));
        const flat = tf.reshape(h, [h.shape[0], 400]);
        return linear(tf.relu(linear(tf.relu(linear(flat, 'l0')), 'l1')), 'l2');
      };
    },
    gpt() {
      const [n, t] = x.shape;
      const [vocab, width] = parameters['token.weight'].shape;
      const heads = 4;
      const ids = tf.tensor1d(x.data, 'int32');
      const hotIds = tf.cast(tf.oneHot(ids, vocab), 'float32');
      const future = Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -1e9 : 0));
      const mask = tf.tensor2d(future, [t, t]);
      const embedded = tuned
        ? () => matmul(hotIds, variables['token.weight'])
        : () => tf.gather(variables['token.weight'], ids);
      return () => {
        const positioned = tf.add(tf.reshape(embedded(), [n, t, width]), variables['position.weight']);
        let h = tf.reshape(positioned, [n * t, width]);
        for (let i = 0; i < 4; i++) {
          const block = `block.${i}`;
          const projected = tf.add(
            matmul(layerNorm(h, `${block}.norm1`), variables[`${block}.self_attn.in_proj_weight`]),
            variables[`${block}.self_attn.in_proj_bias`],
          );
          const parts = tf.transpose(tf.reshape(projected, [n, t, 3, heads, width / heads]), [2, 0, 3, 1, 4]);
          const [q, k, v] = tf.split(tf.reshape(parts, [3 * n * heads, t, width / heads]), 3, 0);
          const scores = tf.add(tf.mul(matmulT(q, k), 1 / Math.sqrt(width / heads)), mask);
          const seen = tf.reshape(matmul(tf.softmax(scores), v), [n, heads, t, width / heads]);
          const joined = tf.reshape(tf.transpose(seen, [0, 2, 1, 3]), [n * t, width]);
          h = tf.add(h, linear(joined, `${block}.self_attn.out_proj`));
          const hidden = gelu(linear(layerNorm(h, `${block}.norm2`), `${block}.linear1`));
          h = tf.add(h, linear(hidden, `${block}.linear2`));
        }
        return linear(layerNorm(h, 'norm'), 'head');
      };
    },
    resnet() {
      const input = tf.transpose(tf.tensor(x.data, x.shape), [0, 2, 3, 1]);
      return () => {
        let h = tf.relu(batchNorm(filtered(input, 'conv1', 1), 'bn1'));
        for (let stage = 1; stage <= 4; stage++)
          for (let block = 0; block < 2; block++) {
            const at = `layer${stage}.${block}`;
            const stride = stage > 1 && block === 0 ? 2 : 1;
            const short = stride === 2 ? batchNorm(filtered(h, `${at}.downsample.0`, 0, 2), `${at}.downsample.1`) : h;
            const g = tf.relu(batchNorm(filtered(h, `${at}.conv1`, 1, stride), `${at}.bn1`));
            h = tf.relu(tf.add(batchNorm(filtered(g, `${at}.conv2`, 1), `${at}.bn2`), short));
          }
        const [n, height, width, c] = h.shape;
        return linear(tf.mean(tf.reshape(h, [n, height * width, c]), 1), 'fc');
      };
    },
    lstm() {
      const [n, t] = x.shape;
      const [vocab] = parameters['embedding.weight'].shape;
      const width = parameters['layer.0.weight_hh_l0'].shape[1];
      const ids = tf.tensor1d(stepsFirst(x), 'int32');
      const hotIds = tf.cast(tf.oneHot(ids, vocab), 'float32');
      const weight = (which) => variables[`layer.0.weight_${which}_l0`];
      const embedded = tuned
        ? () => matmul(hotIds, variables['embedding.weight'])
        : () => tf.gather(variables['embedding.weight'], ids);
      return () => {
        const bias = tf.add(variables['layer.0.bias_ih_l0'], variables['layer.0.bias_hh_l0']);
        const inputs = tf.split(tf.add(matmul(embedded(), weight('ih')), bias), t, 0);
        let h = tf.zeros([n, width]);
        let c = tf.zeros([n, width]);
        const outputs = inputs.map((values) => {
          const [input, forget, cell, output] = tf.split(tf.add(values, matmul(h, weight('hh'))), 4, 1);
          c = tf.add(tf.mul(tf.sigmoid(forget), c), tf.mul(tf.sigmoid(input), tf.tanh(cell)));
          h = tf.mul(tf.sigmoid(output), tf.tanh(c));
          return h;
        });
        return linear(tf.concat(outputs, 0), 'head');
      };
    },
  };
  const forward = forwards[name]();

  const count = parameters['head.weight']?.shape[0] ?? 10;
  const hot = tf.cast(tf.oneHot(tf.tensor1d(name === 'lstm' ? stepsFirst(y) : y.data, 'int32'), count), 'float32');
  const crossEntropy = (logits) => {
    const shifted = tf.sub(logits, tf.max(logits, 1, true));
    const logProbabilities = tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), 1, true)));
    return tf.neg(tf.mean(tf.sum(tf.mul(logProbabilities, hot), 1)));
  };
  const optimizer = tf.train.sgd(learningRateOf(name));
  await serve({ peer: 'tfjs-wasm' }, async () => {
    const loss = optimizer.minimize(() => crossEntropy(forward()), true);
    const [value] = loss.dataSync();
    loss.dispose();
    return value;
  });
} catch (error) {
  decline(error);
}
