import { mean } from '../core/statistics.ts';
import { mayBeginAhead } from '../program/ahead.ts';
import type { StepProgram } from '../program/instruction.ts';
import { requireProgram } from '../program/require-program.ts';
import { type Action, type ActionSource, action, actionsOf } from './actions.ts';
import type { Cluster } from './cluster.ts';
import type { Prediction } from './predict.ts';
import { requireCluster } from './require.ts';
import { type SimulateOptions, simulate } from './simulate.ts';

/**
 * A step of a training under way, whose steps are begun ahead: each device begins one when it has ended the one before, and
 * holds it at the barrier of updates until the host asks for it, which it does meanwhile. The step is the time from that barrier
 * to the next one's. What devices spend between two steps is in it (`CostModel.betweenSteps`), and what the host takes of a core
 * where devices leave it none: each device's as often as another's, so it is the mean of those steps, of some of them where
 * devices are many. The host's word and answer are not, unlike in the single step that is asked for (`predict`). null of programs that may not begin ahead (`mayBeginAhead`; `lateFeeds` as there).
 *
 * What devices do behind a barrier follows from when it opened alone, so the second step on paper is every later one; only
 * `speeds` make steps differ.
 */
export function steadyStep(
  program: StepProgram,
  lateFeeds: ReadonlySet<string>,
  cluster: Cluster,
  options: Pick<SimulateOptions, 'speeds' | 'begin'> = {},
): Prediction | null {
  requireProgram('steadyStep', program);
  requireCluster('steadyStep', cluster);
  if (!mayBeginAhead(program, lateFeeds)) return null;
  const costs = { ...cluster.costs, stepSeconds: undefined, startSeconds: undefined };
  const { secondsBetween, hostSeconds } = cluster.costs.betweenSteps?.(program.devices.length) ?? nothing;
  const step = actionsOf(program, cluster);
  /** With the host on this device's core. */
  const played = (host: number) => {
    const between = (d: number) => secondsBetween + (d === host ? hostSeconds : 0);
    const source = repeated(step, 2, between);
    const { barrierSeconds, devices } = simulate(source, { ...cluster, costs }, { ...options, record: false });
    // What may begin ahead has one barrier.
    return {
      stepSeconds: barrierSeconds[1]! - barrierSeconds[0]!,
      busySeconds: devices.map((d, i) => (d.busySeconds - between(i)) / 2),
    };
  };
  const cases = hostSeconds > 0 ? spread(program.devices.length, MOST_HOSTS).map(played) : [played(-1)];
  const stepSeconds = mean(cases.map((c) => c.stepSeconds));
  const { busySeconds } = cases[0]!;
  const all = busySeconds.length * stepSeconds;
  const busy = busySeconds.reduce((sum, seconds) => sum + seconds, 0);
  return { stepSeconds, bubbleFraction: all > 0 ? Math.max(0, 1 - busy / all) : 0, busySeconds };
}

/** On the core of how many devices the host is put in turn. */
const MOST_HOSTS = 8;

/** At most so many of the numbers below n, evenly spaced. */
const spread = (n: number, most: number): number[] =>
  Array.from({ length: Math.min(n, most) }, (_, i) => Math.floor((i * n) / Math.min(n, most)));

const nothing = { secondsBetween: 0, hostSeconds: 0 };

/**
 * The same actions so many times, one step behind the other, and between two of them what a device spends there; numbers of
 * messages go on.
 */
export function repeated(source: ActionSource, steps: number, between?: (device: number) => number): ActionSource {
  const actions = Array.from({ length: source.devices }, (_, device) => [...iterate(source.actions(device))]);
  /** Messages of a step from one device to another. */
  const sends = new Map<string, number>();
  const pair = (from: number, to: number): string => `${from}>${to}`;
  actions.forEach((row, device) => {
    for (const { kind, peer } of row) {
      if (kind === 'send') sends.set(pair(device, peer), (sends.get(pair(device, peer)) ?? 0) + 1);
    }
  });
  const later = (device: number, step: number, next: Action): Action => {
    if (step === 0 || next.message < 0) return next;
    const of = next.kind === 'send' ? pair(device, next.peer) : pair(next.peer, device);
    return { ...next, message: next.message + step * (sends.get(of) ?? 0) };
  };
  /** undefined between two steps. */
  const told = <T>(device: number, index: number, tell: (device: number, index: number) => T): T | undefined => {
    const { length } = actions[device]!;
    const period = length + (between ? 1 : 0);
    const at = index % period;
    return at < length ? tell(device, at) : undefined;
  };
  return {
    devices: source.devices,
    *actions(device) {
      for (let step = 0; step < steps; step++) {
        if (between && step > 0) yield action.other(between(device));
        for (const a of actions[device]!) yield later(device, step, a);
      }
    },
    describe: (device, index) => told(device, index, source.describe) ?? 'between two steps',
    task: (device, index) => told(device, index, source.task) ?? null,
  };
}

const iterate = <T>(iterator: Iterator<T>): Iterable<T> => ({ [Symbol.iterator]: () => iterator });
