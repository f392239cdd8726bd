// Ready models in whole training steps: the same bits for every cut, schedule and device count at one M, dropout's masks
// included; planned memory is measured memory; skips of unet cross stages.
import { describe, expect, it } from 'vitest';
import { elementCount, type HostTensor } from '../../src/core/types.ts';
import { models } from '../../src/nn/index.ts';
import type { Model } from '../../src/optim/model.ts';
import type { PlanRequest } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, toHex, values } from '../support/models.ts';

const samples = 6;

interface Subject {
  readonly config: models.ModelConfig;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly classes: number;
  /** Of three stages. */
  readonly cuts: readonly string[];
  /** x are tokens. */
  readonly tokens?: number;
}

const subjects: Readonly<Record<string, Subject>> = {
  resnet: {
    config: { kind: 'resnet', size: 6, classes: 3, widths: [4, 6], blocks: [1, 2] },
    x: [1, 6, 6],
    y: [],
    classes: 3,
    cuts: ['layer2.0', 'layer2.1'],
  },
  unet: {
    config: { kind: 'unet', size: 8, classes: 3, depth: 2, width: 4, dropout: 0.4 },
    x: [1, 8, 8],
    y: [8, 8],
    classes: 3,
    cuts: ['down.1', 'up.1'],
  },
  gpt: {
    config: { kind: 'gpt', vocab: 7, context: 5, layers: 2, heads: 2, width: 8, dropout: 0.3 },
    x: [5],
    y: [5],
    classes: 7,
    cuts: ['block.0.norm2', 'block.1'],
    tokens: 7,
  },
  lenet: {
    config: { kind: 'lenet', size: 4, classes: 3, widths: [4], hidden: [8, 6], dropout: 0.5 },
    x: [1, 4, 4],
    y: [],
    classes: 3,
    cuts: ['fc.0', 'fc.1.relu'],
  },
};

/** The subjects with dropout, without normalisation by the batch, which would see where it is cut. */
const dropping = Object.entries(subjects).flatMap(([name, subject]) => {
  if (!('dropout' in subject.config)) return [];
  const config =
    subject.config.kind === 'unet' ? { ...subject.config, norm: 'group' as const, groups: 4 } : subject.config;
  return [[name, { ...subject, config }] as const];
});

const integers = (shape: readonly number[], below: number, seed: number): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(values(elementCount(shape), seed), (v) => Math.floor(((v + 1) / 2) * below)),
});

function batchOf({ x, y, classes, tokens }: Subject, seed: number) {
  const shape = [samples, ...x];
  return {
    x: tokens === undefined ? f32(shape, seed) : integers(shape, tokens, seed),
    y: integers([samples, ...y], classes, seed + 1),
  };
}

interface Layout {
  readonly microbatches: number;
  readonly devices?: number;
  readonly schedule?: PlanRequest['schedule'];
  readonly partition?: PlanRequest['partition'];
  readonly batchNorm?: PlanRequest['batchNorm'];
}

async function run(subject: Subject, { devices = 1, ...layout }: Layout, { seed = 1, audit = false } = {}) {
  const model: Model = models.modelOf(subject.config);
  const plan = planOf(model, {
    ...layout,
    devices,
    batch: samples,
    optimizer: { kind: 'adam', lr: 0.01 },
    programs: {
      train: { batch: samples, mode: 'train', outputs: true },
      eval: { batch: samples, mode: 'forward', outputs: true },
    },
  });
  await using session = await Session.open(plan, { seed, transport: 'local', audit });
  const bits: string[] = [];
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    const { results, loss } = await session.run('train', batchOf(subject, 3 + step), { step });
    losses.push(loss);
    bits.push(...[...results].map(([name, t]) => `${name} ${toHex(t)}`));
  }
  const evaluated = toHex((await session.run('eval', batchOf(subject, 3))).results.get('output/logits')!);
  expect(toHex((await session.run('eval', batchOf(subject, 3))).results.get('output/logits')!)).toBe(evaluated);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const state = [...(await session.parameters()), ...(await session.buffers()), ...(await session.optimizerState())];
  return { bits: [...bits, evaluated, ...state.map(([name, t]) => `${name} ${toHex(t)}`)], losses, plan };
}

describe.each(Object.entries(subjects))('%s', (_, subject) => {
  it.each([1, 2, 4])('trains to the same bits on three devices, in %s microbatches', async (microbatches) => {
    const { bits } = await run(subject, { microbatches });
    for (const schedule of ['gpipe', '1f1b'] as const) {
      const cut = { microbatches, devices: 3, schedule, partition: { cuts: subject.cuts } };
      const found = await run(subject, cut, { audit: schedule === '1f1b' });
      expect(new Set(Object.values(found.plan.partition.assignment)).size).toBe(3);
      expect(found.bits).toEqual(bits);
    }
    expect((await run(subject, { microbatches, devices: 2 })).bits).toEqual(bits);
  });
});

describe.each(['resnet', 'unet'] as const)('%s with statistics of the whole batch', (name) => {
  it.each(['deferred', 'exact'] as const)('trains to the same bits on three devices: %s', async (batchNorm) => {
    const subject = subjects[name]!;
    const layout = { microbatches: 2, batchNorm, schedule: 'gpipe' } as const;
    const one = await run(subject, layout);
    const cut = await run(subject, { ...layout, devices: 3, partition: { cuts: subject.cuts } });
    expect(cut.bits).toEqual(one.bits);
    const lossOf = ({ losses }: { losses: readonly number[] }) => losses[0]!;
    const whole = lossOf(await run(subject, { microbatches: 1 }));
    if (batchNorm === 'exact') expect(Math.abs(lossOf(one) - whole)).toBeLessThan(1e-5);
    else expect(Math.abs(lossOf(one) - whole)).toBeGreaterThan(1e-3);
  });
});

/** The logits of the first step in training, and those of evaluation before it. */
async function logitsOf(subject: Subject, microbatches: number) {
  const plan = planOf(models.modelOf(subject.config), {
    microbatches,
    devices: 2,
    batch: samples,
    programs: {
      train: { batch: samples, mode: 'train', outputs: true },
      eval: { batch: samples, mode: 'forward', outputs: true },
    },
  });
  await using session = await Session.open(plan, { seed: 1, transport: 'local' });
  const logits = async (program: string) => {
    const { results } = await session.run(program, batchOf(subject, 3), { step: 0 });
    return [...(results.get('output/logits')!.data as Float32Array)];
  };
  return { evaluated: await logits('eval'), training: await logits('train') };
}

describe.each(dropping)('dropout of %s', (_, subject) => {
  it('drops the same whatever the number of microbatches, and nothing in evaluation', async () => {
    const distance = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));
    const whole = await logitsOf(subject, 1);
    for (const microbatches of [2, 4, 6]) {
      expect(distance((await logitsOf(subject, microbatches)).training, whole.training)).toBeLessThan(1e-5);
    }
    // The first values are the same in both, so that only the masks differ.
    const without = await logitsOf({ ...subject, config: { ...subject.config, dropout: 0 } as models.ModelConfig }, 1);
    expect(whole.evaluated).toEqual(without.evaluated);
    expect(without.training).toEqual(without.evaluated);
    expect(distance(whole.training, without.training)).toBeGreaterThan(1e-2);
  });
});
