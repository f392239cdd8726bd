/**
 * The constants of this machine, measured with the real kernels on real devices: small programs whose instructions are
 * recorded as those of a model's step are.
 */
import { performance as loop } from 'node:perf_hooks';
import { median, quantile } from '../core/statistics.ts';
import type { MachineCosts } from '../cost/machine.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import { add, mul } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { sum } from '../ops/reduce.ts';
import type { Model } from '../optim/model.ts';
import { makeOptimizer } from '../optim/optimizer.ts';
import { makePlan, type Plan } from '../plan/plan.ts';
import type { Instruction } from '../program/instruction.ts';
import { Session } from '../train/session.ts';
import { machineIdentity } from './identity.ts';
import { linkModel, measureLink } from './link.ts';
import { type RecordedSteps, recordSteps } from './record.ts';
import { leastDisturbed, type Timed, watchRunDelay } from './run-delay.ts';

export interface MeasureOptions {
  /** Recorded steps of each program. Default 20. */
  readonly steps?: number;
  /**
   * Which quantile of waking, copying and the host's share counts. Default 0.1: on a busy machine most wakes are late, and
   * the constants are those of the few that are not. 0.5 is what a step meets on the whole.
   */
  readonly quantile?: number;
  readonly signal?: AbortSignal;
  /** The kernels to measure; default `strict`. */
  readonly simd?: SimdVariant;
}

const noInputs = { tensorsAt: () => ({}) };
const init = { kind: 'ones' } as const;

/** A few seconds of work on one device, then on two. */
export async function measureMachine({
  steps = 20,
  quantile: q = 0.1,
  signal,
  simd = 'strict',
}: MeasureOptions = {}): Promise<MachineCosts> {
  const options = { steps, warmUp: 5, signal };
  const kernels = await recordSteps(planOf(kernelModel, 1, simd), noInputs, options);
  const tiny = await recordSteps(planOf(tinyModel, 1), noInputs, options);
  const copyBytesPerSecond = copyRate(kernels);
  const { host, late } = await hostSeconds(planOf(apartModel, 2), steps, q, signal);
  return {
    identity: machineIdentity(simd),
    device: {
      flopsPerSecond: rate(kernels, 'matmul', (i) => i.flops),
      bytesPerSecond: rate(kernels, 'add', (i) => i.bytes),
      secondsPerKernel: median(tiny.instructions[0]!.map((t) => t.low)),
    },
    copyBytesPerSecond,
    secondsPerInstruction: tiny.secondsBetween,
    step: { seconds: host, secondsPerDevice: late, ...(await betweenSteps(signal)) },
    link: await measureLink(planOf(linkModel, 2), { steps, quantile: q, copyBytesPerSecond, signal }),
  };
}

function planOf(model: Model, devices: number, simd: SimdVariant = 'strict'): Plan {
  return makePlan({
    model,
    programs: { forward: { batch: 1, mode: 'forward', outputs: true } },
    microbatches: 1,
    simd,
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 })),
    partition: devices === 1 ? 'auto' : { stages: { 'first*': 0, '*': 1 } },
  });
}

/** Products of the sizes that layers have, and sums over working sets around the size of the caches. */
const kernelModel: Model = {
  name: 'kernels',
  build() {
    const graph = new Graph();
    const square = (name: string, n: number) => graph.parameter(name, [n, n], init);
    const losses = [128, 192, 256, 384].map((n) => sum(matmul(square(`a${n}`, n), square(`b${n}`, n))));
    for (const n of [128, 256, 512, 768]) {
      const total = add(square(`p${n}`, n), square(`q${n}`, n));
      graph.output(`sum${n}`, total, { batchAxis: null });
    }
    return { graph, objective: losses.map((loss) => ({ loss, weight: 1 })) };
  },
};

/** Nothing but the cost of an instruction. */
const tinyModel: Model = {
  name: 'tiny',
  build() {
    const graph = new Graph();
    const w = graph.parameter('w', [4], init);
    let h: Tensor = w;
    for (let i = 0; i < 300; i++) h = mul(h, w);
    return { graph, objective: [{ loss: sum(h), weight: 1 }] };
  },
};

/** Some milliseconds of work on each device, which waits for no other: so long that the host sleeps meanwhile, as in a real step. */
const apartModel: Model = {
  name: 'apart',
  build() {
    const graph = new Graph();
    const square = (name: string) => graph.parameter(name, [256, 256], init);
    for (const name of ['first', 'second']) {
      graph.scope(name, () => {
        const w = square('w');
        let h: Tensor = w;
        for (let i = 0; i < 4; i++) h = matmul(h, w);
        graph.output(name, sum(h), { batchAxis: null });
      });
    }
    return { graph, objective: [] };
  },
};

/** Some milliseconds of training on one device. */
const trainedModel: Model = {
  name: 'trained',
  build() {
    const graph = new Graph();
    const w = graph.parameter('w', [256, 256], init);
    return { graph, objective: [{ loss: sum(matmul(matmul(w, w), w)), weight: 1 }] };
  },
};

/** Steps of the training that count; as many before them, in which code is compiled. */
const TRAINED_STEPS = 100;

/**
 * Of a training whose steps are begun ahead: what its device spends between two steps, and what the host takes of a core in each,
 * seconds.
 */
async function betweenSteps(signal?: AbortSignal): Promise<{ secondsBetween: number; hostSeconds: number }> {
  const plan = makePlan({
    model: trainedModel,
    programs: { train: { batch: 1, mode: 'train' } },
    microbatches: 1,
    devices: [{ backend: 'wasm', memory: null, speed: 1 }],
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0 }),
  });
  await using session = await Session.open(plan, { audit: false, signal });
  const stage = (step: number) => session.stage('train', {}, { step, ahead: step > 0 });
  let next = stage(0);
  const between: number[] = [];
  let last = performance.now();
  let before = loop.eventLoopUtilization();
  for (let step = 0; step < 2 * TRAINED_STEPS; step++) {
    if (step === TRAINED_STEPS) before = loop.eventLoopUtilization();
    const meanwhile = () => {
      next = stage(step + 1);
    };
    const { reports } = await session.runStaged(next, { meanwhile, signal });
    const now = performance.now();
    // Now and then the host hears late of one step's end, and the next one seems shorter.
    if (step >= TRAINED_STEPS) between.push((now - last) / 1000 - reports[0]!.seconds);
    last = now;
  }
  const { active } = loop.eventLoopUtilization(before);
  return {
    secondsBetween: Math.max(0, median(between)),
    hostSeconds: active / 1000 / TRAINED_STEPS,
  };
}

/** Median over an op's instructions of the rate of what they do. */
function rate(
  recorded: RecordedSteps,
  op: string,
  of: (instruction: Extract<Instruction, { kind: 'compute' }>) => number,
): number {
  const { plan, program, instructions } = recorded;
  const list = plan.programs[program]!.devices[0]!.instructions;
  return median(
    list.flatMap((i, at) => (i.kind === 'compute' && i.op === op ? [of(i) / instructions[0]![at]!.low] : [])),
  );
}

/** Of the outputs that are no mere scalars. */
function copyRate({ plan, program, instructions }: RecordedSteps): number {
  const { instructions: list, buffers } = plan.programs[program]!.devices[0]!;
  return median(
    list.flatMap((i, at) => {
      const bytes = i.kind === 'output' ? buffers[i.buffer]!.bytes : 0;
      return bytes > 1024 ? [bytes / instructions[0]![at]!.low] : [];
    }),
  );
}

/** What a step takes beside its devices, and how much later the last of them begins than the first. */
async function hostSeconds(plan: Plan, steps: number, q: number, signal?: AbortSignal) {
  await using session = await Session.open(plan, { audit: false, signal });
  const runs: (Timed & { readonly host: number; readonly late: number })[] = [];
  for (let step = 0; step < 5 + steps; step++) {
    const delay = watchRunDelay();
    const { seconds, reports } = await session.run('forward', {}, { step, profile: true, signal });
    const delaySeconds = delay();
    const begins = reports.map((r) => r.times![0]!);
    const span = (Math.max(...reports.map((r) => r.times!.at(-1)!)) - Math.min(...begins)) / 1000;
    const late = (begins.at(-1)! - begins[0]!) / 1000;
    if (step >= 5) runs.push({ seconds, delaySeconds, host: seconds - span, late });
  }
  const counted = leastDisturbed(runs);
  const of = (values: readonly number[]) => Math.max(0, quantile(values, q));
  return { host: of(counted.map((r) => r.host)), late: of(counted.map((r) => r.late)) };
}
