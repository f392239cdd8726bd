import { UsageError } from '../core/errors.ts';
import { requireSimulation } from './require.ts';
import type { Simulation } from './simulate.ts';
import type { Timeline } from './timeline.ts';

/**
 * What a stretch of time went to: `contention` is the part of a transfer that is due to others, `latency` a link's, `host`
 * what a step takes before and behind its devices.
 */
export type PathKind = 'compute' | 'other' | 'send' | 'contention' | 'latency' | 'host';

export interface PathSegment {
  /** Of a latency, the sender; of the host, null. */
  readonly device: number | null;
  readonly index: number | null;
  readonly kind: PathKind;
  /** Receiver of a transfer or a latency. */
  readonly to: number | null;
  readonly begin: number;
  readonly end: number;
}

/** The chain that determines the step: each of its segments begins when the one before ends, the first at 0. */
export interface CriticalPath {
  readonly segments: readonly PathSegment[];
  /** = the step. */
  readonly seconds: number;
  readonly secondsByKind: Readonly<Record<PathKind, number>>;
  /** Of everything but latency and host, by device. */
  readonly secondsByDevice: readonly number[];
  /** How often it goes from one device to another. */
  readonly hops: number;
}

/** Follows what held up each action back from the step's end. Where two causes end together, it stays on the device. */
export function criticalPath(simulation: Simulation): CriticalPath {
  requireSimulation('criticalPath', simulation);
  const timeline = timelineOf(simulation);
  const segments: PathSegment[] = [];
  let device = lastDevice(timeline, simulation.startSeconds);
  let index = timeline.count(device) - 1;
  let hops = 0;
  const { stepSeconds, hostSeconds } = simulation;
  if (hostSeconds > 0) {
    const begin = index < 0 ? simulation.startSeconds[device]! : timeline.at(device, index).end;
    segments.push({ device: null, index: null, kind: 'host', to: null, begin, end: stepSeconds });
  }
  while (index >= 0) {
    const action = timeline.at(device, index);
    const { kind, begin, end, peer, heldBy, contention } = action;
    if (end > begin) {
      const own = { device, index, to: kind === 'send' ? peer : null };
      if (contention > 0) segments.push({ ...own, kind: 'contention', begin: end - contention, end });
      segments.push({ ...own, kind: pathKind(kind), begin, end: end - contention });
    }
    if (heldBy === null) {
      index--;
      continue;
    }
    hops++;
    const caused = timeline.causedAt(action);
    if (begin > caused) segments.push({ ...heldBy, kind: 'latency', to: device, begin: caused, end: begin });
    index = kind === 'barrier' ? heldBy.index - 1 : heldBy.index;
    device = heldBy.device;
  }
  const start = simulation.startSeconds[device]!;
  if (start > 0) segments.push({ device: null, index: null, kind: 'host', to: null, begin: 0, end: start });
  segments.reverse();
  const secondsByKind = { compute: 0, other: 0, send: 0, contention: 0, latency: 0, host: 0 };
  const secondsByDevice = new Array<number>(timeline.devices).fill(0);
  for (const s of segments) {
    secondsByKind[s.kind] += s.end - s.begin;
    if (s.kind !== 'latency' && s.device !== null) secondsByDevice[s.device]! += s.end - s.begin;
  }
  return { segments, seconds: segments.at(-1)?.end ?? 0, secondsByKind, secondsByDevice, hops };
}

const pathKind = (kind: string): PathKind => (kind === 'compute' || kind === 'send' ? kind : 'other');

/** The first of the devices that end with the step. */
export function lastDevice(timeline: Timeline, startSeconds: readonly number[]): number {
  let [last, latest] = [0, -1];
  for (let d = 0; d < timeline.devices; d++) {
    const n = timeline.count(d);
    const end = n === 0 ? startSeconds[d]! : timeline.at(d, n - 1).end;
    if (end > latest) [last, latest] = [d, end];
  }
  return last;
}

/** What was recorded. Throws where nothing was. */
export function timelineOf({ timeline }: Simulation): Timeline {
  if (timeline) return timeline;
  throw new UsageError('simulation-not-recorded', 'the simulation kept only sums, not what happened when', {
    remedy: 'simulate(program, cluster, { record: true })',
  });
}
