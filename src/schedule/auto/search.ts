import { philox4x32 } from '../../core/random.ts';
import type { Bounds } from './bound.ts';
import type { Drain } from './drain.ts';
import { exactSchedule } from './exact.ts';
import { B, BW, F, type Instance, W } from './instance.ts';
import { listSchedule, type Policy } from './list.ts';
import { mutated, splitCosts } from './portfolio.ts';
import { Player, RowCheck, type Rows } from './rows.ts';

export type Objective = 'makespan' | 'span';

export interface Found {
  readonly rows: Rows;
  /** The objective, of makespan and span the other, and the sum of all devices' spans: of equals the fewest gaps. */
  readonly value: number;
  readonly other: number;
  readonly gaps: number;
  readonly policy?: Policy;
}

/** Names the stream of random numbers. */
const searchKey = [0x6c697374, 0x72616e6b] as const;

/**
 * The search's state: the best rows so far and what is spent. Effort is counted in tasks placed, not in seconds: the same
 * problem has the same schedule on every machine, however loaded. Nothing that is tried may depend on the effort allowed,
 * only on what is spent: a search with more effort then does all that one with less does, and more.
 */
export class Search {
  best: Found | undefined;
  spent = 0;
  /** Orders that were played to their end. */
  played = 0;
  readonly #effort: number;
  readonly instance: Instance;
  readonly #objective: Objective;
  readonly #player: Player;
  readonly #check: RowCheck;
  readonly #target: number;
  readonly #mayFuse: boolean;

  constructor(instance: Instance, objective: Objective, target: number, effort: number) {
    this.instance = instance;
    this.#objective = objective;
    this.#target = target;
    this.#effort = effort;
    this.#mayFuse = instance.split && splitCosts(instance);
    this.#player = new Player(instance);
    this.#check = new RowCheck(instance);
  }

  get done(): boolean {
    return this.spent >= this.#effort || this.proved;
  }

  /** The bound is reached. */
  get proved(): boolean {
    return this.best !== undefined && this.best.value <= this.#target * (1 + 1e-12);
  }

  /** Plays rows and keeps them where they are the best; undefined where they break a rule or cannot finish. */
  try(rows: Rows, policy?: Policy): Found | undefined {
    if (rows.every((row, d) => this.#check.check(row, d))) return this.#judge(rows, policy);
    this.spent += rows.reduce((n, row) => n + row.length, 0);
    return undefined;
  }

  #judge(rows: Rows, policy?: Policy): Found | undefined {
    const player = this.#player;
    this.spent += rows.reduce((n, row) => n + row.length, 0);
    if (!player.play(rows)) return undefined;
    this.played++;
    let gaps = 0;
    for (let d = 0; d < this.instance.devices; d++) {
      const [from, to] = [player.offset[d]!, player.offset[d + 1]!];
      if (to > from) gaps += player.end[to - 1]! - player.start[from]!;
    }
    const { makespan, span } = player;
    const [value, other] = this.#objective === 'span' ? [span, makespan] : [makespan, span];
    const found = { rows, value, other, gaps, policy };
    if (this.best === undefined || better(found, this.best)) {
      this.best = found;
      const fused = this.#mayFuse ? this.#fused(rows) : rows;
      if (fused !== rows) this.try(fused, policy);
    }
    return found;
  }

  list(drain: Drain, policy: Policy): Found {
    const rows = listSchedule(this.instance, drain, policy);
    this.spent += rows.reduce((n, row) => n + row.length, 0);
    return this.#judge(rows, policy)!;
  }

  /**
   * Lists again with the ways to the end that the rows themselves show, so that what was late because of them goes
   * first: the forward half of forward-backward improvement (Li and Willis 1992; Tormos and Lova 2001).
   */
  relist(drain: Drain, from: Found, rounds: number, until: number): Found {
    let found = from;
    for (let round = 0; round < rounds && !this.done && this.spent < until; round++) {
      this.#player.play(found.rows);
      const rank = this.#player.tails(this.#objective === 'span');
      const [waitW, waitF] = [1, 0].map((x) => new Array<number>(this.instance.devices).fill(x));
      const base = { split: drain.split, lag: Infinity, waitW: waitW!, waitF: waitF! };
      const next = this.list(drain, { ...base, ...found.policy, first: 'rank', among: 'rank', cap: undefined, rank });
      if (!better(next, found)) break;
      found = next;
    }
    return found;
  }

  /** Solves what is small enough for an effort of its own; true where `best` is then proved to be the best. */
  exact(bounds: Bounds, effort: number): boolean {
    const result = exactSchedule(this.instance, bounds, this.best!.value, effort);
    if (result === undefined) return false;
    // Rows that break a rule would mean that the solver took a shorter problem for this one: nothing is proved then.
    return result.rows === undefined || this.try(result.rows) !== undefined;
  }

  /** Changes a policy a number at a time, and goes on from what is no longer. */
  tune(drain: Drain, from: Found, until: number, seed: number): Found {
    let found = from;
    for (let round = 0; from.policy !== undefined && !this.done && this.spent < until; round++) {
      const random = philox4x32([round, 1, seed, 0], searchKey);
      const next = this.list(drain, mutated(found.policy!, this.instance, random));
      if (next.value <= found.value) found = next;
    }
    return found;
  }

  /**
   * Moves one task at a time, on the way that decides the length: a task that keeps its successor on the device from
   * starting goes behind it, or that one goes further ahead, or a later task is pulled into a gap. Goes on from what is no
   * longer: ways that are equally long are broken one by one.
   */
  improve(from: Found, seed: number, until: number): void {
    const { stages } = this.instance;
    let current = from;
    this.#player.play(current.rows);
    let way = this.#criticalWay();
    let failed = 0;
    for (let round = 0; !this.done && this.spent < until && way.length > 0 && failed < 400; round++) {
      const random = philox4x32([round, 0, seed, 0], searchKey);
      const at = way[random[0]! % way.length]!;
      const row = current.rows[at.device]!;
      const kind = (row[at.index]! / stages) | 0;
      const room = row.length - 1;
      // Blocked by the task before: move that one behind, or this one further ahead. A gap before: fill it.
      const reach = 1 + ((random[2]! >>> 8) % (random[2]! % 3 === 0 ? 24 : 3));
      const [source, target] =
        random[1]! % 3 === 0
          ? [at.index, Math.max(0, at.index - reach)]
          : random[1]! % 3 === 1
            ? [Math.max(0, at.index - 1), Math.min(room, at.index - 1 + (kind === W ? 1 : reach))]
            : [Math.min(room, at.index + reach), at.index];
      if (source === target) continue;
      const changed = moved(row, source, target);
      if (changed === undefined || !this.#check.check(changed, at.device)) {
        // A move that memory or precedence forbids costs no play, but the row was walked.
        this.spent += row.length / 4;
        failed++;
        continue;
      }
      const next = this.#judge(current.rows.with(at.device, changed) as Rows);
      if (next === undefined || next.value > current.value) {
        failed++;
        continue;
      }
      if (better(next, current)) failed = 0;
      current = next;
      if (this.#mayFuse) this.#player.play(current.rows); // What was played last may be its fused rows.
      way = this.#criticalWay();
    }
  }

  /** Places from the end that decides the objective back to the start, by what each waited for last. */
  #criticalWay(): { device: number; index: number }[] {
    const { offset, start, end, cause } = this.#player;
    let p = -1;
    let worst = -1;
    for (let d = 0; d < this.instance.devices; d++) {
      if (offset[d] === offset[d + 1]) continue;
      const last = offset[d + 1]! - 1;
      const value = end[last]! - (this.#objective === 'span' ? start[offset[d]!]! : 0);
      if (value > worst) {
        worst = value;
        p = last;
      }
    }
    const way: { device: number; index: number }[] = [];
    while (p >= 0) {
      let d = 0;
      // Few devices: a walk is as quick as a search.
      while (offset[d + 1]! <= p) d++;
      if (p > offset[d]!) way.push({ device: d, index: p - offset[d]! });
      p = cause[p]!;
    }
    return way;
  }

  /** B directly before its own W as one BW, wherever that is shorter; the rows themselves where it is nowhere. */
  #fused(rows: Rows): Rows {
    const { stages, microbatches: M, slots, time } = this.instance;
    const counts = new Int32Array(3 * stages);
    let isChanged = false;
    const changed = rows.map((row) => {
      const fused: number[] = [];
      for (let i = 0; i < row.length; i++) {
        const kind = (row[i]! / stages) | 0;
        const s = row[i]! % stages;
        if (kind === B && row[i + 1] === W * stages + s && counts[B * stages + s] === counts[W * stages + s]) {
          const slot = s * M + counts[B * stages + s]!++;
          counts[W * stages + s]!++;
          if (time[BW * slots + slot]! < time[B * slots + slot]! + time[W * slots + slot]!) {
            fused.push(BW * stages + s);
            isChanged = true;
            i++;
            continue;
          }
          fused.push(row[i]!, row[++i]!);
          continue;
        }
        if (kind === BW) {
          counts[B * stages + s]!++;
          counts[W * stages + s]!++;
        } else if (kind !== F) counts[kind * stages + s]!++;
        fused.push(row[i]!);
      }
      return Int32Array.from(fused);
    });
    return isChanged ? changed : rows;
  }

  peaks(rows: Rows): number[] {
    return rows.map((row, d) => {
      this.#check.check(row, d);
      return this.#check.peak;
    });
  }

  /** Makespan and span of rows that were tried before. */
  lengths(rows: Rows): { makespan: number; span: number } {
    this.#player.play(rows);
    return { makespan: this.#player.makespan, span: this.#player.span };
  }
}

export const better = (a: Found, b: Found): boolean =>
  a.value < b.value || (a.value === b.value && (a.other < b.other || (a.other === b.other && a.gaps < b.gaps)));

/** The row with one task taken out at `source` and put in at `target`; undefined where nothing changes. */
function moved(row: Int32Array, source: number, target: number): Int32Array | undefined {
  const symbol = row[source]!;
  const result = row.slice();
  if (source < target) result.copyWithin(source, source + 1, target + 1);
  else result.copyWithin(target + 1, target, source);
  result[target] = symbol;
  for (let i = Math.min(source, target); i <= Math.max(source, target); i++) if (result[i] !== row[i]) return result;
  return undefined;
}
