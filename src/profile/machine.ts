/**
 * The constants of this machine, measured with the real kernels on real devices: small programs whose instructions are
 * recorded as those of a model's step are.
 */
import { median, quantile } from '../core/statistics.ts';
import { LOOK_SECONDS } from '../cost/analytic.ts';
import type { MachineCosts } from '../cost/machine.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import { add, mul, tanh } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { sum } from '../ops/reduce.ts';
import type { Model } from '../optim/model.ts';
import { makePlan, type Plan } from '../plan/plan.ts';
import type { Instruction } from '../program/instruction.ts';
import { Session } from '../train/session.ts';
import { machineIdentity } from './identity.ts';
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
  const { host, late } = await hostSeconds(planOf(apartModel, 2), steps, q, signal);
  return {
    identity: machineIdentity(simd),
    device: {
      flopsPerSecond: rate(kernels, 'matmul', (i) => i.flops),
      bytesPerSecond: rate(kernels, 'add', (i) => i.bytes),
      secondsPerKernel: median(tiny.instructions[0]!.map((t) => t.low)),
    },
    copyBytesPerSecond: copyRate(kernels),
    secondsPerInstruction: tiny.secondsBetween,
    step: { seconds: host, secondsPerDevice: late },
    link: await measureLink(steps, q, signal),
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

/** Messages of few and of many bytes, each behind enough work that its receiver has fallen asleep. */
const linkModel: Model = {
  name: 'link',
  build() {
    const graph = new Graph();
    const values = graph.scope('first', () =>
      [0, 64, 128, 256, 512, 768].flatMap((n) =>
        Array.from({ length: 4 }, (_, i) => {
          let h = tanh(graph.parameter(`w${n}.${i}`, [Math.max(n, 256), Math.max(n, 256)], init));
          for (let k = Math.max(n, 256); k < 768; k += 64) h = tanh(h);
          return n === 0 ? sum(h) : h;
        }),
      ),
    );
    return graph.scope('second', () => ({ graph, objective: values.map((v) => ({ loss: sum(v), weight: 1 })) }));
  },
};

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
  await using session = await Session.open(plan, { audit: false });
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

/** A receiver that has waited so long sleeps: it has stopped to look on. */
const ASLEEP_SECONDS = 1.25 * LOOK_SECONDS;

async function measureLink(steps: number, q: number, signal?: AbortSignal): Promise<MachineCosts['link']> {
  const plan = planOf(linkModel, 2);
  const [sender, receiver] = plan.programs.forward!.devices;
  const receives = new Map(
    receiver!.instructions.flatMap((i, at) => (i.kind === 'receive' ? [[i.message, at] as const] : [])),
  );
  const sends: { bytes: number; seconds: number }[] = [];
  const wakes: number[] = [];
  await using session = await Session.open(plan, { audit: false });
  const runs: (Timed & { times: readonly Float64Array[] })[] = [];
  for (let step = 0; step < 5 + steps; step++) {
    const delay = watchRunDelay();
    const { seconds, reports } = await session.run('forward', {}, { step, profile: true, signal });
    const delaySeconds = delay();
    if (step >= 5) runs.push({ seconds, delaySeconds, times: reports.map((r) => r.times!) });
  }
  for (const { times } of leastDisturbed(runs)) {
    const [sent, received] = times as [Float64Array, Float64Array];
    sender!.instructions.forEach((i, at) => {
      if (i.kind !== 'send') return;
      const to = receives.get(i.message)!;
      const [start, end] = [sent[2 * at]!, sent[2 * at + 1]!];
      if ((start - received[2 * to]!) / 1000 < ASLEEP_SECONDS) return;
      sends.push({ bytes: sender!.buffers[i.buffer]!.bytes, seconds: (end - start) / 1000 });
      wakes.push((received[2 * to + 1]! - end) / 1000);
    });
  }
  return { ...fitSends(sends, q), secondsLatency: Math.max(0, quantile(wakes, q)) };
}

/** seconds = secondsSend + bytes / bytesPerSecond, through quantiles of the smallest and of each larger size. */
export function fitSends(
  sends: readonly { bytes: number; seconds: number }[],
  q = 0.1,
): {
  bytesPerSecond: number;
  secondsSend: number;
} {
  const bySize = new Map<number, number[]>();
  for (const { bytes, seconds } of sends) bySize.set(bytes, [...(bySize.get(bytes) ?? []), seconds]);
  const points = [...bySize]
    .map(([bytes, all]) => ({ bytes, seconds: quantile(all, q) }))
    .sort((a, b) => a.bytes - b.bytes);
  const [least] = points;
  if (!least || points.length < 2) return { bytesPerSecond: 8e9, secondsSend: 0 };
  const slopes = points.slice(1).map((p) => (p.seconds - least.seconds) / (p.bytes - least.bytes));
  const slope = Math.max(1e-13, median(slopes));
  return { bytesPerSecond: 1 / slope, secondsSend: Math.max(0, least.seconds - least.bytes * slope) };
}
