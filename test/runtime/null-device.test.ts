import { describe, expect, it } from 'vitest';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { draftPlan, makePlan, type Plan, type PlanRequest, shortages } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { train } from '../../src/train/trainer.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf, threeLayers } from '../support/models.ts';

const nothing = { backend: 'null', memory: null, speed: 1 } as const;

const onNull = ({ request }: Plan, more: Partial<PlanRequest> = {}): Plan =>
  makePlan({ ...request, devices: request.devices.map(() => nothing), ...more });

/** Two steps, what the first leaves for the second among it; with the devices' own checks, and the audit's. */
async function played(plan: Plan, program = 'train') {
  await using session = await Session.open(plan, { audit: true });
  await session.run(program, {}, { step: 0 });
  const { reports, ...result } = await session.run(program, {}, { step: 1 });
  return { ...result, reports, peaks: await session.measuredPeaks() };
}

describe('null devices', () => {
  const layouts = [
    { schedule: 'gpipe', recompute: 'none' },
    { schedule: '1f1b', recompute: 'stage' },
    { schedule: 'zb-h1', recompute: 'selective' },
    { schedule: 'interleaved-1f1b', recompute: 'none' },
  ] as const;

  it.each(smallModelKinds.map((kind, i) => [kind, i] as const))(
    'play %s to the peaks of devices that compute, category by category',
    async (kind, i) => {
      const layout = layouts[i % layouts.length]!;
      const plan = planOf(smallModels[kind], {
        devices: 2,
        batch: 4,
        microbatches: 4,
        optimizer: { kind: 'adam' },
        ...layout,
      });
      const same = onNull(plan);
      expect(same.memory.map((m) => m.byCategory)).toEqual(plan.memory.map((m) => m.byCategory));
      const { peaks, reports } = await played(same);
      expect(peaks).toEqual(plan.memory.map((m) => m.peakBytes));
      reports.forEach(({ audit }, d) => {
        const most = Math.max(...audit!.liveBytes.map((row) => row.reduce((a, b) => a + b, 0)));
        expect(most).toBe(plan.memory[d]!.layouts.train!.maxLive);
      });
    },
  );

  it('say what a step is made of', async () => {
    const plan = onNull(planOf(threeLayers, { devices: 3, microbatches: 4, partition: { cuts: ['tanh', 'relu'] } }));
    const { reports } = await played(plan);
    const { devices } = plan.programs.train!;
    reports.forEach(({ played: own, busySeconds }, d) => {
      const sends = devices[d]!.instructions.flatMap((i) =>
        i.kind === 'send' ? [devices[d]!.buffers[i.buffer]!.bytes] : [],
      );
      expect(own).toEqual({
        instructions: devices[d]!.instructions.length,
        messages: sends.length,
        sentBytes: sends.reduce((a, b) => a + b, 0),
      });
      expect(busySeconds).toBe(0);
    });
    expect(reports[1]!.played!.messages).toBe(8);
  });

  it('find values whose bytes another is given, which no plan of ours has', async () => {
    const plan = onNull(planOf(threeLayers, { microbatches: 2 }));
    const [{ layouts }] = plan.memory as [Plan['memory'][number]];
    const { offsets, intervals } = layouts.train!;
    const { buffers } = plan.programs.train!.devices[0]!;
    const moving = intervals.filter((i) => buffers[i.buffer]!.persistent === null);
    const a = moving.find((i) => i.last > i.first + 3)!;
    const b = moving.find((i) => i.first > a.first && i.first < a.last && i.last > i.first)!;
    (offsets as number[])[b.buffer] = offsets[a.buffer]!;
    const session = await Session.open(plan);
    await expect(session.run('train', {})).rejects.toMatchObject({
      code: 'null-overwrite',
      fields: { device: 0, value: buffers[b.buffer]!.name, inUse: { buffer: a.buffer } },
    });
    await session.close();
  });

  it('count their peaks themselves: a plan that says another is found out', async () => {
    const plan = onNull(planOf(threeLayers));
    const { layouts } = plan.memory[0]!;
    const { height } = layouts.train!;
    (layouts as Record<string, unknown>).train = { ...layouts.train!, height: height + 16 };
    const session = await Session.open(plan);
    await session.run('train', {});
    expect(await session.measuredPeaks()).toEqual([height]);
    await expect(session.close()).rejects.toMatchObject({
      code: 'peak-mismatch',
      fields: { plannedBytes: height + 16 },
    });
  });

  it('notice a message that nobody awaits where it is put', async () => {
    const plan = onNull(planOf(threeLayers, { devices: 2, partition: { cuts: ['relu'] } }));
    const [first, second] = plan.programs.train!.devices;
    const send = first!.instructions.find((i) => i.kind === 'send')!;
    if (send.kind !== 'send') throw new Error('no send');
    expect(second!.buffers[send.toBuffer]!.name).toBeDefined();
    (send as { toBuffer: number }).toBuffer = second!.buffers.find((b) => b.persistent !== null)!.id;
    const session = await Session.open(plan);
    await expect(session.run('train', {})).rejects.toMatchObject({ code: 'null-unposted' });
    await session.close();
  });

  const gpt = modelOf({ kind: 'gpt', vocab: 50_000, context: 1024, layers: 8, heads: 16, width: 8192 });
  const large = {
    model: gpt,
    programs: { train: { batch: 8, mode: 'train', gradientNorm: true } },
    microbatches: 4,
    schedule: '1f1b',
    partition: 'auto',
    recompute: 'stage',
    optimizer: makeOptimizer({ kind: 'adam' }),
    devices: Array.from({ length: 4 }, () => nothing),
  } as const satisfies PlanRequest;

  it('play a model of 60 GiB a step without a buffer of its size', async () => {
    const before = process.memoryUsage();
    const plan = makePlan(large);
    const { peaks, loss, results } = await played(plan);
    const after = process.memoryUsage();
    expect(peaks).toEqual(plan.memory.map((m) => m.peakBytes));
    expect(peaks.reduce((a, b) => a + b, 0)).toBeGreaterThan(60 * 2 ** 30);
    expect(Math.max(...peaks)).toBeGreaterThan(4 * 2 ** 30);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 * 2 ** 20);
    // Nothing was computed, and nothing is told.
    expect(loss).toBeNaN();
    expect(results.size).toBe(0);
  });

  it('have the capacities that are given, beyond what can be addressed', () => {
    const model = modelOf({ kind: 'mlp', inputs: 64, hidden: [60_000, 60_000, 60_000], classes: 10 });
    const partition = { balance: 'parameters' } as const;
    const short = (memory: number | null) =>
      shortages(draftPlan({ ...large, model, partition, devices: large.devices.map((d) => ({ ...d, memory })) }));
    expect(short(null)).toEqual([]);
    const lacking = short(6 * 2 ** 30 + 1);
    expect(lacking.length).toBeGreaterThan(0);
    for (const { needBytes, capacityBytes } of lacking) {
      expect(capacityBytes).toBe(6 * 2 ** 30);
      expect(needBytes).toBeGreaterThan(capacityBytes);
    }
  });

  it('are not mixed with devices that compute', () => {
    const { request } = planOf(threeLayers, { devices: 2 });
    expect(() => makePlan({ ...request, devices: [nothing, request.devices[1]!] })).toThrow(
      expect.objectContaining({ code: 'null-devices-mixed', fields: { device: 0, computing: 1 } }),
    );
  });

  describe('refuse by name', () => {
    const plan = onNull(planOf(threeLayers, { devices: 2 }));
    const refusal = { code: 'null-devices', fields: { device: 0 } };

    it('what only arithmetic gives', async () => {
      await using session = await Session.open(plan);
      await session.run('train', batchFor(plan, 'train', 1));
      for (const asked of [
        () => session.parameters(),
        () => session.buffers(),
        () => session.optimizerState(),
        () => session.state(),
        () => session.write(new Map()),
        () => session.run('train', {}, { profile: true }),
      ]) {
        await expect(asked()).rejects.toMatchObject(refusal);
      }
    });

    it('sessions that compute, start from given values, share out work or fail on purpose', async () => {
      const gradients = makePlan({ ...plan.request, programs: { gradients: { batch: 8, mode: 'gradients' } } });
      await expect(Session.open(gradients)).rejects.toMatchObject(refusal);
      await expect(Session.open(plan, { parameters: new Map() })).rejects.toMatchObject(refusal);
      await expect(Session.open(plan, { transport: 'threads' })).rejects.toMatchObject(refusal);
      const faults = { 0: [{ kind: 'throw', step: 0, instruction: 0 }] } as const;
      await expect(Session.open(plan, { faults })).rejects.toMatchObject({ code: 'null-devices' });
    });

    it('evaluations, noise and checkpoints of a training', async () => {
      await using session = await Session.open(plan);
      const data = { name: 'none', steps: 1, stepsPerEpoch: 1, batchAt: () => ({ tensors: {}, epoch: 0, step: 0 }) };
      const options = { session, data, steps: 1 } as unknown as Parameters<typeof train>[0];
      for (const more of [
        { evaluation: { every: 1, evaluate: () => Promise.reject(new Error('never')) } },
        { noise: { decay: 0.9 } },
        { checkpoint: { dir: 'nowhere', every: 1 } },
        { resume: 'nowhere' },
      ]) {
        await expect(train({ ...options, ...more }).next()).rejects.toMatchObject(refusal);
      }
    });

    it('data of another type', async () => {
      await using session = await Session.open(plan);
      const wrong = { x: { type: { dtype: 'f32', shape: [8, 7] }, data: new Float32Array(56) } } as const;
      await expect(session.run('train', wrong)).rejects.toMatchObject({ code: 'feed-type' });
    });
  });
});
