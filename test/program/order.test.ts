import { describe, expect, it } from 'vitest';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, relu, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import { summarizePlan } from '../../src/plan/summary.ts';
import { buildProgram } from '../../src/program/build.ts';
import type { ComputeInstruction, DeviceProgram } from '../../src/program/instruction.ts';
import { liveBytes } from '../../src/program/lifetimes.ts';
import { validateProgram } from '../../src/program/validate.ts';
import { printPlan } from '../../src/report/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

/** Products of a common input by wide weights, all summed: in the order of the graph every product waits for the sum. */
const fan: Model = {
  name: 'fan',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 4] });
    const t = graph.input('t', { shape: [batch, 4] });
    const weight = (name: string, shape: number[]) =>
      graph.parameter(name, shape, { kind: 'uniform', low: -0.4, high: 0.4 });
    const wide = [0, 1, 2].map((i) => tanh(matmul(x, weight(`in${i}`, [4, 256]))));
    const narrow = wide.map((h, i) => matmul(relu(h), weight(`out${i}`, [256, 4])));
    const y = graph.output(
      'y',
      narrow.reduce((a: Tensor, b) => add(a, b)),
    );
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};
const batch = { x: f32([8, 4], 1), t: f32([8, 4], 2) };
describe('nodes in an order that keeps fewer bytes alive', () => {
  const peakOf = (program: DeviceProgram) => Math.max(...liveBytes(program));
  const names = (program: DeviceProgram) =>
    program.instructions
      .filter((i): i is ComputeInstruction => i.kind === 'compute' && i.task === '0F0')
      .map((i) => i.node);

  const plan = planOf(fan, { microbatches: 2, programs: { run: { batch: 8, mode: 'forward', outputs: true } } });
  const options = {
    chunks: [4, 4],
    graphs: new Map([[4, plan.graphs.run!]]),
    stageOf: () => 0,
    schedule: plan.schedules.run!,
    backends: ['wasm' as const],
  };
  const asGraph = buildProgram({ ...options, lifetimes: ['plain'] });
  const ordered = buildProgram(options);

  it('runs one branch to its end before the next, and says so', () => {
    const [before, after] = [asGraph.devices[0]!, ordered.devices[0]!];
    expect(peakOf(after)).toBeLessThan(peakOf(before) * 0.7);
    // Some of it by overwriting alone.
    expect(ordered.orders[0]!.graphOrderBytes).toBeLessThanOrEqual(peakOf(before));
    expect(ordered.orders[0]!.graphOrderBytes).toBeGreaterThan(peakOf(after));
    expect(ordered.orders[0]).toMatchObject({ bytes: peakOf(after), exact: true });
    expect(ordered.orders[0]!.tasks).toContain('0F0');
    expect(asGraph.orders[0]).toMatchObject({ graphOrderBytes: peakOf(before), bytes: peakOf(before), tasks: [] });
    expect(names(after)).not.toEqual(names(before));
    expect([...names(after)].sort()).toEqual([...names(before)].sort());
    validateProgram(ordered);
  });

  it('prints before → after, and reports both', () => {
    const [device] = summarizePlan(plan).devices;
    expect(device!.order.graphOrderBytes).toBeGreaterThan(device!.maxLiveBytes);
    const text = printPlan(plan);
    expect(text).toMatch(/in the graph's order +\d/);
    expect(text).toMatch(
      /device 0: [\d.]+ \w+ → [\d.]+ \w+ alive at once, and no order of its highest task is lower, in\n +0F0, 0F1/,
    );
  });

  it('gives the same bits, audited, over training steps', async () => {
    const results: string[][] = [];
    for (const devices of [1, 2]) {
      for (const schedule of ['gpipe', '1f1b'] as const) {
        const trained = planOf(fan, { microbatches: 2, devices, schedule });
        await using session = await Session.open(trained, { seed: 3, audit: true, transport: 'local' });
        const bits: string[] = [];
        for (let step = 0; step < 2; step++) {
          for (const t of (await session.run('train', batch, { step })).results.values()) bits.push(toHex(t));
        }
        expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
        results.push(bits);
      }
    }
    for (const bits of results) expect(bits).toEqual(results[0]);
  });
});
