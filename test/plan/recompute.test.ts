import { describe, expect, it } from 'vitest';
import { PlanError } from '../../src/core/errors.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { draftPlan, makePlan, type Plan, type PlanRequest, shortages } from '../../src/plan/plan.ts';
import { checkSamePlan, readPlanFile, withDecisions, writePlanFile } from '../../src/plan/plan-file.ts';
import { recomputeCurve } from '../../src/plan/recompute-curve.ts';
import { searchPlan } from '../../src/plan/search.ts';
import { summarizePlan } from '../../src/plan/summary.ts';
import {
  type RecomputeChoice,
  type StageForward,
  type StageRecompute,
  selectiveRecompute,
  sqrtRecompute,
  stageForwards,
} from '../../src/recompute/index.ts';
import { printPlan } from '../../src/report/plan.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModels } from '../support/built-in.ts';
import { planOf, toHex } from '../support/models.ts';

const KiB = 1024;
/** Too little to keep everything on either of two devices, and enough to compute again. */
const LIMIT = 576 * KiB;

/** A chain of equal layers whose activations are more than its parameters. */
const deep = (layers: number, width = 32) =>
  modelOf({ kind: 'mlp', inputs: width, hidden: new Array<number>(layers).fill(width), classes: 4 });

function requestOf(
  over: Partial<PlanRequest> & { count?: number; memory?: number | null; batch?: number } = {},
): PlanRequest {
  const { count = 2, memory = null, batch = 1024, ...rest } = over;
  return {
    model: deep(12),
    programs: { train: { batch, mode: 'train' } },
    microbatches: 4,
    schedule: 'gpipe',
    partition: 'auto',
    devices: Array.from({ length: count }, () => ({ backend: 'wasm' as const, memory, speed: 1 })),
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
    ...rest,
  };
}

const peakOf = (plan: Plan): number => Math.max(...plan.memory.map((m) => m.peakBytes));

/** Of one step; the peaks that devices find are held against the plan. */
async function bitsOf(plan: Plan): Promise<string[]> {
  await using session = await Session.open(plan, { seed: 1, transport: 'local' });
  const { results } = await session.run('train', batchFor(plan, 'train', 5), { step: 0 });
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return [...results, ...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort();
}

describe('recompute optimal', () => {
  it('keeps everything where it fits, takes more time the less memory there is, and never more bytes', () => {
    const whole = makePlan(requestOf({ recompute: 'optimal' }));
    expect(whole.recompute.size).toBe(0);
    const stage = makePlan(requestOf({ recompute: 'stage' }));
    const [most, least] = [peakOf(whole), peakOf(stage)];
    expect(least).toBeLessThan(most / 2);
    let slowest = 0;
    for (const share of [1, 0.7, 0.4, 0]) {
      const memory = Math.ceil((least + share * (most - least)) / (64 * KiB)) * 64 * KiB;
      const plan = makePlan(requestOf({ recompute: 'optimal', memory, partition: { ready: whole.partition } }));
      expect(peakOf(plan)).toBeLessThanOrEqual(memory);
      expect(plan.prediction.stepSeconds).toBeGreaterThanOrEqual(slowest);
      slowest = plan.prediction.stepSeconds;
    }
    expect(slowest).toBeGreaterThan(whole.prediction.stepSeconds);
    expect(slowest).toBeLessThanOrEqual(stage.prediction.stepSeconds * 1.001);
  });

  it('keeps the bits and the planned bytes', async () => {
    const one = makePlan(requestOf({ count: 1 }));
    const fitting = makePlan(requestOf({ memory: LIMIT, recompute: 'optimal' }));
    expect(fitting.recompute.size).toBeGreaterThan(0);
    expect(await bitsOf(fitting)).toEqual(await bitsOf(one));
  });

  it('is the remedy of a plan that does not fit without it', () => {
    const request = requestOf({ memory: LIMIT });
    let error: unknown;
    try {
      makePlan(request);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(PlanError);
    expect(error).toMatchObject({ code: 'plan-does-not-fit', remedy: '--recompute optimal' });
    expect(shortages(draftPlan({ ...request, recompute: 'optimal' }))).toEqual([]);
  });

  it('is stored, printed and told in numbers', () => {
    const request = requestOf({ memory: LIMIT, recompute: 'optimal' });
    const plan = makePlan(request);
    const file = readPlanFile(writePlanFile(plan, {}), 'plan.json');
    const again = makePlan(withDecisions(request, file));
    checkSamePlan(again, file, 'plan.json');
    expect([...again.recompute.keys()]).toEqual([...plan.recompute.keys()]);
    const { recompute } = summarizePlan(plan);
    expect(recompute.mode).toBe('optimal');
    for (const s of recompute.stages) {
      expect(s.keptBytes).toBeLessThan(s.fullBytes);
      expect(s.flops).toBeGreaterThan(0);
    }
    expect(printPlan(plan)).toMatch(
      /Recompute optimal, [\d.]+ % of all FLOPs:\nstage +nodes again +FLOPs again a step/,
    );
    // Without the choice it is another plan.
    const without = { ...file, recompute: undefined };
    expect(() => checkSamePlan(draftPlan(withDecisions(request, without)), file, 'plan.json')).toThrow('stored are');
  });

  it('is chosen by a search where memories are limited, and not where they are not', async () => {
    const options = { microbatches: [4], schedules: ['gpipe'] as const, stagesPerDevice: [1], evaluations: 6 };
    const { best } = await searchPlan({ ...requestOf({ memory: LIMIT }), schedule: undefined }, options);
    expect(best).toMatchObject({ fits: true, recompute: 'optimal' });
    const free = await searchPlan({ ...requestOf(), schedule: undefined }, options);
    expect(free.evaluated.map((c) => c.recompute)).toEqual(free.evaluated.map(() => 'none'));
  });

  it('has a curve from keeping everything to the least, with the rules and √n beside it', () => {
    const points = recomputeCurve(requestOf(), 3);
    expect(points.map((p) => p.mode).slice(0, 4)).toEqual(['none', 'stage', 'selective', 'sqrt']);
    const optimal = points.slice(4);
    expect(optimal.length).toBe(3);
    expect(optimal[0]).toMatchObject({ overhead: 0, flopsAgain: 0 });
    expect(optimal.at(-1)!.peakBytes).toBeLessThan(optimal[0]!.peakBytes / 2);
    for (const p of optimal) expect(p.peakBytes).toBeLessThanOrEqual(p.budgetBytes!);
  });
});

describe('recompute by hand', () => {
  it('names values and stages that there are', () => {
    const by = (stage: number, name: string) => () =>
      makePlan(requestOf({ recompute: new Map([[stage, { kept: new Set([name]) }]]) }));
    expect(by(0, 'layer.1.add')).not.toThrow();
    expect(by(0, 'layer.1.ad')).toThrow(/stage 0 keeps layer\.1\.ad, which the graph does not have/);
    expect(by(2, 'layer.1.add')).toThrow(/stage 2 of a plan with 2/);
  });
});

describe('recompute optimal beyond chains', () => {
  // Skips, a tied weight, running statistics, a scan; schedules that split the backward pass too.
  const cases = [
    ['gpt', '1f1b', 1024],
    ['resnet', '1f1b', 2048],
    ['unet', 'zb-h1', 4096],
    ['lstm', '1f1b', 4096],
  ] as const;

  it.each(cases)(
    '%s, %s: only the device that lacks memory computes again, and never longer than √n checkpoints or a rule',
    async (kind, schedule, batch) => {
      const shared = { batch, devices: 2, microbatches: 4, schedule };
      const whole = planOf(smallModels[kind], shared);
      const request = { ...whole.request, partition: { ready: whole.partition }, placement: whole.placement };
      const stageOf = stageMap(whole.graphs.train!, whole.partition);
      const forwards = stageForwards(whole.graphs.train!, stageOf);
      const own = (rule: (forward: StageForward) => StageRecompute, device: number): RecomputeChoice =>
        new Map([...forwards].filter(([s]) => whole.placement[s] === device).map(([s, f]) => [s, rule(f)]));
      const peakOn = (plan: Plan, d: number): number => plan.memory[d]!.peakBytes;
      // The larger model's plans take seconds.
      const rules = kind === 'gpt' ? [sqrtRecompute] : [sqrtRecompute, selectiveRecompute];
      const least = (d: number): number =>
        peakOn(draftPlan({ ...request, recompute: own(() => ({ kept: new Set() }), d) }), d);
      const gains = [0, 1].map((d) => peakOn(whole, d) - least(d));
      const device = gains[0]! >= gains[1]! ? 0 : 1;
      expect(gains[device]).toBeGreaterThan(2 * 64 * KiB);

      const within = (bytes: number): Plan => {
        const memory = Math.ceil(bytes / (64 * KiB)) * 64 * KiB;
        const devices = request.devices.map((d, i) => ({ ...d, memory: i === device ? memory : null }));
        return makePlan({ ...request, devices, recompute: 'optimal' });
      };
      for (const rule of rules) {
        const theirs = draftPlan({ ...request, recompute: own(rule, device) });
        const ours = within(peakOn(theirs, device));
        expect(ours.prediction.stepSeconds).toBeLessThanOrEqual(theirs.prediction.stepSeconds * (1 + 1e-9));
      }
      const plan = within(peakOn(whole, device) - gains[device]! / 2);
      expect(plan.recompute.size).toBeGreaterThan(0);
      for (const stage of plan.recompute.keys()) expect(whole.placement[stage]).toBe(device);
      expect(await bitsOf(plan)).toEqual(await bitsOf(whole));
    },
  );
});
