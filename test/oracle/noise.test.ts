import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { gradientNoise, type NoiseOptions } from '../../src/train/noise.ts';
import type { PairEstimate } from '../../src/train/noise-statistics.ts';
import { CaseFiles, type NoiseCase } from './case-files.ts';
import { classifier } from './experiments.ts';
import { bytesOf, vector, withPrefix } from './layouts.ts';
import { expectAll } from './tolerance.ts';

// 256 examples, each by itself: PyTorch's norms and noise scales, and the same bits however many are on the way at once.

const layouts: readonly Pick<NoiseOptions, 'devices' | 'schedule' | 'microbatches' | 'transport'>[] = [
  { devices: 1, microbatches: 1, transport: 'local' },
  { devices: 3, microbatches: 2, schedule: 'gpipe', transport: 'local' },
  { devices: 3, microbatches: 4 },
  { devices: 2, microbatches: 7, transport: 'local' }, // 256 = 36 · 7 + 4
];

describe('gradient noise of an mlp', () => {
  const files = new CaseFiles<NoiseCase>('noise/mlp_init');
  const model = classifier('noise/mlp_init', 'data.safetensors');
  const data = files.tensors('data.safetensors');
  const expected = files.raw('expected.safetensors');
  const pairs = expected.get('pairs')!;
  expected.delete('pairs');

  it('on every layout', { timeout: 120_000 }, async () => {
    let bytes: string[] | undefined;
    for (const layout of layouts) {
      const noise = await gradientNoise({ model, data, ...layout });
      const column = (which: 'all' | 'first', of: (p: PairEstimate) => number) =>
        vector(noise.pairs.map((p) => of(p[which])));
      const actual = new Map<string, HostTensor>([
        ['loss', vector([noise.loss])],
        ...withPrefix('grad', noise.gradients),
        ['per_example_loss', vector([...noise.perExampleLoss])],
        ['per_example_grad_norm', vector([...noise.norms])],
        ['mean_grad_norm_sq', vector([noise.meanGradNormSq])],
        ['tr_sigma', vector([noise.trSigma])],
        ['b_simple', vector([noise.bSimple])],
        ['tr_sigma_biased', vector([noise.trSigmaBiased])],
        ['b_simple_biased_sigma', vector([noise.bSimpleBiasedSigma])],
        ['g2_unbiased', vector([noise.g2Unbiased])],
        ['b_simple_unbiased', vector([noise.bSimpleUnbiased])],
        ...(['all', 'first'] as const).flatMap((which): [string, HostTensor][] => {
          const prefix = which === 'all' ? 'pair' : 'pair_first';
          return [
            [`${prefix}/norm_sq_small`, column(which, (p) => p.normSqSmall)],
            [`${prefix}/norm_sq_big`, column(which, (p) => p.normSqBig)],
            [`${prefix}/g2`, column(which, (p) => p.g2)],
            [`${prefix}/s`, column(which, (p) => p.s)],
            [`${prefix}/b_simple`, column(which, (p) => p.bSimple)],
          ];
        }),
      ]);
      const { tolerance } = files.json;
      expectAll(actual, expected, (name) => tolerance[name.startsWith('grad/') ? 'grad' : name]!);
      bytes ??= bytesOf(actual);
      expect(bytesOf(actual)).toEqual(bytes);
      const { buffer, byteOffset } = pairs.bytes;
      const sizes = new BigInt64Array(buffer.slice(byteOffset, byteOffset + pairs.bytes.length) as ArrayBuffer);
      expect(noise.pairs.flatMap(({ small, big }) => [BigInt(small), BigInt(big)])).toEqual([...sizes]);
    }
  });
});
