import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { partitionByBalance } from '../../src/partition/index.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { checkSamePlan, readPlanFile, withDecisions, writePlanFile } from '../../src/plan/plan-file.ts';
import { readScheduleCsv } from '../../src/schedule/csv.ts';
import { scheduleNames } from '../../src/schedule/index.ts';
import { gradientPenalty, hessianVectorProduct } from '../../src/train/derivatives.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModels } from '../support/built-in.ts';
import { type PlanOverrides, planOf, threeLayers, toHex } from '../support/models.ts';

const { mlp, gpt, resnet } = smallModels;
const words = [...scheduleNames, 'auto'] as const;

describe('stages of a device', () => {
  it.each([
    ['1f1b', undefined, [0, 1, 2]],
    ['gpipe', 2, [0, 0, 1, 1, 2, 2]],
    ['interleaved-1f1b', undefined, [0, 1, 2, 0, 1, 2]],
    ['looped-bfs', 1, [0, 1, 2]],
    ['zb-h1', 2, [0, 0, 1, 1, 2, 2]],
    ['zb-v', undefined, [0, 1, 2, 2, 1, 0]],
    ['dualpipe-v', undefined, [0, 1, 2, 2, 1, 0]],
  ] as const)('of %s, asked for %s, lie where the schedule wants them', (schedule, stagesPerDevice, placement) => {
    const plan = planOf(gpt, { devices: 3, microbatches: 4, schedule, stagesPerDevice });
    expect(plan.placement).toEqual(placement);
    expect(plan.partition.stages).toBe(placement.length);
  });

  const models = Object.entries(smallModels);
  it.each(models)(
    'of %s are cut so that devices have equal loads, as far as one piece does not outweigh them',
    (_, m) => {
      for (const schedule of ['zb-v', 'dualpipe-v', 'interleaved-1f1b'] as const) {
        const { partition, placement } = planOf(m, { batch: 8, devices: 2, microbatches: 4, schedule });
        const { value, lowerBound, deviceLoads, loads } = partition.objective!;
        expect(lowerBound).toBe(value);
        expect(value).toBeCloseTo(Math.max(...deviceLoads!) + Math.max(...loads) / 4, 12);
        // No worse than what comes of balancing stages, whoever owns them.
        const graph = planOf(m, { batch: 8, devices: 2, microbatches: 4 }).graphs.train!;
        const byStage = partitionByBalance(graph, 'time', { stages: 4, exactly: true, microbatches: 4 }).objective!;
        const sums = [0, 1].map((d) => byStage.loads.reduce((sum, x, s) => (placement[s] === d ? sum + x : sum), 0));
        expect(value).toBeLessThanOrEqual((Math.max(...sums) + byStage.value / 4) * (1 + 1e-12));
        for (const [s, d] of placement.entries()) expect(deviceLoads![d]).toBeGreaterThanOrEqual(loads[s]!);
      }
    },
  );

  it('of a graph with few nodes: as many devices as can have all of theirs', () => {
    const nodes = planOf(threeLayers).partition.assignment;
    const devices = Object.keys(nodes).length;
    const plan = planOf(threeLayers, { devices, schedule: 'zb-v', microbatches: 2 });
    expect(plan.placement).toEqual([...plan.placement].reverse());
    expect(plan.surplus.length).toBe(devices - plan.placement.length / 2);
  });

  it('may be fewer or more than a hand-written cut needs: then the message says what would do', () => {
    const cuts = ['matmul_1', 'matmul_2'];
    expect(planOf(threeLayers, { devices: 2, stagesPerDevice: 2, partition: { cuts } }).placement).toEqual([0, 0, 1]);
    expect(() => planOf(threeLayers, { devices: 2, partition: { cuts } })).toThrow(
      expect.objectContaining({ code: 'placement-stages', remedy: '--devices 3, or --stagesPerDevice 2' }),
    );
  });

  const refused: [string, PlanOverrides, string][] = [
    ['a placement', { stagesPerDevice: 2, placement: [0, 1] }, 'stages-per-device'],
    ['devices by name', { stagesPerDevice: 2, partition: { devices: { '*': 0 } } }, 'stages-per-device'],
    ['no number', { stagesPerDevice: 0 }, 'stages-per-device'],
    ['places given twice', { placement: [0], partition: { devices: { '*': 0 } } }, 'placement-twice'],
    ['a device that is not there', { partition: { devices: { '*': 2 } } }, 'placement-device'],
  ];
  it.each(refused)('are refused against %s', (_, layout, code) => {
    expect(() => planOf(threeLayers, { devices: 2, ...layout })).toThrow(expect.objectContaining({ code }));
  });
});

const bitsOf = async (plan: ReturnType<typeof planOf>): Promise<string[]> => {
  await using session = await Session.open(plan, { seed: 5, transport: 'local', audit: true });
  const { results } = await session.run('train', batchFor(plan, 'train', 3), { step: 0 });
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return [...results, ...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort();
};

describe("a schedule from a file, PyTorch's DualPipeV of 4 ranks", () => {
  const file = new URL('../schedule/data/dualpipev_4rank_10mb.csv', import.meta.url);
  const schedule = readScheduleCsv(readFileSync(file, 'utf8'));
  const shared = { batch: 10, microbatches: 10, optimizer: { kind: 'adamw', lr: 0.01 } } as const;

  it('brings its stages and their places, and gives the same bits', async () => {
    const plan = planOf(gpt, { ...shared, devices: 4, schedule });
    expect(plan.placement).toEqual([0, 1, 2, 3, 3, 2, 1, 0]);
    expect(await bitsOf(plan)).toEqual(await bitsOf(planOf(gpt, shared)));
  });

  it('is stored with its overlap cells', () => {
    const plan = planOf(gpt, { ...shared, devices: 5, schedule });
    const stored = readPlanFile(writePlanFile(plan, {}), 'plan.json');
    const again = makePlan(withDecisions({ ...plan.request, stagesPerDevice: 7 }, stored));
    expect(() => checkSamePlan(again, stored, 'plan.json')).not.toThrow();
    expect(again.schedules).toEqual(plan.schedules);
    expect(again.schedules.train!.overlaps!.flat().length).toBeGreaterThan(0);
    expect(plan.surplus).toEqual([4]);
  });
});

/** Other costs make another schedule `auto`, and must not where it is stored. */
const slow = { flopsPerSecond: 1e6, bytesPerSecond: 1e9, secondsPerKernel: 1e-3, speed: 1 };

describe('every schedule by name', () => {
  it.each(words)('%s is stored in a plan and made again, places and all', (schedule) => {
    const programs = { train: { batch: 8, mode: 'train' }, tail: { batch: 2, mode: 'train' } } as const;
    const plan = planOf(gpt, { programs, devices: 2, microbatches: 3, schedule });
    const stored = readPlanFile(writePlanFile(plan, {}), 'plan.json');
    const again = makePlan(
      withDecisions({ ...plan.request, schedule: undefined, costs: analyticCosts({ device: slow }) }, stored),
    );
    expect(again.schedules).toEqual(plan.schedules);
    expect(() => checkSamePlan(again, stored, 'plan.json')).not.toThrow();
  });

  it('runs gradients within the model, whose stages are folded', { timeout: 60_000 }, async () => {
    const data = batchFor(planOf(mlp, { batch: 5 }), 'train', 1);
    const layouts = words.map((schedule) => ({ schedule, devices: 2, microbatches: 3, audit: true }));
    const products = async (layout: object) => {
      const options = { model: mlp, data, seed: 2, transport: 'local', ...layout } as const;
      const direction = new Map(planOf(mlp).graphs.train!.parameters.map((p) => [p.name, constant(p.type.shape)]));
      const { hvp } = await hessianVectorProduct({ ...options, direction });
      const { gradients } = await gradientPenalty({ ...options, at: 'x' });
      return [...hvp, ...gradients].map(([name, t]) => `${name} ${toHex(t)}`);
    };
    const expected = await products({ microbatches: 3 });
    for (const layout of layouts) expect(await products(layout), layout.schedule).toEqual(expected);
  });

  it('that begins backwards early is refused with statistics of the whole batch; others give the same bits', async () => {
    const layout = { batch: 6, microbatches: 3, devices: 2, batchNorm: 'exact' } as const;
    const expected = await bitsOf(planOf(resnet, { ...layout, devices: 1, schedule: 'gpipe' }));
    for (const schedule of words) {
      const isBreadthFirst = schedule === 'gpipe' || schedule === 'looped-bfs';
      if (isBreadthFirst) expect(await bitsOf(planOf(resnet, { ...layout, schedule }))).toEqual(expected);
      else {
        expect(() => planOf(resnet, { ...layout, schedule })).toThrow(
          expect.objectContaining({ code: 'batch-norm-schedule', message: expect.stringContaining('looped-bfs') }),
        );
      }
    }
  });
});

function constant(shape: readonly number[]) {
  const length = shape.reduce((n, d) => n * d, 1);
  return { type: { dtype: 'f32', shape }, data: Float32Array.from({ length }, (_, i) => 1 / (1 + i)) } as const;
}
