import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { type DerivativeOptions, gradientPenalty, hessian, hessianVectorProduct } from '../../src/train/derivatives.ts';
import { CaseFiles, type SecondOrderCase } from './case-files.ts';
import { classifier } from './experiments.ts';
import { bytesOf, withPrefix } from './layouts.ts';
import { expectAll } from './tolerance.ts';

// Second derivatives through the pipeline: PyTorch's values, and the same bits for every layout of a microbatch count. The
// tests' environment audits each session, and a session that closes holds its measured peaks against the plan.

const layouts: readonly Pick<DerivativeOptions, 'devices' | 'schedule' | 'placement' | 'partition'>[] = [
  { devices: 1 },
  { devices: 3, schedule: 'gpipe' },
  { devices: 3, schedule: '1f1b' },
  { devices: 2, schedule: '1f1b', partition: { balance: 'time' }, placement: [1, 0, 1] },
];

const scalar = (value: number): HostTensor => ({ type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(value) });

describe.each(['mlp_tiny', 'mlp_tanh'])('second derivatives of %s on devices', (name) => {
  const files = new CaseFiles<SecondOrderCase>(`second-order/${name}`);
  const model = classifier(`second-order/${name}`, 'inputs.safetensors');
  const data = files.tensors('inputs.safetensors');
  const direction = new Map(
    Object.entries(data).flatMap(([key, t]) => (key.startsWith('v/') ? [[key.slice(2), t] as const] : [])),
  );
  const expected = files.raw('expected.safetensors');
  const only = (...prefixes: string[]) =>
    new Map([...expected].filter(([key]) => prefixes.includes(key.split('/')[0]!)));
  const tolerance = (key: string) => files.json.tolerance[key.split('/')[0]!]!;

  it.each([1, 2, 4])('H·v, %i microbatches', async (microbatches) => {
    let bytes: string[] | undefined;
    for (const layout of layouts) {
      const { loss, gradients, hvp, vhv } = await hessianVectorProduct({
        model,
        data,
        direction,
        microbatches,
        ...layout,
      });
      const actual = new Map([
        ['loss', scalar(loss)],
        ['vhv', scalar(vhv)],
        ...withPrefix('grad', gradients),
        ...withPrefix('hvp', hvp),
      ]);
      expectAll(actual, only('loss', 'grad', 'hvp', 'vhv'), tolerance);
      bytes ??= bytesOf(actual);
      expect(bytesOf(actual)).toEqual(bytes);
    }
  });

  it.each([1, 2, 4])('gradient penalty, %i microbatches', async (microbatches) => {
    let bytes: string[] | undefined;
    for (const layout of layouts) {
      const { penalty, gradients } = await gradientPenalty({ model, data, at: 'x', microbatches, ...layout });
      const actual = new Map([['penalty', scalar(penalty)], ...withPrefix('gradpen', gradients)]);
      expectAll(actual, only('penalty', 'gradpen'), tolerance);
      bytes ??= bytesOf(actual);
      expect(bytesOf(actual)).toEqual(bytes);
    }
  });

  if (!expected.has('hessian')) return;
  it('full Hessian', async () => {
    for (const devices of [1, 3]) {
      const { matrix } = await hessian({ model, data, devices, microbatches: 2, transport: 'local' });
      expectAll(new Map([['hessian', matrix]]), only('hessian'), tolerance);
    }
  });
});
