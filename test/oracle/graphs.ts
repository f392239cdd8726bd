/** The cases' models, built by hand with the names of their ONNX files. */
import type { HostTensor } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as losses from '../../src/losses/index.ts';
import {
  add,
  avgPool2d,
  concat,
  conv2d,
  div,
  equal,
  erf,
  flatten,
  gather,
  gelu,
  layerNorm,
  logSoftmax,
  matmul,
  maxPool2d,
  mean,
  mul,
  relu,
  reshape,
  sigmoid,
  slice,
  softmax,
  sqrt,
  squeeze,
  sub,
  tanh,
  transpose,
  where,
} from '../../src/ops/functions.ts';
import { sliceScatter } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Batched, CaseFiles, ClassifierCase, GradientCase } from './case-files.ts';

/** What a model is built from. */
export interface Sources {
  readonly graph: Graph;
  readonly input: (name: string) => Tensor;
  /** An initialiser: a parameter, frozen where the case says so; a constant where it is not f32. */
  readonly weight: (name: string) => Tensor;
}

export type Build = (sources: Sources) => Readonly<Record<string, Tensor>>;

/** The model of a case of `gradients/`. */
export function gradientModel(name: string, { json, initializers }: CaseFiles<GradientCase>, build: Build): Model {
  const frozen = new Set(json.frozen_initializers.map((f) => f.name));
  return {
    name,
    build: (batch) => {
      const graph = new Graph();
      const inputs = new Map(json.inputs.map((i) => [i.name, declare(graph, i, batch)]));
      const weight = weights(graph, initializers, frozen);
      const outputs = build({ graph, input: (input) => inputs.get(input)!, weight });
      for (const { name: output, batch_axis: batchAxis } of json.outputs) {
        graph.output(output, outputs[output]!, { batchAxis });
      }
      const objective = json.losses.map((loss) => {
        const output = outputs[loss.output]!;
        const batchAxis = json.outputs.find((o) => o.name === loss.output)!.batch_axis;
        return { loss: lossOf(loss.kind, output, loss.target!, batchAxis), weight: loss.weight };
      });
      return { graph, objective };
    },
  };
}

/** The model of a case of the other folders: f32 or token input, output `logits`, mean cross entropy with `targets`. */
export function classifier(name: string, { json, initializers }: CaseFiles<ClassifierCase>, build: Build): Model {
  const [input] = json.model.inputs;
  return {
    name,
    build: (batch) => {
      const graph = new Graph();
      const dtype = input!.name === 'tokens' ? 'i32' : 'f32';
      const x = graph.input(input!.name, { dtype, shape: [batch, ...(input!.shape.slice(1) as number[])] });
      const { logits } = build({ graph, input: () => x, weight: weights(graph, initializers, new Set()) });
      graph.output('logits', logits!);
      return { graph, objective: [{ loss: losses.crossEntropy(logits!, 'targets'), weight: 1 }] };
    },
  };
}

function declare(graph: Graph, input: Batched, batch: number): Tensor {
  const shape = input.shape.map((size, axis) => (axis === input.batch_axis ? batch : size));
  const dtype = input.dtype === 'int64' ? 'i32' : 'f32';
  return graph.input(input.name, { dtype, shape, batchAxis: input.batch_axis });
}

function lossOf(kind: string, output: Tensor, target: string, batchAxis: number | null): Tensor {
  if (kind === 'sum') return losses.sum(output);
  return kind === 'mse' ? losses.mse(output, target, { batchAxis }) : losses.crossEntropy(output, target);
}

function weights(graph: Graph, from: ReadonlyMap<string, HostTensor>, frozen: ReadonlySet<string>) {
  const made = new Map<string, Tensor>();
  return (name: string): Tensor => {
    const known = made.get(name);
    if (known) return known;
    const value = from.get(name)!;
    const { type, data } = value;
    const tensor =
      type.dtype === 'f32'
        ? graph.parameter(name, type.shape, { kind: 'data', data }, { frozen: frozen.has(name) })
        : graph.constant(value, name);
    made.set(name, tensor);
    return tensor;
  };
}

// Operators of the ONNX files in terms of Partita's.

/** Gemm with transB = 1. */
const gemm = ({ weight }: Sources, name: string, x: Tensor): Tensor =>
  add(matmul(x, weight(`${name}.weight`), { transB: true }), weight(`${name}.bias`));

/** Transpose + MatMul, as torch exports a linear layer without bias; with a bias (behind three axes) an Add. */
const linear = ({ weight }: Sources, name: string, x: Tensor, options: { bias?: boolean } = {}): Tensor => {
  const product = matmul(x, transpose(weight(`${name}.weight`), [1, 0]));
  return options.bias ? add(weight(`${name}.bias`), product) : product;
};

const conv = ({ weight }: Sources, name: string, x: Tensor, { padding = 0, stride = 1, bias = true } = {}): Tensor =>
  conv2d(x, weight(`${name}.weight`), bias ? weight(`${name}.bias`) : undefined, { padding, stride });

const norm = ({ weight }: Sources, name: string, x: Tensor): Tensor =>
  layerNorm(x, weight(`${name}.weight`), weight(`${name}.bias`), { eps: 1e-5 });

/** BatchNormalization in training mode, over the microbatch's own statistics (divided by n). x [N, C, H, W]. */
const batchNorm = ({ weight }: Sources, name: string, x: Tensor, eps = 1e-5): Tensor => {
  const perChannel = (t: Tensor) => reshape(t, [1, -1, 1, 1]);
  const over = { axes: [0, 2, 3], keepDims: true };
  const centred = sub(x, mean(x, over));
  const variance = mean(mul(centred, centred), over);
  const scaled = mul(div(centred, sqrt(add(variance, eps))), perChannel(weight(`${name}.weight`)));
  return add(scaled, perChannel(weight(`${name}.bias`)));
};

/** Pad with zeros on both sides of height and width. */
const pad = (x: Tensor, by: number): Tensor => {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  return sliceScatter(x, { shape: [n, c, h + 2 * by, w + 2 * by], starts: [0, 0, by, by] });
};

/** Attention of `heads` heads over packed queries, keys and values [N, T, 3·D]; `hidden` marks positions not to be seen. */
function attention(packed: Tensor, heads: number, hidden: Tensor): Tensor {
  const [n, t, width] = packed.shape as [number, number, number];
  const d = width / 3;
  const part = (i: number, order: readonly number[]) =>
    transpose(reshape(slice(packed, { 2: [i * d, (i + 1) * d] }), [n, t, heads, d / heads]), order);
  const scores = mul(matmul(part(0, [0, 2, 1, 3]), part(1, [0, 2, 3, 1])), 1 / Math.sqrt(d / heads));
  const seen = softmax(where(hidden, -Infinity, scores), { axis: -1 });
  return reshape(transpose(matmul(seen, part(2, [0, 2, 1, 3])), [0, 2, 1, 3]), [n, t, d]);
}

/** Models by case. */
export const gradientGraphs: Readonly<Record<string, Build>> = {
  expr: ({ input }) => ({ g: mul(add(input('x'), input('y')), input('z')) }),

  cnn_5x5: (s) => {
    const pooled = sigmoid(maxPool2d(conv(s, 'conv', s.input('x')), { kernel: 2 }));
    return { y: gemm(s, 'fc2', gemm(s, 'fc1', flatten(pooled, { startAxis: 1 }))) };
  },

  d2l_mlp_tanh_nobias: (s) => ({ o: linear(s, 'out', tanh(linear(s, 'hidden', s.input('x')))) }),

  d2l_mlp_relu_bias: (s) => ({ o: gemm(s, 'out', relu(gemm(s, 'hidden', s.input('x')))) }),

  lenet_relu: (s) => {
    const first = maxPool2d(relu(conv(s, 'conv1', s.input('x'), { padding: 2 })), { kernel: 2 });
    const second = maxPool2d(relu(conv(s, 'conv2', first)), { kernel: 2 });
    const hidden = relu(gemm(s, 'fc1', flatten(second, { startAxis: 1 })));
    return { logits: gemm(s, 'fc3', relu(gemm(s, 'fc2', hidden))) };
  },

  ops_softmax: ({ graph, input }) => {
    const masked = graph.constant({ type: { dtype: 'bool', shape: [6] }, data: Uint8Array.of(0, 1, 0, 1, 0, 0) });
    return {
      y_last: softmax(input('x_last')),
      y_ch: softmax(input('x_ch'), { axis: 1 }),
      y_mid: softmax(input('x_mid'), { axis: 2 }),
      y_log_last: logSoftmax(input('x_log_last')),
      y_log_ch: logSoftmax(input('x_log_ch'), { axis: 1 }),
      y_big: softmax(input('x_big'), { axis: 1 }),
      y_log_big: logSoftmax(input('x_log_big'), { axis: 1 }),
      y_const: softmax(input('x_const'), { axis: 1 }),
      y_masked: softmax(where(masked, -Infinity, input('x_masked')), { axis: 1 }),
    };
  },

  ops_broadcast: ({ input, weight }) => {
    const [a, b, c] = [input('a'), input('b'), input('c')];
    return {
      add_row: add(a, weight('row')),
      rsub_col: sub(weight('col'), a),
      mul_in: mul(a, b),
      div_p: div(a, weight('den')),
      div_scalar: div(weight('scalar'), b),
      mul_one: mul(c, weight('one')),
      outer_add: add(b, c),
      outer_sub: sub(c, b),
      rank_up: mul(weight('rank4'), a),
      same_twice: add(mul(a, a), add(a, a)),
      chain: mul(sub(a, weight('lead')), div(c, weight('col'))),
      params_first: add(mul(weight('scalar'), weight('row')), b),
      const_sub: sub(2, a),
      const_div: div(a, 4),
    };
  },

  gpt_mini: (s) => {
    const { graph, weight } = s;
    const positions = graph.constant({
      type: { dtype: 'i32', shape: [12] },
      data: Int32Array.from({ length: 12 }, (_, i) => i),
    });
    let x = add(gather(weight('tok.weight'), s.input('tokens')), gather(weight('pos.weight'), positions));
    for (const block of ['blocks.0', 'blocks.1']) {
      const packed = linear(s, `${block}.qkv`, norm(s, `${block}.ln1`, x), { bias: true });
      const attended = attention(packed, 3, equal(weight(`${block}.mask`), 0));
      x = add(x, linear(s, `${block}.proj`, attended, { bias: true }));
      const up = linear(s, `${block}.up`, norm(s, `${block}.ln2`, x), { bias: true });
      x = add(x, linear(s, `${block}.down`, gelu(up), { bias: true }));
    }
    return { logits: linear(s, 'tok', norm(s, 'ln_f', x)) };
  },

  inception: (s) => {
    const mixed = (name: string, x: Tensor): Tensor => {
      const reluConv = (part: string, from: Tensor, padding = 0) => relu(conv(s, `${name}.${part}`, from, { padding }));
      const pooled = maxPool2d(x, { kernel: 3, stride: 1, padding: 1 });
      return concat(
        [
          reluConv('b1', x),
          reluConv('b3b', reluConv('b3a', x), 1),
          reluConv('b5c', reluConv('b5b', reluConv('b5a', x), 2), 1),
          reluConv('bp', pooled),
        ],
        { axis: 1 },
      );
    };
    const stem = relu(conv(s, 'stem', s.input('x'), { padding: 1, stride: 2 }));
    const pooled = avgPool2d(pad(mixed('mix2', mixed('mix1', stem)), 1), { kernel: 3, stride: 2 });
    return { logits: gemm(s, 'fc', mean(pooled, { axes: [2, 3] })) };
  },

  conv_zoo_pool: ({ input }) => {
    const x = (name: string) => input(`x_${name}`);
    return {
      y_max_pad: maxPool2d(x('max_pad'), { kernel: 3, stride: 2, padding: 1 }),
      y_max_overlap: maxPool2d(x('max_overlap'), { kernel: 3, stride: 1 }),
      y_max_ceil: maxPool2d(x('max_ceil'), { kernel: 2, ceilMode: true }),
      y_max_pad_ceil: maxPool2d(x('max_pad_ceil'), { kernel: 3, stride: 2, padding: 1, ceilMode: true }),
      y_max_dilated: maxPool2d(x('max_dilated'), { kernel: 2, stride: 1, dilation: 2 }),
      y_max_rect: maxPool2d(x('max_rect'), { kernel: [2, 3], stride: [1, 2], padding: [1, 0] }),
      y_max_gap: maxPool2d(x('max_gap'), { kernel: 2, stride: 3 }),
      y_avg_pad_incl: avgPool2d(x('avg_pad_incl'), { kernel: 3, stride: 2, padding: 1 }),
      y_avg_pad_excl: avgPool2d(x('avg_pad_excl'), { kernel: 3, stride: 2, padding: 1, countIncludePad: false }),
      y_avg_ceil: avgPool2d(pad(x('avg_ceil'), 0), { kernel: 2, ceilMode: true }),
      y_avg_ceil_excl: avgPool2d(x('avg_ceil_excl'), { kernel: 2, ceilMode: true, countIncludePad: false }),
      y_avg_pad_ceil_excl: avgPool2d(x('avg_pad_ceil_excl'), {
        kernel: 3,
        stride: 2,
        padding: 1,
        ceilMode: true,
        countIncludePad: false,
      }),
      y_avg_rect: avgPool2d(x('avg_rect'), { kernel: [3, 2], stride: [2, 1], padding: [1, 0] }),
      y_avg_overlap: avgPool2d(x('avg_overlap'), { kernel: 3, stride: 1 }),
    };
  },

  // No LSTM op yet: its ten steps written out, so that each weight is used ten times. Gates in ONNX's order i, o, f, c.
  lstm_native: (s) => {
    const { graph, weight } = s;
    const x = s.input('x');
    const [time, batch, width] = x.shape as [number, number, number];
    const hidden = 16;
    const w = squeeze(weight('W'), { axes: 0 });
    const r = squeeze(weight('R'), { axes: 0 });
    const [inputBias, stateBias] = [0, 1].map((i) =>
      slice(squeeze(weight('B'), { axes: 0 }), { 0: [4 * hidden * i, 4 * hidden * (i + 1)] }),
    ) as [Tensor, Tensor];
    const zeros = () => graph.constant({ type: { dtype: 'f32', shape: [1, hidden] }, data: new Float32Array(hidden) });
    let [h, c] = [zeros(), zeros()];
    for (let t = 0; t < time; t++) {
      const now = reshape(slice(x, { 0: [t, t + 1] }), [batch, width]);
      const fromInput = add(matmul(now, w, { transB: true }), inputBias);
      const gates = add(fromInput, add(matmul(h, r, { transB: true }), stateBias));
      const gate = (i: number) => slice(gates, { 1: [i * hidden, (i + 1) * hidden] });
      c = add(mul(sigmoid(gate(2)), c), mul(sigmoid(gate(0)), tanh(gate(3))));
      h = mul(sigmoid(gate(1)), tanh(c));
    }
    return { logits: gemm(s, 'fc', h) };
  },

  // No BatchNormalization op yet: its formula written out. Running statistics are not part of the gradients.
  resnet_block: (s) => {
    const convNorm = (name: string, normName: string, x: Tensor, options: { padding?: number; stride?: number }) =>
      batchNorm(s, normName, conv(s, name, x, { ...options, bias: false }));
    const block = (name: string, x: Tensor, stride: number, shortcut: Tensor): Tensor => {
      const inner = relu(convNorm(`${name}.conv1`, `${name}.bn1`, x, { padding: 1, stride }));
      return relu(add(convNorm(`${name}.conv2`, `${name}.bn2`, inner, { padding: 1 }), shortcut));
    };
    const stem = relu(batchNorm(s, 'stem.1', conv(s, 'stem.0', s.input('x'), { padding: 1 }), 1e-3));
    const first = block('blocks.0', stem, 1, stem);
    const down = convNorm('blocks.1.down.0', 'blocks.1.down.1', first, { stride: 2 });
    const second = block('blocks.1', first, 2, down);
    return { logits: gemm(s, 'fc', mean(block('blocks.2', second, 1, second), { axes: [2, 3] })) };
  },
};

/** tanh between linear layers fc1 … fcN. */
export const mlp =
  (layers: number): Build =>
  (s) => {
    let x = s.input('x');
    for (let i = 1; i < layers; i++) x = tanh(gemm(s, `fc${i}`, x));
    return { logits: gemm(s, `fc${layers}`, x) };
  };

/** The transformer of `training/`: one block, fused attention projection without bias, tied output layer. */
export const trainedGpt: Build = (s) => {
  let x = add(gather(s.weight('wte.weight'), s.input('tokens')), s.weight('wpe.weight'));
  const packed = linear(s, 'h.0.attn.c_attn', norm(s, 'h.0.ln_1', x));
  const attended = attention(packed, 2, s.weight('h.0.attn.future'));
  x = add(x, linear(s, 'h.0.attn.c_proj', attended, { bias: true }));
  const up = linear(s, 'h.0.mlp.c_fc', norm(s, 'h.0.ln_2', x), { bias: true });
  const act = mul(mul(up, add(erf(div(up, Math.SQRT2)), 1)), 0.5); // GELU as the file has it
  x = add(x, linear(s, 'h.0.mlp.c_proj', act, { bias: true }));
  return { logits: linear(s, 'wte', norm(s, 'ln_f', x)) };
};
