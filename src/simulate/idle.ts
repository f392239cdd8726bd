import { requireArgument, requireKinds } from '../core/options.ts';
import type { ActionKind } from './actions.ts';
import { lastDevice, timelineOf } from './critical-path.ts';
import { requireSimulation } from './require.ts';
import type { Simulation, WaitKind } from './simulate.ts';
import type { TimedAction, Timeline } from './timeline.ts';

/** What a device that waits is in truth waiting for. */
export type RootKind = 'compute' | 'other' | 'send' | 'contention' | 'latency' | 'host';

/** One wait of a chain: `device` waits for `for`, which waits in turn, or is at the root. */
export interface Wait {
  readonly device: number;
  /** Its next action; null behind its last. */
  readonly index: number | null;
  readonly kind: WaitKind;
  readonly for: number;
}

export interface IdleReason {
  /** From the idle device to the root. */
  readonly chain: readonly Wait[];
  readonly root: {
    readonly kind: Exclude<RootKind, 'contention'>;
    /** Who computes or sends; of a latency, who has let the other go on; of the host, null. */
    readonly device: number | null;
    readonly index: number | null;
    /** Receiver of a transfer or a latency. */
    readonly to: number | null;
  };
  /** How long exactly this chain holds. */
  readonly begin: number;
  readonly end: number;
}

/** A piece of a device's time: it is busy with an action, or a message of it is on its way, or it waits for another. */
type Piece = { readonly begin: number; readonly end: number } & (
  | { readonly root: 'busy'; readonly action: TimedAction }
  /** `action` is what has let it go on. */
  | { readonly root: 'latency'; readonly wait: Wait; readonly action: TimedAction }
  | { readonly root: null; readonly wait: Wait }
  | { readonly root: 'host'; readonly wait: Wait }
);

/** When the host lets each device begin, which one ends last, and when. */
interface Host {
  readonly begins: readonly number[];
  readonly last: number;
  readonly ends: number;
}

const hostOf = ({ stepSeconds, hostSeconds, startSeconds }: Simulation, timeline: Timeline): Host => ({
  last: lastDevice(timeline, startSeconds),
  ends: stepSeconds - hostSeconds,
  begins: startSeconds,
});

/**
 * A device's time from `begin` to `end`, cut where what it does or waits for changes. A wait is the affair of whoever ends
 * it until that has happened, and the link's from there on; one for the step's end is that of the device that ends last,
 * and then the host's, whose word it also
 * waits for before its first action.
 */
function* pieces(timeline: Timeline, device: number, begin: number, end: number, host: Host): Generator<Piece> {
  const count = timeline.count(device);
  let index = timeline.indexAt(device, begin);
  let now = begin;
  const told = Math.min(end, host.begins[device]!);
  if (now < told) {
    const wait = { device, index: count > 0 ? 0 : null, kind: 'start', for: device } as const;
    yield { root: 'host', wait, begin: now, end: told };
    now = told;
  }
  for (; now < end; index++) {
    if (index === count) {
      const wait = { device, index: null, kind: 'end', for: host.last } as const;
      // The last one itself waits for the host alone, whatever rounding makes of when it has ended.
      const ended = device === host.last ? now : Math.max(now, Math.min(end, host.ends));
      if (now < ended) yield { root: null, wait, begin: now, end: ended };
      if (ended < end) yield { root: 'host', wait, begin: ended, end };
      return;
    }
    const action = timeline.at(device, index);
    const ready = Math.min(end, action.begin);
    if (now < ready) {
      const kind = action.kind as WaitKind | 'send';
      const by = action.heldBy!;
      const wait = { device, index, kind: kind === 'send' ? 'post' : kind, for: by.device } as const;
      const handed = Math.max(now, Math.min(ready, timeline.causedAt(action)));
      if (now < handed) yield { root: null, wait, begin: now, end: handed };
      if (handed < ready)
        yield { root: 'latency', wait, action: timeline.at(by.device, by.index), begin: handed, end: ready };
      now = ready;
    }
    const done = Math.min(end, action.end);
    if (now < done) {
      yield { root: 'busy', action, begin: now, end: done };
      now = done;
    }
  }
}

const rootKind = (kind: ActionKind): 'compute' | 'send' | 'other' =>
  kind === 'compute' || kind === 'send' ? kind : 'other';

/** Why a device does nothing at a time: the chain of waits down to whoever is busy then. null where it is busy itself. */
export function whyIdle(simulation: Simulation, device: number, seconds: number): IdleReason | null {
  requireSimulation('whyIdle', simulation);
  requireKinds('whyIdle', { device: ['index', device], seconds: ['number', seconds] });
  const timeline = timelineOf(simulation);
  const isOne = device < timeline.devices;
  requireArgument('whyIdle', isOne, `a device of ${timeline.devices}`, device, 'whyIdle(simulation, 0, seconds)');
  if (!(seconds >= 0 && seconds < simulation.stepSeconds)) return null;
  const host = hostOf(simulation, timeline);
  const chain: Wait[] = [];
  let [begin, end, at] = [0, simulation.stepSeconds, device];
  for (;;) {
    const index = timeline.indexAt(at, seconds);
    const from = index === 0 ? 0 : timeline.at(at, index - 1).end;
    const until = index === timeline.count(at) ? simulation.stepSeconds : timeline.at(at, index).end;
    const here = [...pieces(timeline, at, from, until, host)].find((p) => p.begin <= seconds && seconds < p.end)!;
    begin = Math.max(begin, here.begin);
    end = Math.min(end, here.end);
    if (here.root === 'busy' && chain.length === 0) return null;
    if (here.root === 'busy' || here.root === 'latency') {
      const { kind, index: of, device: from, peer } = here.action;
      if (here.root === 'latency') chain.push(here.wait);
      const root =
        here.root === 'latency'
          ? ({ kind: 'latency', device: from, index: of, to: at } as const)
          : { kind: rootKind(kind), device: from, index: of, to: kind === 'send' ? peer : null };
      return { chain, root, begin, end };
    }
    if (here.root === 'host') {
      return { chain: [...chain, here.wait], root: { kind: 'host', device: null, index: null, to: null }, begin, end };
    }
    chain.push(here.wait);
    at = here.wait.for;
  }
}

export interface IdleCause {
  /** What the idle device itself waits for. */
  readonly wait: WaitKind;
  readonly kind: RootKind;
  /** Who computes or sends meanwhile; of a latency, who has let the other go on; of the host, null. */
  readonly device: number | null;
  /** Summed over all devices that wait. */
  readonly seconds: number;
}

/** All idle time of a step by its root causes, the largest first; it sums to devices · step − Σ busy. */
export function idleCauses(simulation: Simulation): IdleCause[] {
  requireSimulation('idleCauses', simulation);
  const timeline = timelineOf(simulation);
  const host = hostOf(simulation, timeline);
  const sums = new Map<string, { -readonly [K in keyof IdleCause]: IdleCause[K] }>();
  const add = (wait: WaitKind, kind: RootKind, device: number | null, seconds: number): void => {
    if (seconds <= 0) return;
    const key = `${wait} ${kind} ${device}`;
    const sum = sums.get(key);
    if (sum) sum.seconds += seconds;
    else sums.set(key, { wait, kind, device, seconds });
  };
  const rest: { device: number; begin: number; end: number; wait: WaitKind | null }[] = [];
  for (let device = 0; device < timeline.devices; device++) {
    rest.push({ device, begin: 0, end: simulation.stepSeconds, wait: null });
    for (let span = rest.pop(); span; span = rest.pop()) {
      for (const piece of pieces(timeline, span.device, span.begin, span.end, host)) {
        const { begin, end } = piece;
        if (piece.root === null) {
          const wait = span.wait ?? piece.wait.kind;
          rest.push({ device: piece.wait.for, begin, end, wait });
        } else if (piece.root === 'latency') {
          add(span.wait ?? piece.wait.kind, 'latency', piece.action.device, end - begin);
        } else if (piece.root === 'host') add(span.wait ?? piece.wait.kind, 'host', null, end - begin);
        else if (span.wait !== null) {
          const { kind, contention, device: root, begin: from, end: to } = piece.action;
          const shared = ((end - begin) * contention) / (to - from);
          add(span.wait, rootKind(kind), root, end - begin - shared);
          add(span.wait, 'contention', root, shared);
        }
      }
    }
  }
  return [...sums.values()].sort((a, b) => b.seconds - a.seconds);
}
