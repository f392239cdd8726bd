import { type ActionKind, actionKinds } from './actions.ts';

/** One action of a device as it was played. */
export interface TimedAction {
  readonly device: number;
  readonly index: number;
  readonly kind: ActionKind;
  /** When the device came to it: the end of the one before, or its begin. */
  readonly reached: number;
  /** When it had what it waits for. */
  readonly begin: number;
  readonly end: number;
  /** The other device of a message; null where there is none. */
  readonly peer: number | null;
  /** Whose action ended the wait; null where there was none. */
  readonly heldBy: { readonly device: number; readonly index: number } | null;
  /** Of a send: the part of its time that is due to others' transfers. */
  readonly contention: number;
}

/** When every action happened, and what held it up. Numbers in columns: a step may have millions of actions. */
export interface Timeline {
  readonly devices: number;
  /** When the cause of an action's wait happened; what is left of the wait is latency. */
  readonly causedAt: (action: TimedAction) => number;
  readonly count: (device: number) => number;
  readonly at: (device: number, index: number) => TimedAction;
  /** The first action of a device that ends behind a time; `count` where all are over. */
  readonly indexAt: (device: number, seconds: number) => number;
}

interface Columns {
  readonly kinds: number[];
  readonly begins: number[];
  readonly ends: number[];
  /** Of messages the other device, of barriers the last to come. */
  readonly peers: number[];
  /** The peer's action that ended the wait; −1: there was none. */
  readonly heldBy: number[];
  readonly contention: Map<number, number>;
}

export class TimelineRecorder {
  readonly #columns: readonly Columns[];

  constructor(devices: number) {
    this.#columns = Array.from({ length: devices }, () => ({
      kinds: [],
      begins: [],
      ends: [],
      peers: [],
      heldBy: [],
      contention: new Map(),
    }));
  }

  /** The next action of a device. `heldBy` −1: nothing held it up. */
  add(device: number, kind: ActionKind, begin: number, end: number, peer: number, heldBy: number): void {
    const c = this.#columns[device]!;
    c.kinds.push(actionKinds.indexOf(kind));
    c.begins.push(begin);
    c.ends.push(end);
    c.peers.push(peer);
    c.heldBy.push(heldBy);
  }

  contention(device: number, index: number, seconds: number): void {
    this.#columns[device]!.contention.set(index, seconds);
  }

  /** `starts`: when each device begins; it comes to its first action then. */
  finish(starts: readonly number[]): Timeline {
    const columns = this.#columns;
    const endOf = (device: number, index: number): number =>
      index < 0 ? starts[device]! : columns[device]!.ends[index]!;
    return {
      causedAt: ({ kind, begin, heldBy }) => {
        if (heldBy === null) return begin;
        // A barrier opens when its last device comes to it, with the end of what that has done before.
        return endOf(heldBy.device, kind === 'barrier' ? heldBy.index - 1 : heldBy.index);
      },
      devices: columns.length,
      count: (device) => columns[device]!.ends.length,
      at: (device, index) => {
        const c = columns[device]!;
        const kind = actionKinds[c.kinds[index]!]!;
        const peer = c.peers[index]!;
        const by = c.heldBy[index]!;
        return {
          device,
          index,
          kind,
          reached: endOf(device, index - 1),
          begin: c.begins[index]!,
          end: c.ends[index]!,
          peer: kind === 'barrier' || peer < 0 ? null : peer,
          heldBy: by < 0 ? null : { device: peer, index: by },
          contention: c.contention.get(index) ?? 0,
        };
      },
      indexAt: (device, seconds) => {
        const { ends } = columns[device]!;
        let [low, high] = [0, ends.length];
        while (low < high) {
          const middle = (low + high) >> 1;
          if (ends[middle]! > seconds) high = middle;
          else low = middle + 1;
        }
        return low;
      },
    };
  }
}
