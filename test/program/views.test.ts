import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PlanError } from '../../src/core/errors.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, mul, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { concat, slice, transpose } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import type { Plan } from '../../src/plan/plan.ts';
import type { Buffer, DeviceProgram, StepProgram } from '../../src/program/instruction.ts';
import { validateProgram } from '../../src/program/validate.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';
import { Choices, randomStages } from '../support/random-model.ts';

/** Columns of samples, [rows, batch]: cut along the rows, joined along them, computed on in between, from parameters' rows too. */
function slicedModel(seed: number): Model {
  return {
    name: `sliced ${seed}`,
    build: (batch) => {
      const choices = new Choices(seed);
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 6] });
      const target = graph.input('t', { shape: [batch, 3] });
      const weight = (name: string, rows: number): Tensor =>
        graph.parameter(name, [rows, 3], { kind: 'uniform', low: -0.8, high: 0.8 });
      const weights = [weight('w0', 3), weight('w1', 9), weight('w2', 6)];
      const part = (t: Tensor): Tensor => {
        const start = 3 * choices.below(t.shape[0]! / 3);
        return t.shape[0] === 3 ? t : slice(t, { 0: [start, start + 3] });
      };
      const wide: Tensor[] = [tanh(transpose(x))];
      const pool: Tensor[] = [part(wide[0]!)];
      const recent = (list: readonly Tensor[]) => list[Math.max(0, list.length - 1 - choices.below(3))]!;
      const grow: (() => void)[] = [
        () => pool.push(part(recent(wide))),
        // A whole value by its parts, which are overwritten or kept.
        () => {
          const all = recent(wide);
          const parts = Array.from({ length: all.shape[0]! / 3 }, (_, i) => slice(all, { 0: [3 * i, 3 * i + 3] }));
          pool.push(parts.map((t) => (choices.below(2) === 0 ? tanh(t) : mul(t, 0.5))).reduce((a, b) => add(a, b)));
        },
        () => wide.push(concat([tanh(recent(pool)), mul(recent(pool), recent(pool))])),
        () => wide.push(concat([recent(pool), sub(recent(pool), 0.25), tanh(recent(pool))])),
        () => pool.push(matmul(part(choices.pick(weights)), recent(pool), { transA: true })),
        () => pool.push(tanh(add(recent(pool), recent(pool)))),
      ];
      const nodes = 6 + choices.below(8);
      for (let i = 0; i < nodes; i++) choices.pick(grow)();
      const y = graph.output('y', transpose(add(matmul(part(weights[1]!), pool.at(-1)!), part(wide.at(-1)!))));
      return { graph, objective: [{ loss: squaredError(y, target), weight: 1 }] };
    },
  };
}

async function bitsOf(plan: Plan, seed: number, audit: boolean): Promise<string[]> {
  await using session = await Session.open(plan, {
    seed,
    transport: 'local',
    audit,
    ...(seed % 2 ? { poison: 'complement' as const } : {}),
  });
  const bits: string[] = [];
  for (let step = 0; step < 2; step++) {
    const { results, reports } = await session.run(
      'train',
      { x: f32([7, 6], seed), t: f32([7, 3], seed + 1) },
      { step },
    );
    bits.push(...[...results].map(([name, t]) => `${name} ${toHex(t)}`));
    reports.forEach(({ audit: report }, d) => {
      const measured = report?.liveBytes.map((row) => row.reduce((a, b) => a + b, 0)) ?? [];
      if (measured.length > 0) expect(Math.max(...measured)).toBe(plan.memory[d]!.layouts.train!.maxLive);
    });
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return [...bits, ...[...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`).sort()];
}

const viewsIn = (plan: Plan) => plan.programs.train!.devices.flatMap(({ buffers }) => buffers.filter((b) => b.view));

describe('views', () => {
  it('keep every bit, audited, on random graphs that cut and join along the first axis', async () => {
    const found = { parameters: 0, written: 0, read: 0, sent: 0 };
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      stages: fc.integer({ min: 1, max: 3 }),
      microbatches: fc.integer({ min: 1, max: 3 }),
      schedule: fc.constantFrom('gpipe' as const, '1f1b' as const, 'zb-h1' as const),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, stages: count, microbatches, schedule }) => {
        const model = slicedModel(seed);
        const wanted = randomStages(model, count, seed);
        const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
        const stages = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
        const shared = { batch: 7, microbatches, optimizer: { kind: 'adam', lr: 0.01 } as const };
        const layout = { ...shared, schedule, devices: used.length, partition: { stages } };
        const plan = planOf(model, layout);
        const plain = planOf(model, { ...shared, lifetimes: 'plain' });
        expect(viewsIn(plain)).toEqual([]);
        for (const { buffers, instructions } of plan.programs.train!.devices) {
          const writes = new Set(instructions.flatMap((i) => (i.kind === 'compute' ? i.outputs : [])));
          for (const { id, view } of buffers.filter((b) => b.view)) {
            if (buffers[view!.of]!.persistent !== null) found.parameters++;
            else if (writes.has(id)) found.written++;
            else found.read++;
            if (instructions.some((i) => i.kind === 'send' && i.buffer === id)) found.sent++;
          }
        }
        expect(await bitsOf(plan, seed, true)).toEqual(await bitsOf(plain, seed, false));
      }),
      { numRuns: 40 },
    );
    for (const count of Object.values(found)) expect(count).toBeGreaterThan(10);
  });

  it('never raise the bytes alive', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const options = { microbatches: 2, schedule: 'gpipe' } as const;
      const [plan, plain] = [{}, { lifetimes: 'plain' as const }].map((o) =>
        planOf(slicedModel(seed), { ...options, ...o }),
      );
      expect(plan!.memory[0]!.maxLive).toBeLessThanOrEqual(plain!.memory[0]!.maxLive);
    }
  });
});

describe('the check of views', () => {
  const plan = planOf(slicedModel(3), { microbatches: 2, schedule: 'gpipe' });
  const { train } = plan.programs as { train: StepProgram };
  const problemsOf = (change: (device: DeviceProgram) => DeviceProgram): string => {
    try {
      validateProgram({ ...train, devices: train.devices.map(change) });
    } catch (error) {
      return (error as PlanError).message;
    }
    return '';
  };
  const [device] = train.devices as [DeviceProgram];
  const view = device.buffers.find((b) => b.view && device.buffers[b.view.of]!.persistent === null)!;
  const withBuffer =
    (changed: Buffer) =>
    (d: DeviceProgram): DeviceProgram => ({
      ...d,
      buffers: d.buffers.map((b) => (b.id === changed.id ? changed : b)),
    });

  it('accepts what the builder makes, and refuses bytes beyond the owner, or not at words', () => {
    expect(problemsOf((d) => d)).toBe('');
    for (const plus of [-4, 2, device.buffers[view.view!.of]!.bytes]) {
      expect(problemsOf(withBuffer({ ...view, view: { ...view.view!, plus } }))).toContain(
        'which are not words among its',
      );
    }
    expect(problemsOf(withBuffer({ ...view, view: { of: view.id, plus: 0 } }))).toContain('which is a view itself');
  });

  it('refuses what writes over a base, or a part of it, that is read later', () => {
    const last = device.instructions.findLastIndex((i) => i.kind === 'compute' && i.inputs.includes(view.id));
    expect(last).toBeGreaterThan(0);
    const overwritten = problemsOf((d) => ({
      ...d,
      buffers: [...d.buffers, { ...view, id: d.buffers.length, name: 'intruder' }],
      instructions: d.instructions.toSpliced(last, 0, {
        kind: 'input',
        feed: 'x',
        microbatch: 0,
        buffer: d.buffers.length,
      }),
    }));
    expect(overwritten).toContain(`reads ${view.name}, part of which has been overwritten`);
  });
});
