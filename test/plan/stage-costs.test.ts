import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { gradientPenaltyModel } from '../../src/optim/higher-order.ts';
import { columnOf, foldedStages, highestOrder } from '../../src/partition/fold.ts';
import { stageMap } from '../../src/partition/index.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { stageCosts } from '../../src/plan/stage-costs.ts';
import type { Buffer, Instruction } from '../../src/program/instruction.ts';
import { smallModels } from '../support/built-in.ts';
import { planOf, threeLayers } from '../support/models.ts';
import { randomModel, randomStages } from '../support/random-model.ts';

const costs = analyticCosts();

/** What the compiled program says of stages that are alone on their devices: of its first microbatch, and once a step. */
function compiled(plan: Plan) {
  const traffic: Record<string, { bytes: number; messages: number }> = {};
  const parameters = new Set(plan.graphs.train!.parameters.map((p) => p.name));
  const stages = plan.programs.train!.devices.map(({ device, instructions, buffers }) => {
    for (const i of instructions) {
      if (i.kind !== 'send' || i.microbatch !== 0) continue;
      const pair = (traffic[`${device}>${i.to}`] ??= { bytes: 0, messages: 0 });
      pair.bytes += buffers[i.buffer]!.bytes;
      pair.messages++;
    }
    /** What the first microbatch adds to: totals and sums of sums come later, and for a moment. */
    const accumulators = new Set(
      instructions
        .flatMap((i) => (i.kind === 'compute' && i.microbatch === 0 ? i.outputs : []))
        .map((id) => buffers[id]!),
    );
    const readsOf = new Map<Buffer, Set<string>>();
    const seconds = { F: 0, B: 0, W: 0, BW: 0, U: 0 };
    const kindOf = (i: Extract<Instruction, { kind: 'compute' }>) => i.task.replace(/\d+/g, '') as keyof typeof seconds;
    for (const i of instructions) {
      if (i.kind !== 'compute') continue;
      for (const id of i.inputs) readsOf.set(buffers[id]!, (readsOf.get(buffers[id]!) ?? new Set()).add(kindOf(i)));
      if (i.microbatch !== null && i.microbatch !== 0) continue;
      for (const part of i.parts) seconds[kindOf(i)] += part.repeat * costs.kernelSeconds(part, 'wasm');
    }
    const bytes = (which: (b: Buffer) => boolean) => buffers.filter(which).reduce((sum, b) => sum + b.bytes, 0);
    const isFed = ({ name, category }: Buffer) => name.endsWith('@0') && category === 'inputs';
    return {
      forward: seconds.F,
      backward: seconds.B + seconds.W + seconds.BW,
      update: seconds.U,
      gradientBytes: bytes((b) => b.category === 'gradients' && accumulators.has(b)),
      fixedBytes:
        bytes((b) => b.category === 'optimizerState' || (b.category === 'gradients' && accumulators.has(b))) +
        bytes((b) => b.category === 'parameters' && parameters.has(b.persistent!)),
      // Fed values count where a derivative reads them.
      heldBytes:
        bytes((b) => b.category === 'savedActivations' && b.name.endsWith('@0')) +
        bytes((b) => isFed(b) && [...(readsOf.get(b) ?? [])].some((kind) => kind !== 'F')),
    };
  });
  return { stages, traffic };
}

describe('costs of stages', () => {
  it('are those of the compiled program: work, bytes kept and held, values that pass', () => {
    const plans = Array.from({ length: 9 }, (_, seed) =>
      planOf(randomModel(seed + 1), {
        batch: 8,
        devices: 3,
        microbatches: 2,
        schedule: seed % 2 === 0 ? 'zb-h1' : '1f1b',
        partition: { stages: randomStages(randomModel(seed + 1), 3, seed) },
        optimizer: { kind: seed % 3 === 0 ? 'adam' : 'sgd', lr: 0.1 },
        lifetimes: 'plain',
      }),
    );
    for (const model of [threeLayers, smallModels.gpt, smallModels.lstm])
      plans.push(planOf(model, { batch: 8, devices: 3, microbatches: 2, lifetimes: 'plain' }));
    for (const plan of plans) {
      const graph = plan.graphs.train!;
      const { stages } = plan.partition;
      const figures = stageCosts(graph, stageMap(graph, plan.partition), { stages, costs });
      const found = compiled(plan);
      expect(Object.fromEntries(figures.traffic)).toEqual(found.traffic);
      found.stages.slice(0, stages).forEach((own, s) => {
        const { F, B, W } = figures.durations[s]!;
        expect([F, B + W, figures.stepSeconds[s]].map((x) => x!.toPrecision(9))).toEqual(
          [own.forward, own.backward, own.update].map((x) => x.toPrecision(9)),
        );
        expect([figures.fixedBytes[s], figures.gradientBytes[s], figures.heldBytes[s]]).toEqual([
          own.fixedBytes,
          own.gradientBytes,
          own.heldBytes,
        ]);
      });
    }
  });

  it('are no less than the compiled program’s where slices are views, which it does not copy', () => {
    const options = { batch: 8, devices: 3, microbatches: 2 };
    const plan = planOf(smallModels.gpt, options);
    const isView = plan.programs.train!.devices.some((d) => d.buffers.some((b) => b.view));
    expect(isView).toBe(true);
    const graph = plan.graphs.train!;
    const figures = stageCosts(graph, stageMap(graph, plan.partition), { stages: plan.partition.stages, costs });
    const less = compiled(plan).stages.map((own, s) => {
      const { F, B, W } = figures.durations[s]!;
      expect(own.forward).toBeLessThanOrEqual(F * (1 + 1e-9));
      expect(own.backward).toBeLessThanOrEqual((B + W) * (1 + 1e-9));
      return F + B + W - own.forward - own.backward;
    });
    expect(Math.max(...less)).toBeGreaterThan(0);
  });

  it('are kept where the model’s stage is, also those of gradients within the model', () => {
    const plan = planOf(gradientPenaltyModel(threeLayers, 'x'), {
      devices: 3,
      microbatches: 2,
      partition: { cuts: ['matmul_1', 'matmul_2'] },
      programs: { train: { batch: 8, mode: 'gradients' } },
    });
    const graph = plan.graphs.train!;
    const stages = foldedStages(3, highestOrder(graph));
    expect(stages).toBeGreaterThan(3);
    const figures = stageCosts(graph, stageMap(graph, plan.partition), { stages, own: 3, costs });
    expect(figures.fixedBytes.slice(0, 3)).toEqual(compiled(plan).stages.map((s) => s.fixedBytes));
    expect(figures.fixedBytes.slice(3)).toEqual(new Array(stages - 3).fill(0));
    // What a microbatch holds belongs to the stage of the chain that reads it back, also beyond the model's own.
    expect(figures.heldBytes.slice(3).some((bytes) => bytes > 0)).toBe(true);
    // Each stage's work is done on the device of its column.
    const works = compiled(plan).stages.map((s) => s.forward + s.backward);
    const folded = [0, 0, 0];
    figures.durations.forEach(({ F, B, W }, s) => {
      folded[columnOf(s, 3)]! += F + B + W;
    });
    for (const d of [0, 1, 2]) expect(folded[d]).toBeCloseTo(works[d]!, 15);
  });
});
