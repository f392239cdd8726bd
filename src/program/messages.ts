import { PlanError } from '../core/errors.ts';
import type { Buffer, DeviceProgram, Instruction } from './instruction.ts';
import { findDeadlock } from './validate.ts';

/** Instructions before messages are numbered: sends and receives still name the value. */
export type DraftInstruction =
  | Exclude<Instruction, { kind: 'send' | 'receive' | 'post' }>
  | {
      readonly kind: 'send';
      readonly to: number;
      readonly key: string;
      readonly buffer: number;
      readonly microbatch: number | null;
    }
  | {
      readonly kind: 'receive';
      readonly from: number;
      readonly key: string;
      readonly buffer: number;
      readonly microbatch: number | null;
    };

export interface DraftDevice {
  readonly device: number;
  readonly buffers: Buffer[];
  readonly byKey: Map<string, number>;
  /** Step start, one a task, step end. */
  readonly segments: DraftInstruction[][];
}

/**
 * By the schedule's clock: when a device comes to each of its segments, and when it begins it, which is later where it waits.
 * Values may leave in the midst of a task, so a place for them should be ready when it begins.
 */
export interface SegmentTimes {
  readonly reached: readonly number[];
  readonly begun: readonly number[];
}

/**
 * Numbers the messages of every pair of devices in the sender's order and posts each receive buffer `ahead` tasks before
 * its use; earlier where the sender, by the clock, would have to wait for the post (in schedules whose devices run ahead of
 * each other). Where that makes devices wait for each other in a circle, posts move further ahead, at last to the step's
 * start, where no send can block.
 */
export function connect(
  drafts: readonly DraftDevice[],
  ahead: number,
  times?: readonly SegmentTimes[],
): DeviceProgram[] {
  const messages = number(drafts);
  const longest = Math.max(...drafts.map((d) => d.segments.length));
  for (let distance = ahead; ; distance *= 2) {
    const programs = drafts.map((draft) => assemble(draft, drafts, messages, distance, times));
    const deadlock = findDeadlock(programs);
    if (!deadlock) return programs;
    if (distance >= longest) {
      throw new PlanError(
        'program-deadlock',
        `the schedule makes devices wait for each other in a circle:\n${deadlock.description}`,
        {
          fields: { cycle: deadlock.cycle },
          remedy: 'use a named schedule, or correct the schedule file',
        },
      );
    }
    if (distance === 0) distance = 1;
  }
}

/** `from>to:key` → number of the message among those from `from` to `to`, and the sender's segment. */
type MessageNumbers = ReadonlyMap<string, { readonly number: number; readonly segment: number }>;

function number(drafts: readonly DraftDevice[]): MessageNumbers {
  const numbers = new Map<string, { number: number; segment: number }>();
  const counts = new Map<string, number>();
  for (const { device, segments } of drafts) {
    for (const [segment, instructions] of segments.entries()) {
      for (const instruction of instructions) {
        if (instruction.kind !== 'send') continue;
        const pair = `${device}>${instruction.to}`;
        const n = counts.get(pair) ?? 0;
        counts.set(pair, n + 1);
        numbers.set(`${pair}:${instruction.key}`, { number: n, segment });
      }
    }
  }
  return numbers;
}

function assemble(
  draft: DraftDevice,
  drafts: readonly DraftDevice[],
  numbers: MessageNumbers,
  ahead: number,
  times: readonly SegmentTimes[] | undefined,
): DeviceProgram {
  const posts = placePosts(draft, numbers, ahead, times);
  const instructions: Instruction[] = [];
  draft.segments.forEach((segment, s) => {
    instructions.push(...(posts.get(s) ?? []));
    for (const i of segment) {
      if (i.kind === 'send') {
        const message = numbers.get(`${draft.device}>${i.to}:${i.key}`)!.number;
        instructions.push({
          kind: 'send',
          to: i.to,
          message,
          buffer: i.buffer,
          toBuffer: drafts[i.to]!.byKey.get(i.key)!,
          microbatch: i.microbatch,
        });
      } else if (i.kind === 'receive') {
        instructions.push({
          kind: 'receive',
          from: i.from,
          message: messageOf(numbers, draft, i).number,
          buffer: i.buffer,
          microbatch: i.microbatch,
        });
      } else instructions.push(i);
    }
  });
  return { device: draft.device, buffers: draft.buffers, instructions };
}

type Post = Extract<Instruction, { kind: 'post' }>;

/** Posts by segment, in message order within each pair: a later message is never posted before an earlier one. */
function placePosts(
  draft: DraftDevice,
  numbers: MessageNumbers,
  ahead: number,
  times: readonly SegmentTimes[] | undefined,
): Map<number, Post[]> {
  const bySender = new Map<number, { post: Post; segment: number }[]>();
  draft.segments.forEach((segment, s) => {
    for (const i of segment) {
      if (i.kind !== 'receive') continue;
      const { number: message, segment: sent } = messageOf(numbers, draft, i);
      const post: Post = { kind: 'post', from: i.from, message, buffer: i.buffer };
      const list = bySender.get(i.from);
      let at = Math.max(0, s - ahead);
      if (times) while (at > 0 && times[draft.device]!.reached[at]! > times[i.from]!.begun[sent]!) at--;
      const entry = { post, segment: at };
      if (list) list.push(entry);
      else bySender.set(i.from, [entry]);
    }
  });
  const posts = new Map<number, Post[]>();
  for (const list of bySender.values()) {
    list.sort((a, b) => a.post.message - b.post.message);
    for (let k = list.length - 2; k >= 0; k--) list[k]!.segment = Math.min(list[k]!.segment, list[k + 1]!.segment);
    for (const { post, segment } of list) posts.set(segment, [...(posts.get(segment) ?? []), post]);
  }
  return posts;
}

function messageOf(numbers: MessageNumbers, draft: DraftDevice, receive: { from: number; key: string }) {
  const n = numbers.get(`${receive.from}>${draft.device}:${receive.key}`);
  if (n === undefined) {
    throw new PlanError(
      'missing-send',
      `device ${draft.device} waits for a value of device ${receive.from} that the schedule never produces`,
      {
        fields: { device: draft.device, from: receive.from },
        remedy: 'check the schedule: a task is missing',
      },
    );
  }
  return n;
}
