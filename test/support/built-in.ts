import type { HostTensor } from '../../src/core/types.ts';
import { type ModelConfig, modelOf } from '../../src/nn/models/index.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { f32 } from './models.ts';

const configs = {
  mlp: { kind: 'mlp', inputs: 5, hidden: [6, 4, 6], classes: 3, dropout: 0.25 },
  lenet: { kind: 'lenet', size: 4, classes: 3, widths: [2], hidden: [5] },
  resnet: { kind: 'resnet', size: 4, classes: 3, widths: [2, 3], blocks: 1 },
  unet: { kind: 'unet', size: 4, classes: 2, depth: 1, width: 2, convs: 1, norm: 'none' },
  gpt: { kind: 'gpt', vocab: 5, context: 3, layers: 2, heads: 1, width: 4, mlpRatio: 2 },
  lstm: { kind: 'lstm', vocab: 5, context: 3, hidden: 4, numLayers: 2 },
} as const satisfies Record<string, ModelConfig>;

/** The built-in models at their smallest; unet has skips, gpt a tied weight, mlp dropout, resnet running statistics. */
export const smallModels = Object.fromEntries(
  Object.entries(configs).map(([kind, config]) => [kind, modelOf(config)]),
) as Record<keyof typeof configs, ReturnType<typeof modelOf>>;

export const smallModelKinds = Object.keys(configs) as (keyof typeof configs)[];

/** A batch for a plan's program, whose data have names of one letter: numbers for f32, classes 0 and 1 for i32. */
export function batchFor(plan: Plan, program: string, seed: number): Record<string, HostTensor> {
  const feeds = plan.programs[program]!.feeds.filter(({ name }) => name.length === 1);
  return Object.fromEntries(
    feeds.map(({ name, type }, i) => {
      const numbers = f32(type.shape, seed + i);
      if (type.dtype === 'f32') return [name, numbers];
      return [name, { type, data: Int32Array.from(numbers.data, (v) => (v > 0 ? 1 : 0)) }];
    }),
  );
}
