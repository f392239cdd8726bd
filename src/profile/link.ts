/** What a message takes between two devices: measured with messages of many sizes, whose receiver sleeps. */
import { median, quantile } from '../core/statistics.ts';
import { BRIEF_LOOK_SECONDS, defaultLink } from '../cost/analytic.ts';
import type { MachineCosts } from '../cost/machine.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import { add } from '../ops/elementwise.ts';
import { matmul } from '../ops/matmul.ts';
import { sum } from '../ops/reduce.ts';
import type { Model } from '../optim/model.ts';
import type { Plan } from '../plan/plan.ts';
import { Session } from '../train/session.ts';
import { leastDisturbed, type Timed, watchRunDelay } from './run-delay.ts';

/** Messages of few and of many bytes, each behind enough work that its receiver has fallen asleep. */
export const linkModel: Model = {
  name: 'link',
  build() {
    const graph = new Graph();
    const square = (name: string, n: number) => graph.parameter(name, [n, n], { kind: 'ones' });
    const values = graph.scope('first', () => {
      const w = square('w', 256);
      return [0, 64, 128, 256, 512, 768].flatMap((n) =>
        Array.from({ length: 2 }, (_, i) => {
          // Some milliseconds on the fastest of cores too.
          let h: Tensor = square(`h${n}.${i}`, 256);
          for (let k = 0; k < 6; k++) h = matmul(h, w);
          return n === 0 ? sum(h) : add(square(`w${n}.${i}`, n), sum(h));
        }),
      );
    });
    return graph.scope('second', () => ({ graph, objective: values.map((v) => ({ loss: sum(v), weight: 1 })) }));
  },
};

export interface LinkOptions {
  /** Recorded steps of a turn. */
  readonly steps: number;
  /** Which quantile of copying and waking counts. */
  readonly quantile: number;
  /** The rate of copies between a device and the host: that of messages where theirs cannot be told from noise. */
  readonly copyBytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
}

/** Steps that others disturb may show no link at all; then those of another turn count too. */
const TURNS = 3;

/** Measures until the fit is one that a link can have. `plan`: of `linkModel`, cut between `first` and `second`. */
export async function measureLink(
  plan: Plan,
  { steps, quantile: q, copyBytesPerSecond, signal }: LinkOptions,
): Promise<MachineCosts['link']> {
  await using session = await Session.open(plan, { audit: false, lookSeconds: 0, signal });
  const runs: LinkRun[] = [];
  let link: Partial<MachineCosts['link']> = {};
  for (let turn = 0; turn < TURNS && !isWhole(link); turn++) {
    for (let i = 0; i < 5 + steps; i++) {
      const delay = watchRunDelay();
      const step = turn * (5 + steps) + i;
      const { seconds, reports } = await session.run('forward', {}, { step, profile: true, signal });
      const delaySeconds = delay();
      if (i >= 5) runs.push({ seconds, delaySeconds, times: reports.map((r) => r.times!) });
    }
    const messages = leastDisturbed(runs).flatMap((run) => messagesOf(plan, run));
    link = { ...fitSends(messages, q), ...fitWakes(messages, q) };
  }
  const { secondsLatency } = defaultLink;
  return { bytesPerSecond: copyBytesPerSecond, secondsSend: 0, secondsLatency, ...link };
}

interface LinkRun extends Timed {
  readonly times: readonly Float64Array[];
}

/** A message whose receiver slept: the sender's time, and how long after it the receiver went on. */
export interface SentMessage {
  readonly bytes: number;
  readonly seconds: number;
  readonly wakeSeconds: number;
}

const isWhole = ({ bytesPerSecond, secondsLatency }: Partial<MachineCosts['link']>): boolean =>
  bytesPerSecond !== undefined && secondsLatency !== undefined;

/** A receiver that has waited so long sleeps, and its core may rest. */
const ASLEEP_SECONDS = 100 * BRIEF_LOOK_SECONDS;

/** Those whose receiver slept. Milliseconds of `times`, which all devices share, to seconds. */
export function messagesOf(plan: Plan, { times }: Pick<LinkRun, 'times'>): SentMessage[] {
  const [sender, receiver] = plan.programs.forward!.devices;
  const receives = new Map(
    receiver!.instructions.flatMap((i, at) => (i.kind === 'receive' ? [[i.message, at] as const] : [])),
  );
  const [sent, received] = times as [Float64Array, Float64Array];
  return sender!.instructions.flatMap((i, at) => {
    if (i.kind !== 'send') return [];
    const to = receives.get(i.message)!;
    const [start, end] = [sent[2 * at]!, sent[2 * at + 1]!];
    if ((start - received[2 * to]!) / 1000 < ASLEEP_SECONDS) return [];
    const wakeSeconds = (received[2 * to + 1]! - end) / 1000;
    return [{ bytes: sender!.buffers[i.buffer]!.bytes, seconds: (end - start) / 1000, wakeSeconds }];
  });
}

/** No core moves more: a fit beyond is one of noise. */
const MOST_BYTES_PER_SECOND = 1e12;

/**
 * seconds = secondsSend + bytes / bytesPerSecond, through quantiles of the smallest and of each larger size. Undefined where
 * larger messages do not take longer, or less than memory lets them: where others held up the smaller ones.
 */
export function fitSends(
  sends: readonly Pick<SentMessage, 'bytes' | 'seconds'>[],
  q = 0.1,
): { bytesPerSecond: number; secondsSend: number } | undefined {
  const bySize = new Map<number, number[]>();
  for (const { bytes, seconds } of sends) bySize.set(bytes, [...(bySize.get(bytes) ?? []), seconds]);
  const points = [...bySize]
    .map(([bytes, all]) => ({ bytes, seconds: quantile(all, q) }))
    .sort((a, b) => a.bytes - b.bytes);
  const [least] = points;
  if (!least || points.length < 2) return undefined;
  const slope = median(points.slice(1).map((p) => (p.seconds - least.seconds) / (p.bytes - least.bytes)));
  if (!(slope > 1 / MOST_BYTES_PER_SECOND)) return undefined;
  return { bytesPerSecond: 1 / slope, secondsSend: Math.max(0, least.seconds - least.bytes * slope) };
}

/** What a sleeper takes to go on. Undefined where most went on before the message was sent, as two threads' clocks have it. */
export function fitWakes(
  messages: readonly Pick<SentMessage, 'wakeSeconds'>[],
  q = 0.1,
): { secondsLatency: number } | undefined {
  const wakes = messages.map((m) => m.wakeSeconds).filter((seconds) => seconds > 0);
  return wakes.length > messages.length / 2 ? { secondsLatency: quantile(wakes, q) } : undefined;
}
