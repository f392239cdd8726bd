// Batch normalisation over microbatches on devices: exact is the large batch, deferred differs from micro in the buffers
// alone, and all of it has the same bits on every layout, and the memory that was planned.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost } from '../../src/graph/evaluate.ts';
import type { BatchNormMode } from '../../src/optim/batch-norm-modes.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';
import type { PlanRequest } from '../../src/plan/plan.ts';
import { referenceFeeds } from '../../src/train/feeds.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, threeLayers, toHex } from '../support/models.ts';
import { momentum, normedModel } from '../support/norm-model.ts';

const BATCH = 7;
// Away from 0, where one pass over the squares would lose its digits.
const x = f32([BATCH, 3, 4], 5);
const data = { x: { ...x, data: x.data.map((v) => 3 + v) }, t: f32([BATCH, 2], 6) };

interface Run {
  readonly batchNorm?: BatchNormMode;
  readonly microbatches?: number;
  readonly devices?: number;
  readonly partition?: PlanRequest['partition'];
  readonly placement?: readonly number[];
  readonly schedule?: PlanRequest['schedule'];
  readonly invariant?: boolean;
}

/** Loss, outputs, gradients, gradient by x, buffers behind the step: all that one step computes. */
async function gradients({ devices = 1, ...layout }: Run): Promise<Map<string, HostTensor>> {
  const plan = planOf(normedModel, {
    programs: { gradients: { batch: BATCH, mode: 'gradients', outputs: true } },
    inputGradients: true,
    schedule: undefined,
    devices,
    ...layout,
  });
  await using session = await Session.open(plan, { audit: true, transport: 'local' });
  const { results } = await session.run('gradients', data);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return new Map(results);
}

const largestDifference = (a: HostTensor, b: HostTensor): number =>
  Math.max(...[...a.data].map((v, i) => Math.abs(v - b.data[i]!)));

const scaleOf = (t: HostTensor): number => Math.max(...[...t.data].map(Math.abs));

/** The same step of the whole batch in f64. */
function truth(): Map<string, HostTensor> {
  const graph = buildTrainingGraph(normedModel.build(BATCH), {
    fetch: { outputs: true, gradients: true, buffers: true, inputGradients: true },
  });
  const feeds = referenceFeeds(
    graph,
    { tensors: data, samples: BATCH, seed: 0, step: 0, hyper: () => new Float32Array() },
    undefined,
  );
  const names = [...graph.outputs.keys()];
  return new Map(evaluate([...graph.outputs.values()], feeds).map((v, i) => [names[i]!, toHost(v)]));
}

const expected = truth();

/** (1 − momentum)·first + momentum·statistic of the columns of rows [n, columns], as the layer's buffers start. */
function followed(rows: HostTensor, layer: string): { mean: number[]; variance: number[] } {
  const [n, columns] = [rows.type.shape[0]!, rows.type.shape[1]!];
  const spread = rows.data.length / n / columns;
  const first = (buffer: string): Float32Array => {
    const { init } = normedModel.build(1).graph.node(`${layer}.${buffer}`).source!;
    return (init as { data: Float32Array }).data;
  };
  const keep = (old: number, now: number): number => (1 - momentum) * old + momentum * now;
  const statistics = Array.from({ length: columns }, (_, c) => {
    const own = [...rows.data].filter((_, i) => Math.floor(i / spread) % columns === c);
    const mean = own.reduce((a, b) => a + b, 0) / own.length;
    return { mean, variance: own.reduce((a, v) => a + (v - mean) ** 2, 0) / (own.length - 1) };
  });
  return {
    mean: statistics.map(({ mean }, c) => keep(first('running_mean')[c]!, mean)),
    variance: statistics.map(({ variance }, c) => keep(first('running_var')[c]!, variance)),
  };
}

/** A few times what the plain large batch in f32 is off by, and a few roundings of each tensor's scale. */
function expectWithinRounding(got: ReadonlyMap<string, HostTensor>, plain: ReadonlyMap<string, HostTensor>): void {
  expect([...got.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [name, t] of expected) {
    const allowed = 4 * largestDifference(plain.get(name)!, t) + 2 ** -21 * Math.max(scaleOf(t), 0.1);
    expect(largestDifference(got.get(name)!, t), name).toBeLessThan(allowed);
  }
}

const hexes = (tensors: ReadonlyMap<string, HostTensor>): string[] => [...tensors].map(([n, t]) => `${n} ${toHex(t)}`);

/** Tensors that batch-norm-pytorch.py wrote, by mode and name. */
const torch: Record<'whole' | 'micro' | 'deferred', Record<string, number[]>> = JSON.parse(
  readFileSync(new URL('batch-norm-pytorch.json', import.meta.url), 'utf8'),
);

function expectTorch(got: ReadonlyMap<string, HostTensor>, wanted: Readonly<Record<string, number[]>>): void {
  for (const [name, values] of Object.entries(wanted)) {
    const scale = Math.max(...values.map(Math.abs), 0.1);
    const { data } = got.get(name)!;
    expect(data.length, name).toBe(values.length);
    values.forEach((v, i) => void expect(Math.abs(data[i]! - v), `${name} ${i}`).toBeLessThan(4e-6 * scale));
  }
}

describe('PyTorch, on 7 samples in chunks of 3, 2, 2', () => {
  it('micro: each chunk by itself', async () => {
    expectTorch(await gradients({ microbatches: 3 }), torch.micro);
    expectTorch(await gradients({ microbatches: 3, devices: 2, schedule: '1f1b' }), torch.micro);
  });

  it('deferred: the same, with running statistics of the whole', async () => {
    const results = await gradients({ batchNorm: 'deferred', microbatches: 3, devices: 2 });
    expectTorch(results, { ...torch.micro, ...torch.deferred });
  });

  it.each([1, 2, 3, 7])('exact: the whole, in %i microbatches', async (microbatches) => {
    expectTorch(await gradients({ batchNorm: 'exact', microbatches, devices: 2 }), torch.whole);
  });
});

describe('batchNorm exact', () => {
  it('gives the large batch within rounding, gradients and buffers too, for even and uneven microbatches', async () => {
    const whole = await gradients({ microbatches: 1 });
    expect(scaleOf(whole.get('grad_input/x')!)).toBeGreaterThan(1e-3);
    for (const microbatches of [1, 2, 3, 4, 7]) {
      expectWithinRounding(await gradients({ batchNorm: 'exact', microbatches }), whole);
    }
    const micro = await gradients({ microbatches: 2 });
    expect(largestDifference(micro.get('grad/a')!, whole.get('grad/a')!)).toBeGreaterThan(0.01);
  });

  it('gives the same bits on every partition, also where a cut lies between the statistics and their reader', async () => {
    const one = hexes(await gradients({ batchNorm: 'exact', microbatches: 3 }));
    const layouts: Run[] = [
      { devices: 2 },
      { devices: 3 },
      { devices: 2, partition: { cuts: ['second'] } },
      { devices: 2, partition: { cuts: ['matmul'] } },
      {
        devices: 3,
        partition: {
          stages: { 'first.batchNorm.channelMoments': 0, 'second.batchNorm.channelMoments': 1, 'second.batchNorm': 2 },
        },
      },
      { devices: 2, partition: { cuts: ['matmul', 'second'] }, placement: [0, 1, 0] },
    ];
    for (const layout of layouts) {
      expect(hexes(await gradients({ batchNorm: 'exact', microbatches: 3, ...layout }))).toEqual(one);
    }
  });

  it('updates the running statistics once, by the whole batch, its variance unbiased', async () => {
    const results = await gradients({ batchNorm: 'exact', microbatches: 3 });
    expectFollowed(results);
  });

  it('refuses another schedule that is asked for, and takes gpipe where none is', () => {
    const plan = planOf(normedModel, { batchNorm: 'exact', schedule: undefined, microbatches: 2, devices: 2 });
    expect(plan.schedules.train!.name).toBe('gpipe');
    expect(plan.request.schedule).toBe('gpipe');
    expect(() => planOf(normedModel, { batchNorm: 'exact', schedule: '1f1b', microbatches: 2 })).toThrow(
      /batchNorm exact .* only gpipe .* and 1f1b is asked for/,
    );
    expect(planOf(normedModel, { batchNorm: 'deferred', schedule: undefined }).schedules.train!.name).toBe('1f1b');
    // Without batch normalisation there is nothing to wait for.
    expect(planOf(threeLayers, { batchNorm: 'exact', schedule: '1f1b' }).schedules.train!.name).toBe('1f1b');
  });

  it('trains as the large batch does, with a smaller last batch; evaluation reads the buffers', async () => {
    const programs = {
      train: { batch: BATCH, mode: 'train', outputs: true },
      tail: { batch: 2, mode: 'train' },
      eval: { batch: BATCH, mode: 'forward', outputs: true },
    } as const;
    const small = {
      x: { type: { dtype: 'f32', shape: [2, 3, 4] }, data: data.x.data.slice(0, 24) } as const,
      t: { type: { dtype: 'f32', shape: [2, 2] }, data: data.t.data.slice(0, 4) } as const,
    };
    const trained = async (batchNorm: BatchNormMode, microbatches: number, devices: number) => {
      const plan = planOf(normedModel, { batchNorm, microbatches, devices, programs, schedule: 'gpipe' });
      await using session = await Session.open(plan, { audit: true });
      for (let step = 0; step < 4; step++) {
        await session.run(step % 2 === 0 ? 'train' : 'tail', step % 2 === 0 ? data : small, { step });
      }
      const { results } = await session.run('eval', data);
      return new Map([...(await session.parameters()), ...(await session.buffers()), ...results]);
    };
    const whole = await trained('micro', 1, 1);
    const exact = await trained('exact', 3, 1);
    for (const [name, t] of whole) expect(largestDifference(exact.get(name)!, t), name).toBeLessThan(2e-5);
    expect(hexes(await trained('exact', 3, 2))).toEqual(hexes(exact));
    expect(largestDifference((await trained('micro', 3, 1)).get('loss')!, whole.get('loss')!)).toBeGreaterThan(1e-3);
  });
});

/** Buffers of the whole batch's statistics, of what each layer was given. */
function expectFollowed(results: ReadonlyMap<string, HostTensor>): void {
  const given = { first: data.x, second: results.get('output/hidden')! };
  for (const [layer, rows] of Object.entries(given)) {
    const { mean, variance } = followed(rows, layer);
    mean.forEach((v, c) => void expect(results.get(`buffer/${layer}.running_mean`)!.data[c]).toBeCloseTo(v, 5));
    variance.forEach((v, c) => void expect(results.get(`buffer/${layer}.running_var`)!.data[c]).toBeCloseTo(v, 5));
  }
}

describe('batchNorm deferred', () => {
  it('computes what micro does, and follows the whole batch once a step', async () => {
    for (const microbatches of [1, 2, 3]) {
      const micro = await gradients({ microbatches });
      const deferred = await gradients({ batchNorm: 'deferred', microbatches });
      const computed = (of: ReadonlyMap<string, HostTensor>) => hexes(of).filter((line) => !line.startsWith('buffer/'));
      expect(computed(deferred)).toEqual(computed(micro));
      expectFollowed(deferred);
      if (microbatches > 1) {
        const name = 'buffer/first.running_mean';
        expect(largestDifference(micro.get(name)!, deferred.get(name)!)).toBeGreaterThan(1e-2);
      }
    }
  });

  it('has the same bits on every layout and under every schedule', async () => {
    const one = hexes(await gradients({ batchNorm: 'deferred', microbatches: 3 }));
    for (const layout of [
      { devices: 2, schedule: 'gpipe' },
      { devices: 3, schedule: '1f1b' },
      { devices: 2, partition: { cuts: ['matmul', 'second'] }, placement: [0, 1, 0] },
    ] as const) {
      expect(hexes(await gradients({ batchNorm: 'deferred', microbatches: 3, ...layout }))).toEqual(one);
    }
  });
});

describe('batchNorm exact and invariant', () => {
  it('gives the same bits for every number of microbatches, and the large batch within rounding', async () => {
    const run = (microbatches: number, devices = 1) =>
      gradients({ batchNorm: 'exact', invariant: true, microbatches, devices });
    const one = await run(1);
    expectTorch(one, torch.whole);
    for (const [microbatches, devices] of [[2], [3, 2], [7]] as const) {
      expect(hexes(await run(microbatches, devices))).toEqual(hexes(one));
    }
    for (const batchNorm of ['micro', 'deferred'] as const) {
      await expect(gradients({ batchNorm, invariant: true })).rejects.toThrow(/batchNorm/);
    }
  });
});
