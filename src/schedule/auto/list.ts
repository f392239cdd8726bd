import type { Drain } from './drain.ts';
import { B, BW, F, type Instance, W } from './instance.ts';
import { type Rows, within } from './rows.ts';

/** How a device chooses when it is free: one member of the portfolio. */
export interface Policy {
  readonly split: boolean;
  /** What goes first where an F and a B could start. `rank`: whichever has the longer way to go. */
  readonly first: 'B' | 'F' | 'alternate' | 'rank';
  /** Among stages of the device: the later stage, the earlier microbatch, or the longer way to go. */
  readonly among: 'deep' | 'old' | 'rank';
  /** The most microbatches that a stage may have between F and B: at any time, or only before its first B. */
  readonly cap?: readonly number[];
  readonly warmUp?: readonly number[];
  /** Stages that no other feeds start their F no more often than this: microbatches enter at the rate that they leave. */
  readonly pace?: number;
  /** W of a stage goes before its F once more than this many are pending. */
  readonly lag: number;
  /**
   * A task waits for a better one that arrives before this share of its own time is over: 0 never waits, 1 always.
   * `waitW`: W for F and B; `waitF`: F for B, where F does not always go first. One share a device.
   */
  readonly waitW: readonly number[];
  readonly waitF: readonly number[];
  /** Wait only as long as the device has then not idled longer than the one that idled longest so far. */
  readonly even?: boolean;
  /** Where memory keeps an F from starting that would go first, W that free enough of it go before the B. */
  readonly recycle?: boolean;
  /** Longest way to the end of the step, by kind · slots + slot. */
  readonly rank: Float64Array;
}

/** Times are kept in a heap of (time, device): a device looks for work when it is free and when something arrives. */
class Wakes {
  #times: number[] = [];
  #devices: number[] = [];

  get size(): number {
    return this.#times.length;
  }

  push(time: number, device: number): void {
    const [times, devices] = [this.#times, this.#devices];
    let i = times.length;
    times.push(time);
    devices.push(device);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.#before(time, device, up)) break;
      times[i] = times[up]!;
      devices[i] = devices[up]!;
      i = up;
    }
    times[i] = time;
    devices[i] = device;
  }

  /** The earliest; ties go to the lower device, so that a run is reproducible. */
  pop(): { time: number; device: number } {
    const [times, devices] = [this.#times, this.#devices];
    const top = { time: times[0]!, device: devices[0]! };
    const [time, device] = [times.pop()!, devices.pop()!];
    const n = times.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && this.#before(times[child + 1]!, devices[child + 1]!, child)) child++;
        if (this.#before(time, device, child)) break;
        times[i] = times[child]!;
        devices[i] = devices[child]!;
        i = child;
      }
      times[i] = time;
      devices[i] = device;
    }
    return top;
  }

  #before(time: number, device: number, other: number): boolean {
    const t = this.#times[other]!;
    return time < t || (time === t && device < this.#devices[other]!);
  }
}

/**
 * List scheduling: in the order of time, each free device starts the task that the policy prefers of those that are
 * there and that its memory allows. Ends by construction (see drain.ts): where a cap leaves no task to start anywhere, it
 * is set aside for one.
 */
export function listSchedule(instance: Instance, drain: Drain, policy: Policy): Rows {
  const { stages, microbatches: M, slots, devices, placement, stagesOf, before, after, time } = instance;
  const { hold, keep, budget } = instance;
  const { split, cap, warmUp, rank, lag, pace = 0 } = policy;
  const backward = split ? B : BW;
  const limited = budget.some((x) => x < Infinity);

  const f = new Int32Array(stages);
  const b = new Int32Array(stages);
  const w = split ? new Int32Array(stages) : b;
  const endF = new Float64Array(slots);
  const endB = new Float64Array(slots);
  const free = new Float64Array(devices);
  const idled = new Float64Array(devices);
  let idledMost = 0;
  const lastKind = new Int8Array(devices).fill(B);
  const rows = stagesOf.map((own) => new Int32Array(own.length * M * (split ? 3 : 2)));
  const filled = new Int32Array(devices);
  const wakes = new Wakes();
  for (let d = 0; d < devices; d++) if (stagesOf[d]!.length > 0) wakes.push(0, d);
  let left = rows.reduce((n, row) => n + row.length, 0);

  const heldBy = (d: number): number => {
    let held = 0;
    for (const s of stagesOf[d]!) held += (f[s]! - b[s]!) * hold[s]! + (b[s]! - w[s]!) * keep[s]!;
    return held;
  };
  /** When the next F or B of a stage has all it needs; Infinity where that is not known yet. */
  const arrivalF = (s: number): number => {
    const m = f[s]!;
    let at = before[s]!.length === 0 ? m * pace : 0;
    for (const { stage, arrives } of before[s]!) {
      if (f[stage]! <= m) return Infinity;
      at = Math.max(at, endF[stage * M + m]! + arrives);
    }
    return at;
  };
  const arrivalB = (s: number): number => {
    const m = b[s]!;
    if (f[s]! <= m) return Infinity;
    let at = endF[s * M + m]!;
    for (const { stage, arrives } of after[s]!) {
      if (b[stage]! <= m) return Infinity;
      at = Math.max(at, endB[stage * M + m]! + arrives);
    }
    return at;
  };
  const mayForward = (s: number, held: number, capped: boolean): boolean => {
    if (f[s]! >= M) return false;
    if (capped && cap !== undefined && f[s]! - b[s]! >= cap[s]!) return false;
    if (capped && warmUp !== undefined && b[s] === 0 && f[s]! >= warmUp[s]!) return false;
    return !limited || (within(held + hold[s]!, budget[placement[s]!]!) && drain.safe(s, f, b));
  };
  const mayBackward = (s: number, held: number): boolean =>
    b[s]! < M && (!split || !limited || within(held + Math.max(0, keep[s]! - hold[s]!), budget[placement[s]!]!));

  /** Of two stages whose next task of the kind could start, whether `s` goes before `t`. */
  const precedes = (kind: number, s: number, t: number, count: Int32Array): boolean => {
    const [ms, mt] = [count[s]!, count[t]!];
    if (policy.among === 'old' && ms !== mt) return ms < mt;
    if (policy.among === 'rank') {
      const [rs, rt] = [rank[kind * slots + s * M + ms]!, rank[kind * slots + t * M + mt]!];
      if (rs !== rt) return rs > rt;
    }
    // Deep: for B the later stage as well, whose users wait longest.
    return depth[s]! > depth[t]!;
  };
  const depth = new Int32Array(stages);
  instance.order.forEach((s, i) => {
    depth[s] = i;
  });

  const begin = (kind: number, s: number, at: number): void => {
    const d = placement[s]!;
    const count = kind === F ? f : kind === W ? w : b;
    const m = count[s]!++;
    const end = at + time[kind * slots + s * M + m]!;
    if (filled[d]! > 0 && at > free[d]!) {
      idled[d]! += at - free[d]!;
      idledMost = Math.max(idledMost, idled[d]!);
    }
    rows[d]![filled[d]!++] = kind * stages + s;
    free[d] = end;
    lastKind[d] = kind === F ? F : kind === W ? lastKind[d]! : B;
    left--;
    wakes.push(end, d);
    if (kind === W) return;
    if (kind === F && pace > 0 && before[s]!.length === 0) wakes.push(Math.max(end, (m + 1) * pace), d);
    (kind === F ? endF : endB)[s * M + m] = end;
    for (const { stage, leaves } of kind === F ? after[s]! : before[s]!) {
      if (placement[stage] !== d || leaves > 0) wakes.push(end + leaves, placement[stage]!);
    }
  };

  /** Whether a device leaves a task of some length for what arrives after `gap`. */
  const waits = (d: number, gap: number, share: number, lasts: number): boolean =>
    gap < share * lasts && (!policy.even || idled[d]! + gap <= idledMost);

  const look = (d: number, at: number, capped: boolean): boolean => {
    const held = limited ? heldBy(d) : 0;
    let [sf, sb, sw] = [-1, -1, -1];
    let [soonF, soonB] = [Infinity, Infinity];
    let blocked = false;
    for (const s of stagesOf[d]!) {
      if (mayBackward(s, held)) {
        const arrival = arrivalB(s);
        if (arrival > at) soonB = Math.min(soonB, arrival);
        else if (sb < 0 || precedes(backward, s, sb, b)) sb = s;
      }
      if (f[s]! < M) {
        const arrival = arrivalF(s);
        // The memory is asked for last: it costs most.
        if (arrival > at) {
          if (arrival < soonF && mayForward(s, held, capped)) soonF = arrival;
        } else if (sf < 0 || precedes(F, s, sf, f)) {
          if (mayForward(s, held, capped)) sf = s;
          else blocked = true;
        }
      }
      if (split && w[s]! < b[s]!) {
        if (sw < 0 || b[s]! - w[s]! > b[sw]! - w[sw]!) sw = s;
      }
    }
    if (sw >= 0 && b[sw]! - w[sw]! > lag && sb < 0) sf = -1;
    if (sf >= 0 && sb >= 0) {
      const forwardFirst =
        policy.first === 'F' ||
        (policy.first === 'alternate' && lastKind[d] !== F) ||
        (policy.first === 'rank' && rank[F * slots + sf * M + f[sf]!]! > rank[backward * slots + sb * M + b[sb]!]!);
      if (forwardFirst) sb = -1;
      else sf = -1;
    }
    const lastsW = sw >= 0 ? time[W * slots + sw * M + w[sw]!]! : 0;
    if (sb >= 0) {
      const turnOfF = policy.first === 'F' || (policy.first === 'alternate' && lastKind[d] !== F);
      const recycles = policy.recycle && blocked && turnOfF && sw >= 0;
      if (recycles) begin(W, sw, at);
      else begin(backward, sb, at);
      return true;
    }
    if (sf >= 0) {
      const lasts = time[F * slots + sf * M + f[sf]!]!;
      if (policy.first === 'F' || !waits(d, soonB - at, policy.waitF[d]!, lasts)) {
        begin(F, sf, at);
        return true;
      }
      // The gap that is too short for F may do for W.
      if (sw < 0 || waits(d, soonB - at, policy.waitW[d]!, lastsW)) return false;
      begin(W, sw, at);
      return true;
    }
    if (sw < 0 || waits(d, Math.min(soonB, soonF) - at, policy.waitW[d]!, lastsW)) return false;
    begin(W, sw, at);
    return true;
  };

  let now = 0;
  while (left > 0) {
    if (wakes.size === 0) {
      for (let d = 0; d < devices && wakes.size === 0; d++) look(d, Math.max(now, free[d]!), false);
      if (wakes.size === 0) throw new Error('list scheduling came to a halt: draining must always be possible');
      continue;
    }
    const { time: at, device } = wakes.pop();
    now = at;
    if (free[device]! <= at) look(device, at, true);
  }
  return rows;
}
