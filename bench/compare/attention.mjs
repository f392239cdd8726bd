// What a GPT holds at its peak with the matrices of attention's weights and without: plans alone, which are exact.
import { makeOptimizer, makePlan, nn } from '../../dist/index.js';

const context = 512;
const batch = 16;
const sizes = { vocab: 96, layers: 4, heads: 4, width: 128 };

function activationBytes(attention, recompute) {
  const { memory } = makePlan({
    model: nn.models.modelOf({ kind: 'gpt', ...sizes, context, tied: false, attention }),
    programs: { train: { batch, mode: 'train' } },
    microbatches: 1,
    devices: [{ backend: 'wasm', memory: null, speed: 1 }],
    partition: 'auto',
    recompute,
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
  });
  const { savedActivations, temporaries } = memory[0].byCategory;
  return savedActivations + temporaries;
}

export const attentionPlans = () => ({
  title: `GPT, ${sizes.layers} layers of ${sizes.width}, ${sizes.heads} heads, ${context} tokens, batch ${batch}`,
  context,
  activationBytes: Object.fromEntries(
    ['unfused', 'fused'].map((attention) => [
      attention,
      Object.fromEntries(['none', 'selective'].map((recompute) => [recompute, activationBytes(attention, recompute)])),
    ]),
  ),
});
