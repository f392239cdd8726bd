// node jax.mjs MODEL FILE: the whole step (loss, gradients, update) under jit, WebAssembly, one thread.
import { readFileSync } from 'node:fs';
import { learningRateOf, readInstance } from './instance.mjs';
import { decline, serve } from './serve.mjs';

const [name, file] = process.argv.slice(2);
try {
  const jax = await import('@jax-js/jax');
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  const { numpy: np, nn, lax } = jax;
  const instance = readInstance(readFileSync(file), file);
  const array = ({ shape, data }) => np.array(data).reshape(shape);

  // Values are counted references: `.ref` keeps one for later, every other use consumes it.
  const linear = (p, h, layer) => {
    const y = np.matmul(h, p[`${layer}.weight`].ref.transpose([1, 0]));
    return p[`${layer}.bias`] ? y.add(p[`${layer}.bias`].ref) : y;
  };
  const crossEntropy = (logits, hot, rows) =>
    nn
      .logSoftmax(logits, -1)
      .mul(hot)
      .sum()
      .mul(-1 / rows);
  const layerNorm = (p, h, layer) => {
    const centred = h.ref.sub(h.mean(1, { keepdims: true }));
    const variance = np.square(centred.ref).mean(1, { keepdims: true });
    return centred
      .div(np.sqrt(variance.add(1e-5)))
      .mul(p[`${layer}.weight`].ref)
      .add(p[`${layer}.bias`].ref);
  };
  const gelu = (x) => {
    const inner = x.ref.add(x.ref.mul(x.ref).mul(x.ref).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return x.mul(np.tanh(inner).add(1)).mul(0.5);
  };
  const pool = (h) => {
    const [n, c, height, width] = h.shape;
    return h.reshape([n, c, height / 2, 2, width / 2, 2]).max([3, 5]);
  };
  const filtered = (p, h, layer, padding, stride = 1) =>
    lax.convGeneralDilated(
      h,
      p[`${layer}.weight`].ref,
      [stride, stride],
      [
        [padding, padding],
        [padding, padding],
      ],
    );
  const perChannel = (p, name) => p[name].ref.reshape([1, p[name].shape[0], 1, 1]);
  const conv = (p, h, layer, padding) => filtered(p, h, layer, padding).add(perChannel(p, `${layer}.bias`));
  const batchNorm = (p, h, layer) => {
    const centred = h.ref.sub(h.mean([0, 2, 3], { keepdims: true }));
    const variance = np.square(centred.ref).mean([0, 2, 3], { keepdims: true });
    return centred
      .div(np.sqrt(variance.add(1e-5)))
      .mul(perChannel(p, `${layer}.weight`))
      .add(perChannel(p, `${layer}.bias`));
  };

  const forwards = {
    mlp: (p, x) => linear(p, nn.relu(linear(p, nn.relu(linear(p, x, 'l0')), 'l1')), 'l2'),
    cnn: (p, x) => {
      const h = pool(nn.relu(conv(p, pool(nn.relu(conv(p, x, 'c0', 2))), 'c1', 0)));
      const flat = h.reshape([h.shape[0], 400]);
      return linear(p, nn.relu(linear(p, nn.relu(linear(p, flat, 'l0')), 'l1')), 'l2');
    },
    gpt: (p, x) => {
      const [n, t] = instance.x.shape;
      const [heads, width] = [4, instance.parameters['token.weight'].shape[1]];
      const mask = np
        .array(Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -1e9 : 0)))
        .reshape([t, t]);
      // The embedding as a product with one-hot rows: the gradient of a gather is slower here.
      let h = np
        .matmul(x, p['token.weight'].ref)
        .reshape([n, t, width])
        .add(p['position.weight'].ref)
        .reshape([n * t, width]);
      for (let i = 0; i < 4; i++) {
        const block = `block.${i}`;
        const normed = layerNorm(p, h.ref, `${block}.norm1`);
        const projected = np
          .matmul(normed, p[`${block}.self_attn.in_proj_weight`].ref.transpose([1, 0]))
          .add(p[`${block}.self_attn.in_proj_bias`].ref)
          .reshape([n, t, 3, heads, width / heads])
          .transpose([2, 0, 3, 1, 4])
          .reshape([3, n * heads, t, width / heads]);
        const [q, k, v] = [projected.ref.slice(0), projected.ref.slice(1), projected.slice(2)];
        const scores = np
          .matmul(q, k.transpose([0, 2, 1]))
          .mul(1 / Math.sqrt(width / heads))
          .add(mask.ref);
        const seen = np
          .matmul(nn.softmax(scores, -1), v)
          .reshape([n, heads, t, width / heads])
          .transpose([0, 2, 1, 3])
          .reshape([n * t, width]);
        h = h.add(linear(p, seen, `${block}.self_attn.out_proj`));
        const hidden = gelu(linear(p, layerNorm(p, h.ref, `${block}.norm2`), `${block}.linear1`));
        h = h.add(linear(p, hidden, `${block}.linear2`));
      }
      return linear(p, layerNorm(p, h, 'norm'), 'head');
    },
    resnet: (p, x) => {
      let h = nn.relu(batchNorm(p, filtered(p, x, 'conv1', 1), 'bn1'));
      for (let stage = 1; stage <= 4; stage++)
        for (let block = 0; block < 2; block++) {
          const at = `layer${stage}.${block}`;
          const stride = stage > 1 && block === 0 ? 2 : 1;
          const short =
            stride === 2 ? batchNorm(p, filtered(p, h.ref, `${at}.downsample.0`, 0, 2), `${at}.downsample.1`) : h.ref;
          const g = nn.relu(batchNorm(p, filtered(p, h, `${at}.conv1`, 1, stride), `${at}.bn1`));
          h = nn.relu(batchNorm(p, filtered(p, g, `${at}.conv2`, 1), `${at}.bn2`).add(short));
        }
      return linear(p, h.mean([2, 3]), 'fc');
    },
    // There is no scan: the steps are written out. x has the first steps of all sequences first.
    lstm: (p, x) => {
      const [n, t] = instance.x.shape;
      const width = instance.parameters['layer.0.weight_hh_l0'].shape[1];
      const weight = (which) => p[`layer.0.weight_${which}_l0`].ref.transpose([1, 0]);
      const inputs = np
        .matmul(np.matmul(x, p['embedding.weight'].ref), weight('ih'))
        .add(p['layer.0.bias_ih_l0'].ref)
        .add(p['layer.0.bias_hh_l0'].ref)
        .reshape([t, n, 4 * width]);
      let h = np.zeros([n, width]);
      let c = np.zeros([n, width]);
      const outputs = [];
      for (let i = 0; i < t; i++) {
        const gates = inputs.ref.slice(i).add(np.matmul(h, weight('hh')));
        const [input, forget, cell, output] = np.split(gates, 4, 1);
        c = nn
          .sigmoid(forget)
          .mul(c)
          .add(nn.sigmoid(input).mul(np.tanh(cell)));
        h = nn.sigmoid(output).mul(np.tanh(c.ref));
        outputs.push(h.ref);
      }
      for (const value of [inputs, h, c]) value.dispose();
      return linear(p, np.concatenate(outputs, 0), 'head');
    },
  };
  const forward = forwards[name];

  const rate = learningRateOf(name);
  const names = Object.keys(instance.parameters);
  let parameters = Object.fromEntries(names.map((n) => [n, array(instance.parameters[n])]));
  const rows = instance.y.data.length;
  const count = instance.parameters['head.weight']?.shape[0] ?? 10;
  /** Of sequences, the other order: first steps first. */
  const stepsFirst = ({ shape: [n, t], data }) => data.map((_, i) => data[(i % n) * t + Math.floor(i / n)]);
  const hot = nn.oneHot(np.array(name === 'lstm' ? stepsFirst(instance.y) : instance.y.data), count);
  const x =
    name === 'gpt'
      ? nn.oneHot(np.array(instance.x.data), 96)
      : name === 'lstm'
        ? nn.oneHot(np.array(stepsFirst(instance.x)), 96)
        : array(instance.x);

  const objective = (p, input, target) => {
    const loss = crossEntropy(forward(p, input), target, rows);
    for (const n of names) p[n].dispose();
    return loss;
  };
  const stepped = jax.jit((p, input, target) => {
    const kept = Object.fromEntries(names.map((n) => [n, p[n].ref]));
    const [loss, gradient] = jax.valueAndGrad(objective)(p, input, target);
    return { loss, parameters: Object.fromEntries(names.map((n) => [n, kept[n].sub(gradient[n].mul(rate))])) };
  });
  await serve({ peer: 'jax-js' }, async () => {
    const result = stepped(parameters, x.ref, hot.ref);
    parameters = result.parameters;
    const [loss] = await result.loss.data();
    await jax.blockUntilReady(parameters);
    return loss;
  });
} catch (error) {
  decline(error);
}
