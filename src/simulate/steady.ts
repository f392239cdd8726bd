import { mayBeginAhead } from '../program/ahead.ts';
import type { StepProgram } from '../program/instruction.ts';
import { type Action, type ActionSource, actionsOf } from './actions.ts';
import type { Cluster } from './cluster.ts';
import type { Prediction } from './predict.ts';
import { type SimulateOptions, simulate } from './simulate.ts';

/**
 * A step of a training under way, whose steps are begun ahead: each device begins one when it has ended the one before, and
 * holds it at the barrier of updates until the host asks for it, which it does meanwhile. The step is the time from that barrier
 * to the next one's; neither the host's share nor the devices' beginning one after the other are in it, unlike in the single
 * step that is asked for (`predict`). null of programs that may not begin ahead (`mayBeginAhead`; `lateFeeds` as there).
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
  if (!mayBeginAhead(program, lateFeeds)) return null;
  const costs = { ...cluster.costs, stepSeconds: undefined, startSeconds: undefined };
  const source = repeated(actionsOf(program, cluster), 2);
  const { barrierSeconds, devices } = simulate(source, { ...cluster, costs }, { ...options, record: false });
  // What may begin ahead has one barrier.
  const stepSeconds = barrierSeconds[1]! - barrierSeconds[0]!;
  const busySeconds = devices.map((d) => d.busySeconds / 2);
  const all = devices.length * stepSeconds;
  const busy = busySeconds.reduce((sum, seconds) => sum + seconds, 0);
  return { stepSeconds, bubbleFraction: all > 0 ? Math.max(0, 1 - busy / all) : 0, busySeconds };
}

/** The same actions so many times, one step behind the other; numbers of messages go on. */
export function repeated(source: ActionSource, steps: number): ActionSource {
  const actions = Array.from({ length: source.devices }, (_, device) => [...iterate(source.actions(device))]);
  /** Messages of a step from one device to another. */
  const sends = new Map<string, number>();
  const pair = (from: number, to: number): string => `${from}>${to}`;
  actions.forEach((row, device) => {
    for (const { kind, peer } of row) {
      if (kind === 'send') sends.set(pair(device, peer), (sends.get(pair(device, peer)) ?? 0) + 1);
    }
  });
  const later = (device: number, step: number, action: Action): Action => {
    if (step === 0 || action.message < 0) return action;
    const of = action.kind === 'send' ? pair(device, action.peer) : pair(action.peer, device);
    return { ...action, message: action.message + step * (sends.get(of) ?? 0) };
  };
  return {
    devices: source.devices,
    *actions(device) {
      for (let step = 0; step < steps; step++) for (const a of actions[device]!) yield later(device, step, a);
    },
    describe: (device, index) => source.describe(device, index % actions[device]!.length),
    task: (device, index) => source.task(device, index % actions[device]!.length),
  };
}

const iterate = <T>(iterator: Iterator<T>): Iterable<T> => ({ [Symbol.iterator]: () => iterator });
