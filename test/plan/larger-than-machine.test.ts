import { describe, expect, it } from 'vitest';
import type { PlanError } from '../../src/core/errors.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { draftPlan, makePlan, type PlanRequest, refuseWhatDoesNotFit } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';

describe('a refusal', () => {
  it('tells of six devices, and how many more lack bytes; its fields have all', () => {
    const model = modelOf({ kind: 'mlp', inputs: 256, hidden: new Array(7).fill(256), classes: 256 });
    const plan = draftPlan({
      model,
      programs: { train: { batch: 1, mode: 'train' } },
      microbatches: 1,
      // Nothing that could be changed for a remedy: what is needed is told.
      partition: { cuts: [1, 2, 3, 4, 5, 6, 7].map((i) => `layer.${i}`) },
      placement: [0, 1, 2, 3, 4, 5, 6, 7],
      recompute: 'optimal',
      devices: Array.from({ length: 8 }, () => ({ backend: 'wasm', memory: 65536, speed: 1 })),
    });
    const refused = () => refuseWhatDoesNotFit(plan);
    expect(refused).toThrow(/device 5 needs .*; and 2 more devices lack bytes$/);
    expect(refused).not.toThrow(/device 6 needs/);
    expect(refused).toThrow(expect.objectContaining({ remedy: expect.stringMatching(/^--memory \d+KiB$/) }));
    try {
      refused();
    } catch (error) {
      expect((error as PlanError).fields.devices).toHaveLength(8);
    }
  });
});

// Minutes: on request, and not a skipped test elsewhere.
if (process.env.PARTITA_LONG) {
  describe('175 billion parameters on 64 devices', { timeout: 600_000 }, () => {
    const request = (memory: number | null): PlanRequest => ({
      model: modelOf({ kind: 'gpt', vocab: 50_257, context: 2048, layers: 96, heads: 96, width: 12_288 }),
      programs: { train: { batch: 64, mode: 'train' } },
      microbatches: 64,
      schedule: '1f1b',
      partition: 'auto',
      // Without one there would be nothing to go back for.
      optimizer: makeOptimizer({ kind: 'sgd' }),
      devices: Array.from({ length: 64 }, () => ({ backend: 'null', memory, speed: 1 })),
    });

    it('are planned and played to the planned byte', async () => {
      const plan = makePlan(request(null));
      await using session = await Session.open(plan, { audit: false });
      await session.run('train', {});
      expect(await session.measuredPeaks()).toEqual(plan.memory.map((m) => m.peakBytes));
    });

    it('are refused where they do not fit, without plans of their size for a remedy', () => {
      expect(() => makePlan(request(80 * 2 ** 30))).toThrow(
        expect.objectContaining({ remedy: expect.stringMatching(/; or try --recompute stage$/) }),
      );
    });
  });
}
