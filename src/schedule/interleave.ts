import type { OwnRows } from './placed.ts';
import { type Task, task } from './task.ts';

/**
 * One forward, one backward over the stages of p devices that own v stages each, looped: what 1F1B, interleaved 1F1B,
 * ZB-H1 and ZB-H2 have in common. Device r owns stages r, p + r, 2p + r, …
 *
 * Microbatches go round in groups: each device runs a group through its first stage, then through its second, …;
 * backwards the same from the last stage on. Before its first backward a device runs `warmUp` forwards, then always one
 * of each. Where the backward is split, the W of a microbatch stands `weightDelay` backwards later than its B.
 */
export interface Interleaving {
  /** Forwards that a device runs more than the next device does, before the first backward. */
  readonly hop: 1 | 2;
  /** Backwards by which W stays behind on device r; undefined where the backward is whole. */
  readonly weightDelay?: (r: number) => number;
}

export function interleavedRows(stages: number, devices: number, M: number, rule: Interleaving): OwnRows {
  return { rows: Array.from({ length: devices }, (_, r) => interleavedRow(r, devices, stages / devices, M, rule)) };
}

function interleavedRow(r: number, p: number, v: number, M: number, { hop, weightDelay }: Interleaving): Task[] {
  const forwards: (readonly [stage: number, microbatch: number])[] = [];
  const backwards: (readonly [stage: number, microbatch: number])[] = [];
  for (const { first, size } of groupsOf(p, v, M)) {
    for (let c = 0; c < v; c++) {
      for (let m = first; m < first + size; m++) {
        forwards.push([c * p + r, m]);
        backwards.push([(v - 1 - c) * p + r, m]);
      }
    }
  }
  const warmUp = warmUpOf(r, p, v, M, hop);
  const delay = weightDelay?.(r);
  const row = forwards.slice(0, warmUp).map(([s, m]) => task('F', s, m));
  backwards.forEach(([s, m], k) => {
    const ahead = forwards[warmUp + k];
    if (ahead !== undefined) row.push(task('F', ...ahead));
    row.push(task(delay === undefined ? 'BW' : 'B', s, m));
    const late = delay === undefined ? undefined : backwards[k - delay];
    if (late !== undefined) row.push(task('W', ...late));
  });
  for (const [s, m] of delay === undefined ? [] : backwards.slice(Math.max(0, M * v - delay)))
    row.push(task('W', s, m));
  return row;
}

/**
 * Groups of p microbatches, so that the first comes back from the last device just when the group's last has left the
 * first. Where p does not divide M, as many groups as p fits in whole, as even as possible, larger ones first: a smaller
 * group than p would leave gaps, and among larger ones could wait for what waits for it. A single round has one group.
 */
export function groupsOf(p: number, v: number, M: number): { first: number; size: number }[] {
  if (v === 1) return [{ first: 0, size: M }];
  const count = Math.max(1, Math.floor(M / p));
  const [size, larger] = [Math.floor(M / count), M % count];
  return Array.from({ length: count }, (_, j) => ({
    first: j * size + Math.min(j, larger),
    size: size + (j < larger ? 1 : 0),
  }));
}

/** The first group through all stages but the last, and `hop` for each device behind this one. */
const warmUpOf = (r: number, p: number, v: number, M: number, hop: number): number =>
  Math.min((v - 1) * groupsOf(p, v, M)[0]!.size + hop * (p - 1 - r), M * v);

/** Microbatches of single stages that device r holds at its peak: the forwards before the first weight gradient. */
export const interleavedDeviceBound = (r: number, p: number, v: number, M: number, rule: Interleaving): number =>
  Math.min(warmUpOf(r, p, v, M, rule.hop) + 1 + (rule.weightDelay?.(r) ?? 0), M * v);

/**
 * Microbatches that stage s holds at its peak. Its device has run n forwards when it has run n − lead weight gradients;
 * of both the stage has every v-th group's worth, a line with steps, and they are furthest apart where a step of the
 * forwards ends.
 */
export function interleavedStageBound(s: number, p: number, v: number, M: number, rule: Interleaving): number {
  const [r, c] = [s % p, Math.floor(s / p)];
  const lead = interleavedDeviceBound(r, p, v, M, rule);
  const groups = groupsOf(p, v, M);
  const done = (n: number, turn: number): number => {
    let count = 0;
    for (const { first, size } of groups) {
      const begun = n - v * first - turn * size;
      if (begun <= 0) break;
      count = first + Math.min(begun, size);
    }
    return count;
  };
  let peak = 0;
  for (const { first, size } of groups) {
    const n = v * first + (c + 1) * size;
    peak = Math.max(peak, done(n, c) - done(n - lead, v - 1 - c));
  }
  return peak;
}
