import type { Drain } from './drain.ts';
import { B, BW, F, type Instance, W } from './instance.ts';
import { type Rows, within } from './rows.ts';
import { Wakes } from './wakes.ts';

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

/**
 * List scheduling: in the order of time, each free device starts the task that the policy prefers of those that are
 * there and that its memory allows. Ends by construction (see drain.ts): where a cap leaves no task to start anywhere, it
 * is set aside for one.
 */
export const listSchedule = (instance: Instance, drain: Drain, policy: Policy): Rows =>
  new Listing(instance, drain, policy).run();

/** What a device could do: of each kind the stage whose turn it is, −1 where there is none, and what is about to come. */
interface Choices {
  forward: number;
  backward: number;
  weights: number;
  /** When the next F and B come that are not there yet. */
  soonForward: number;
  soonBackward: number;
  /** Memory keeps an F from starting that would go first. */
  isBlocked: boolean;
}

/** The rows so far, and what is known of the future at the time that they have reached. */
class Listing {
  readonly #instance: Instance;
  readonly #drain: Drain;
  readonly #policy: Policy;
  readonly #backward: number;
  readonly #isLimited: boolean;
  readonly #depth: Int32Array;
  /** Tasks of each stage that have begun: F, B, and W, which are those of B where they are not split. */
  readonly #f: Int32Array;
  readonly #b: Int32Array;
  readonly #w: Int32Array;
  /** Ends of F and B, by slot. */
  readonly #endF: Float64Array;
  readonly #endB: Float64Array;
  /** By device. */
  readonly #free: Float64Array;
  readonly #idled: Float64Array;
  readonly #lastKind: Int8Array;
  readonly #filled: Int32Array;
  readonly #rows: Int32Array[];
  readonly #wakes = new Wakes();
  /** Filled anew for every device that looks: a record for each would be the listing's only garbage. */
  readonly #choices: Choices = {
    forward: -1,
    backward: -1,
    weights: -1,
    soonForward: Infinity,
    soonBackward: Infinity,
    isBlocked: false,
  };
  #idledMost = 0;
  #left: number;

  constructor(instance: Instance, drain: Drain, policy: Policy) {
    const { stages, microbatches, slots, devices, stagesOf, budget, order } = instance;
    this.#instance = instance;
    this.#drain = drain;
    this.#policy = policy;
    this.#backward = policy.split ? B : BW;
    this.#isLimited = budget.some((x) => x < Infinity);
    this.#depth = new Int32Array(stages);
    order.forEach((s, i) => {
      this.#depth[s] = i;
    });
    this.#f = new Int32Array(stages);
    this.#b = new Int32Array(stages);
    this.#w = policy.split ? new Int32Array(stages) : this.#b;
    this.#endF = new Float64Array(slots);
    this.#endB = new Float64Array(slots);
    this.#free = new Float64Array(devices);
    this.#idled = new Float64Array(devices);
    this.#lastKind = new Int8Array(devices).fill(B);
    this.#filled = new Int32Array(devices);
    this.#rows = stagesOf.map((own) => new Int32Array(own.length * microbatches * (policy.split ? 3 : 2)));
    this.#left = this.#rows.reduce((n, row) => n + row.length, 0);
  }

  run(): Rows {
    const { devices, stagesOf } = this.#instance;
    for (let d = 0; d < devices; d++) if (stagesOf[d]!.length > 0) this.#wakes.push(0, d);
    let now = 0;
    while (this.#left > 0) {
      if (this.#wakes.size === 0) {
        this.#goOnUncapped(now);
        continue;
      }
      const { time: at, device } = this.#wakes.pop();
      now = at;
      if (this.#free[device]! <= at) this.#look(device, at, true);
    }
    return this.#rows;
  }

  /** Caps have left nothing to start anywhere: the first device that can do something without them does it. */
  #goOnUncapped(now: number): void {
    for (let d = 0; d < this.#instance.devices && this.#wakes.size === 0; d++) {
      this.#look(d, Math.max(now, this.#free[d]!), false);
    }
    if (this.#wakes.size === 0) throw new Error('list scheduling came to a halt: draining must always be possible');
  }

  #look(d: number, at: number, capped: boolean): void {
    this.#findChoices(d, at, capped);
    const symbol = this.#preferred(d, at);
    if (symbol >= 0) this.#begin(symbol, at);
  }

  #findChoices(d: number, at: number, capped: boolean): void {
    const [f, b, w] = [this.#f, this.#b, this.#w];
    const { stagesOf, microbatches: M } = this.#instance;
    const held = this.#isLimited ? this.#heldBy(d) : 0;
    let [sf, sb, sw] = [-1, -1, -1];
    let [soonF, soonB] = [Infinity, Infinity];
    let isBlocked = false;
    for (const s of stagesOf[d]!) {
      if (this.#mayBackward(s, held)) {
        const arrival = this.#arrivalB(s);
        if (arrival > at) soonB = Math.min(soonB, arrival);
        else if (sb < 0 || this.#precedes(this.#backward, s, sb, b)) sb = s;
      }
      if (f[s]! < M) {
        const arrival = this.#arrivalF(s);
        // The memory is asked for last: it costs most.
        if (arrival > at) {
          if (arrival < soonF && this.#mayForward(s, held, capped)) soonF = arrival;
        } else if (sf < 0 || this.#precedes(F, s, sf, f)) {
          if (this.#mayForward(s, held, capped)) sf = s;
          else isBlocked = true;
        }
      }
      if (w[s]! < b[s]! && (sw < 0 || b[s]! - w[s]! > b[sw]! - w[sw]!)) sw = s;
    }
    const choices = this.#choices;
    choices.forward = sf;
    choices.backward = sb;
    choices.weights = sw;
    choices.soonForward = soonF;
    choices.soonBackward = soonB;
    choices.isBlocked = isBlocked;
  }

  /** The task that the policy prefers of the choices, as kind · stages + stage; −1 where the device rather waits. */
  #preferred(d: number, at: number): number {
    const { stages, microbatches: M, slots, time } = this.#instance;
    const { first, lag, recycle, rank, waitF, waitW } = this.#policy;
    const { weights: sw, soonForward, soonBackward, isBlocked } = this.#choices;
    let { forward: sf, backward: sb } = this.#choices;
    const turnOfF = first === 'F' || (first === 'alternate' && this.#lastKind[d] !== F);
    if (sw >= 0 && sb < 0 && this.#b[sw]! - this.#w[sw]! > lag) sf = -1;
    if (sf >= 0 && sb >= 0) {
      const [slotF, slotB] = [sf * M + this.#f[sf]!, sb * M + this.#b[sb]!];
      const forwardFirst =
        turnOfF || (first === 'rank' && rank[F * slots + slotF]! > rank[this.#backward * slots + slotB]!);
      if (forwardFirst) sb = -1;
      else sf = -1;
    }
    if (sb >= 0) {
      return recycle && isBlocked && turnOfF && sw >= 0 ? W * stages + sw : this.#backward * stages + sb;
    }
    let gap = Math.min(soonBackward, soonForward) - at;
    if (sf >= 0) {
      gap = soonBackward - at;
      const lasts = time[F * slots + sf * M + this.#f[sf]!]!;
      if (first === 'F' || !this.#waits(d, gap, waitF[d]!, lasts)) return F * stages + sf;
      // The gap that is too short for F may do for W.
    }
    if (sw < 0) return -1;
    const lastsW = time[W * slots + sw * M + this.#w[sw]!]!;
    return this.#waits(d, gap, waitW[d]!, lastsW) ? -1 : W * stages + sw;
  }

  /** Whether a device leaves a task of some length for what arrives after `gap`. */
  #waits(d: number, gap: number, share: number, lasts: number): boolean {
    return gap < share * lasts && (!this.#policy.even || this.#idled[d]! + gap <= this.#idledMost);
  }

  #begin(symbol: number, at: number): void {
    const { stages, microbatches: M, slots, placement, before, after, time } = this.#instance;
    const { pace = 0 } = this.#policy;
    const kind = (symbol / stages) | 0;
    const s = symbol % stages;
    const d = placement[s]!;
    const count = kind === F ? this.#f : kind === W ? this.#w : this.#b;
    const m = count[s]!++;
    const end = at + time[kind * slots + s * M + m]!;
    if (this.#filled[d]! > 0 && at > this.#free[d]!) {
      this.#idled[d]! += at - this.#free[d]!;
      this.#idledMost = Math.max(this.#idledMost, this.#idled[d]!);
    }
    this.#rows[d]![this.#filled[d]!++] = symbol;
    this.#free[d] = end;
    if (kind !== W) this.#lastKind[d] = kind === F ? F : B;
    this.#left--;
    this.#wakes.push(end, d);
    if (kind === W) return;
    if (kind === F && pace > 0 && before[s]!.length === 0) this.#wakes.push(Math.max(end, (m + 1) * pace), d);
    (kind === F ? this.#endF : this.#endB)[s * M + m] = end;
    for (const { stage, leaves } of kind === F ? after[s]! : before[s]!) {
      if (placement[stage] !== d || leaves > 0) this.#wakes.push(end + leaves, placement[stage]!);
    }
  }

  #heldBy(d: number): number {
    const { stagesOf, hold, keep } = this.#instance;
    const [f, b, w] = [this.#f, this.#b, this.#w];
    let held = 0;
    for (const s of stagesOf[d]!) held += (f[s]! - b[s]!) * hold[s]! + (b[s]! - w[s]!) * keep[s]!;
    return held;
  }

  /** When the next F of a stage has all it needs; Infinity where that is not known yet. */
  #arrivalF(s: number): number {
    const { before, microbatches: M } = this.#instance;
    const m = this.#f[s]!;
    let at = before[s]!.length === 0 ? m * (this.#policy.pace ?? 0) : 0;
    for (const { stage, arrives } of before[s]!) {
      if (this.#f[stage]! <= m) return Infinity;
      at = Math.max(at, this.#endF[stage * M + m]! + arrives);
    }
    return at;
  }

  /** Likewise of its B. */
  #arrivalB(s: number): number {
    const { after, microbatches: M } = this.#instance;
    const m = this.#b[s]!;
    if (this.#f[s]! <= m) return Infinity;
    let at = this.#endF[s * M + m]!;
    for (const { stage, arrives } of after[s]!) {
      if (this.#b[stage]! <= m) return Infinity;
      at = Math.max(at, this.#endB[stage * M + m]! + arrives);
    }
    return at;
  }

  #mayForward(s: number, held: number, capped: boolean): boolean {
    const { microbatches: M, hold, budget, placement } = this.#instance;
    const { cap, warmUp } = this.#policy;
    const [f, b] = [this.#f, this.#b];
    if (f[s]! >= M) return false;
    if (capped && cap !== undefined && f[s]! - b[s]! >= cap[s]!) return false;
    if (capped && warmUp !== undefined && b[s] === 0 && f[s]! >= warmUp[s]!) return false;
    return !this.#isLimited || (within(held + hold[s]!, budget[placement[s]!]!) && this.#drain.safe(s, f, b));
  }

  #mayBackward(s: number, held: number): boolean {
    const { microbatches: M, hold, keep, budget, placement } = this.#instance;
    if (this.#b[s]! >= M) return false;
    if (!this.#policy.split || !this.#isLimited) return true;
    return within(held + Math.max(0, keep[s]! - hold[s]!), budget[placement[s]!]!);
  }

  /** Of two stages whose next task of the kind could start, whether `s` goes before `t`. */
  #precedes(kind: number, s: number, t: number, count: Int32Array): boolean {
    const { microbatches: M, slots } = this.#instance;
    const { among, rank } = this.#policy;
    const [ms, mt] = [count[s]!, count[t]!];
    if (among === 'old' && ms !== mt) return ms < mt;
    if (among === 'rank') {
      const [rs, rt] = [rank[kind * slots + s * M + ms]!, rank[kind * slots + t * M + mt]!];
      if (rs !== rt) return rs > rt;
    }
    // Deep: for B the later stage as well, whose users wait longest.
    return this.#depth[s]! > this.#depth[t]!;
  }
}
