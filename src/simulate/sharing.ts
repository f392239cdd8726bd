import { UsageError } from '../core/errors.ts';
import type { Medium } from './cluster.ts';
import { EventQueue } from './queue.ts';

/** A transfer through shared media. A device has at most one at a time: its sends block it. */
interface Flow {
  readonly device: number;
  /** Of its own link. */
  readonly cap: number;
  readonly media: readonly number[];
  remaining: number;
  rate: number;
  /** When `remaining` was true. */
  since: number;
  /** Events of earlier rates are void. */
  version: number;
}

type SharingEvent =
  | { readonly kind: 'start'; readonly flow: Flow }
  | { readonly kind: 'end'; readonly flow: Flow; readonly version: number };

/**
 * Transfers as fluids (the network model of SimGrid and its kin): each flows at a rate of its own, which changes whenever a
 * transfer that it shares a medium with, directly or through others, begins or ends.
 */
export class Sharing {
  readonly #media: readonly Medium[];
  readonly #active: Set<Flow>[];
  readonly #events = new EventQueue<SharingEvent>();

  constructor(media: readonly Medium[]) {
    media.forEach(({ name, bytesPerSecond }) => {
      if (Number.isFinite(bytesPerSecond) && bytesPerSecond > 0) return;
      throw new UsageError(
        'medium-invalid',
        `medium ${name}: bytesPerSecond must be a number > 0, not ${bytesPerSecond}`,
        {
          fields: { medium: name, bytesPerSecond },
          remedy: 'leave a medium out that limits nothing',
        },
      );
    });
    this.#media = media;
    this.#active = media.map(() => new Set());
  }

  /** Media on the way of transfers between two devices. */
  mediaOf(from: number, to: number): number[] {
    return this.#media.flatMap((m, i) => (m.carries(from, to) ? [i] : []));
  }

  /** Bytes a second of a transfer that is alone. */
  aloneRate(cap: number, media: readonly number[]): number {
    return media.reduce((rate, m) => Math.min(rate, this.#media[m]!.bytesPerSecond), cap);
  }

  /** Announces a transfer. Announced are all that begin before the next event, in whatever order. */
  begin(device: number, time: number, bytes: number, cap: number, media: readonly number[]): void {
    const flow: Flow = { device, cap, media, remaining: bytes, rate: 0, since: time, version: 0 };
    this.#events.add(time, { kind: 'start', flow });
  }

  /** Goes on to the next transfer that is complete; undefined where the next event is a beginning, or there is none. */
  next(): { device: number; time: number } | 'began' | undefined {
    while (this.#events.size > 0) {
      const { time, event } = this.#events.take();
      const { flow } = event;
      if (event.kind === 'end' && event.version !== flow.version) continue;
      for (const m of flow.media) {
        if (event.kind === 'start') this.#active[m]!.add(flow);
        else this.#active[m]!.delete(flow);
      }
      this.#share(this.#neighbours(flow, event.kind === 'start'), time);
      return event.kind === 'start' ? 'began' : { device: flow.device, time };
    }
    return undefined;
  }

  /** All flows whose rates hang together with this one's. */
  #neighbours(flow: Flow, isActive: boolean): Flow[] {
    const found = new Set<Flow>(isActive ? [flow] : []);
    const seen = new Set<number>();
    const pending = [...flow.media];
    for (let m = pending.pop(); m !== undefined; m = pending.pop()) {
      if (seen.has(m)) continue;
      seen.add(m);
      for (const other of this.#active[m]!) {
        found.add(other);
        for (const n of other.media) if (!seen.has(n)) pending.push(n);
      }
    }
    return [...found];
  }

  /** Progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): the tightest limit fixes its flows first. */
  #share(flows: readonly Flow[], now: number): void {
    const open = new Set(flows);
    const room = new Map<number, { left: number; flows: number }>();
    for (const { media } of flows) {
      for (const m of media) {
        const r = room.get(m) ?? { left: this.#media[m]!.bytesPerSecond, flows: 0 };
        r.flows++;
        room.set(m, r);
      }
    }
    while (open.size > 0) {
      let level = Number.POSITIVE_INFINITY;
      for (const { cap } of open) level = Math.min(level, cap);
      let tightest = -1;
      for (const [m, { left, flows: sharers }] of room) {
        if (sharers === 0 || left / sharers >= level) continue;
        level = left / sharers;
        tightest = m;
      }
      for (const flow of open) {
        if (tightest < 0 ? flow.cap > level : !flow.media.includes(tightest)) continue;
        open.delete(flow);
        for (const m of flow.media) {
          const r = room.get(m)!;
          r.left = Math.max(0, r.left - level);
          r.flows--;
        }
        this.#setRate(flow, level, now);
      }
    }
  }

  #setRate(flow: Flow, rate: number, now: number): void {
    if (flow.rate === rate) return;
    flow.remaining = Math.max(0, flow.remaining - flow.rate * (now - flow.since));
    flow.since = now;
    flow.rate = rate;
    flow.version++;
    this.#events.add(now + flow.remaining / rate, { kind: 'end', flow, version: flow.version });
  }
}
