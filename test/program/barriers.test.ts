import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { barrierLevels } from '../../src/graph/barriers.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { accumulate } from '../../src/ops/accumulate.ts';
import { batchNorm } from '../../src/ops/batch-norm.ts';
import { mul, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import { broadcastTo } from '../../src/ops/shape.ts';
import type { Model } from '../../src/optim/model.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, toHex } from '../support/models.ts';

// A micro node that reads a total over microbatches waits for all of them: two such barriers, one behind the other.

const BATCH = 7;

/** x − its mean over the whole batch: the total is read by the microbatches again. */
function centre(x: Tensor, name: string): Tensor {
  const total = x.graph.beside(x.node, () => accumulate(sum(x, { axes: [0] }), name));
  // Two step nodes, one behind the other: both must be through before the microbatches go on.
  const mean = x.graph.inStep(total.node, () => mul(mul(total, 0.5), 2 / BATCH));
  return sub(x, broadcastTo(mean, x.shape));
}

const centredTwice: Model = {
  name: 'centred twice',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 6] });
    const t = graph.input('t', { shape: [batch, 3] });
    const squashed = tanh(centre(tanh(x), 'first'));
    const h = graph.output('h', centre(squashed, 'second'));
    const y = graph.output('y', matmul(h, graph.parameter('w', [6, 3], { kind: 'uniform', low: -1, high: 1 })));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};

const batch = { x: f32([BATCH, 6], 1), t: f32([BATCH, 3], 2) };

async function run(layout: Parameters<typeof planOf>[1]): Promise<Record<string, HostTensor>> {
  const plan = planOf(centredTwice, { batch: BATCH, schedule: 'gpipe', ...layout });
  await using session = await Session.open(plan, { audit: true });
  const { results } = await session.run('train', batch, { step: 0 });
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return { ...Object.fromEntries(results), ...Object.fromEntries(await session.parameters()) };
}

const hexes = (tensors: Record<string, HostTensor>): string[] =>
  Object.entries(tensors).map(([name, t]) => `${name} ${toHex(t)}`);

describe('barriers', () => {
  it('are found where a microbatch reads a total', () => {
    const { graph } = centredTwice.build(3);
    const { barriers, early, of } = barrierLevels(graph);
    expect(barriers).toBe(2);
    expect(early.size).toBe(4);
    expect(of[graph.outputs.get('y')!.node.id]).toBe(2);
  });

  it('give the statistics of the whole batch for every number of microbatches', async () => {
    const whole = await run({ microbatches: 1 });
    for (const microbatches of [2, 3, 7]) {
      const parts = await run({ microbatches });
      for (const name of ['output/h', 'output/y', 'loss', 'w']) {
        parts[name]!.data.forEach((v, i) => void expect(v).toBeCloseTo(whole[name]!.data[i]!, 6));
      }
    }
    const columns = whole['output/h']!.data;
    for (let c = 0; c < 6; c++) {
      let mean = 0;
      for (let r = 0; r < BATCH; r++) mean += columns[r * 6 + c]! / BATCH;
      expect(Math.abs(mean)).toBeLessThan(1e-7);
    }
  });

  it('keep the bits on every partition, also where a cut lies between a total and its reader', async () => {
    const one = hexes(await run({ microbatches: 3 }));
    for (const cuts of [['matmul'], ['tanh_1'], ['sub'], ['sum', 'sub_1'], ['tanh_1', 'broadcastTo_1', 'matmul']]) {
      const devices = cuts.length + 1;
      expect(hexes(await run({ microbatches: 3, devices, partition: { cuts } }))).toEqual(one);
    }
    const placement = [0, 1, 0];
    expect(hexes(await run({ microbatches: 3, devices: 2, partition: { cuts: ['sum', 'sub_1'] }, placement }))).toEqual(
      one,
    );
  });

  it('stand in the backward tasks too, where a gradient waits for a total', async () => {
    const normed: Model = {
      name: 'normed',
      build: (samples) => {
        const graph = new Graph();
        const x = graph.input('x', { shape: [samples, 6] });
        const t = graph.input('t', { shape: [samples, 3] });
        const uniform = { kind: 'uniform', low: -1, high: 1 } as const;
        const { y: h } = batchNorm(matmul(x, graph.parameter('a', [6, 4], uniform)));
        const { y } = batchNorm(matmul(tanh(h), graph.parameter('b', [4, 3], uniform)));
        return { graph, objective: [{ loss: squaredError(tanh(y), t), weight: 1 }] };
      },
    };
    const trained = async (microbatches: number) => {
      const plan = planOf(normed, { batch: BATCH, schedule: 'gpipe', batchNorm: 'exact', microbatches });
      await using session = await Session.open(plan, { audit: true, transport: 'local' });
      await session.run('train', batch, { step: 0 });
      return session.parameters();
    };
    const whole = await trained(1);
    for (const microbatches of [2, 3]) {
      for (const [name, t] of await trained(microbatches)) {
        t.data.forEach((v, i) => void expect(v).toBeCloseTo(whole.get(name)!.data[i]!, 5));
      }
    }
  });

  it('refuse a schedule that starts backwards before the last forward', () => {
    expect(() =>
      planOf(centredTwice, { batch: BATCH, microbatches: 3, devices: 2, partition: { cuts: ['matmul'] } }),
    ).toThrow(/2 barriers .* schedule 1f1b begins backward tasks before the forward ones are through \(device 0\)/);
  });
});
