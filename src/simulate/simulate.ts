import { PlanError, UsageError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import type { LinkModel } from '../cost/analytic.ts';
import type { StepProgram } from '../program/instruction.ts';
import { type Action, type ActionSource, actionsOf } from './actions.ts';
import type { Cluster } from './cluster.ts';
import { type Jitter, jitterOf } from './jitter.ts';
import { requireCluster, requireSource } from './require.ts';
import { Sharing } from './sharing.ts';
import type { SpeedTrace } from './speed-trace.ts';
import { type Timeline, TimelineRecorder } from './timeline.ts';

export interface SimulateOptions {
  readonly jitter?: Jitter;
  /** How fast devices are over time, by device; what they compute, copy and send is slowed down with them. Default: steady. */
  readonly speeds?: readonly SpeedTrace[];
  /** When in the traces the step begins. Default 0. */
  readonly begin?: number;
  /** Keep when everything happens and why: what timelines, critical paths and causes of idling need. Default true. */
  readonly record?: boolean;
}

/** What a device waits for: the host's word to begin, a place to send to, a value, all others, or the step's end when its own work is done. */
export type WaitKind = 'start' | 'post' | 'receive' | 'barrier' | 'end';

export interface SimulatedTimes {
  readonly computeSeconds: number;
  /** Transfers of what it sends. */
  readonly sendSeconds: number;
  /** The part of them that is due to others' transfers. */
  readonly contentionSeconds: number;
  /** Inputs, outputs and copies within the device, and what posts, sends, receives and barriers take of their own. */
  readonly otherSeconds: number;
  /** The three above: what the run time measures as busy. */
  readonly busySeconds: number;
  /** With `busySeconds` they sum to the step. */
  readonly waiting: Readonly<Record<WaitKind, number>>;
  /** 1 − busy / step. */
  readonly bubbleFraction: number;
}

/** A step on paper. Devices begin at 0, or as the host gets to them, and it ends with the last, as the coordinator measures it. */
export interface Simulation {
  readonly stepSeconds: number;
  /** The part behind the last device: the host's own, by the cost model. */
  readonly hostSeconds: number;
  /** When each device begins. */
  readonly startSeconds: readonly number[];
  /** When the last device came to each barrier. */
  readonly barrierSeconds: readonly number[];
  /** 1 − Σ busy / (devices · step). */
  readonly bubbleFraction: number;
  readonly devices: readonly SimulatedTimes[];
  readonly messages: number;
  readonly messageBytes: number;
  readonly actions: number;
  readonly source: ActionSource;
  /** null where nothing was recorded. */
  readonly timeline: Timeline | null;
}

/**
 * Plays a program on paper: the run time's rules, the cost model's times.
 *
 *     compute   occupies its device for its kernels' seconds, divided by the device's speed
 *     other     likewise: inputs, outputs and copies within the device
 *     post      is known to the sender when it ends
 *     send      waits for the post, then occupies its device and the link for bytes / bandwidth
 *     receive   waits until one latency after the send's end
 *     barrier   waits for every device's
 *
 * Each also takes what its device spends on any instruction, behind the waiting and before a transfer. Where a link's latency is
 * that of waking a thread (`LinkModel.wakes`), it is who sleeps that goes on one latency later, whatever it waits for: who has waited
 * for longer than it looks on (`LinkModel.secondsLook`).
 *
 * A device does one thing at a time, in its program's order. So without shared media the order in which devices are
 * looked at does not matter, and each is played as far as it goes; only transfers through media are events in time.
 */
export function simulate(
  program: StepProgram | ActionSource,
  cluster: Cluster,
  options: SimulateOptions = {},
): Simulation {
  requireSource('simulate', program);
  requireCluster('simulate', cluster);
  requireKinds('simulate', { options: ['record', options] });
  const source = 'actions' in program ? program : actionsOf(program, cluster);
  if (cluster.devices.length < source.devices) {
    throw new UsageError(
      'cluster-small',
      `the program is for ${source.devices} devices, and the cluster has ${cluster.devices.length}`,
      {
        fields: { devices: source.devices, cluster: cluster.devices.length },
        remedy: `give ${source.devices} devices`,
      },
    );
  }
  return new Player(source, cluster, options).play();
}

/** Messages from one device to another. */
interface Pair {
  readonly bytesPerSecond: number;
  readonly secondsLatency: number;
  readonly secondsSend: number;
  readonly wakes: boolean;
  readonly secondsLook: number;
  readonly media: readonly number[];
  /** Four numbers a message, side by side: when it was posted and by which action, when it was sent and by which. */
  readonly messages: number[];
  posted: number;
  sent: number;
  /** The message that its sender, or its receiver, waits for; −1: none. */
  senderWaits: number;
  receiverWaits: number;
}

interface DeviceOptions {
  readonly factor: ((index: number) => number) | undefined;
  readonly speed: SpeedTrace | undefined;
  readonly begin: number;
  readonly start: number;
}

class Device {
  readonly number: number;
  readonly actions: Iterator<Action>;
  readonly factor: ((index: number) => number) | undefined;
  readonly speed: SpeedTrace | undefined;
  readonly begin: number;
  readonly start: number;
  action: Action | undefined;
  index = 0;
  clock = 0;
  compute = 0;
  send = 0;
  contention = 0;
  other = 0;
  waitsForPosts = 0;
  waitsForMessages = 0;
  waitsAtBarriers = 0;
  messages = 0;
  bytes = 0;
  atBarrier = false;
  isQueued = true;
  /** A transfer under way: when its action began, its time beside the transfer, and how long that would take alone. */
  sendingSince = -1;
  sendingOwn = 0;
  sendingAlone = 0;
  /** Of that transfer's wait for the post: the action that ended it. */
  postedBy = -1;

  constructor(number: number, source: ActionSource, options: DeviceOptions) {
    this.number = number;
    this.actions = source.actions(number);
    this.factor = options.factor;
    this.speed = options.speed;
    this.begin = options.begin;
    this.start = this.clock = options.start;
    this.advance();
  }

  /** How long what begins at a time and takes so many seconds at the device's own speed really takes. */
  elapsed(begin: number, seconds: number): number {
    return this.speed ? this.speed.end(this.begin + begin, seconds) - this.begin - begin : seconds;
  }

  advance(): void {
    const next = this.actions.next();
    this.action = next.done ? undefined : next.value;
  }
}

/** Less than this part of a transfer's time is the arithmetic's, not other transfers'. */
const ROUNDING = 1e-9;

class Player {
  readonly #source: ActionSource;
  readonly #cluster: Cluster;
  readonly #devices: Device[];
  readonly #pairs = new Map<number, Pair>();
  readonly #sharing: Sharing | undefined;
  readonly #recorder: TimelineRecorder | undefined;
  /** Devices that may be able to go on. */
  #queue: Device[];
  readonly #barriers: number[] = [];
  #barrier = { number: 0, arrived: 0, time: 0, last: 0 };

  constructor(source: ActionSource, cluster: Cluster, { jitter, speeds, begin = 0, record = true }: SimulateOptions) {
    this.#source = source;
    this.#cluster = cluster;
    const factors = jitter && jitter.variation !== 0 ? jitterOf(jitter) : undefined;
    this.#devices = Array.from(
      { length: source.devices },
      (_, d) =>
        new Device(d, source, {
          factor: factors?.(d),
          speed: speeds?.[d],
          begin,
          start: cluster.costs.startSeconds?.(d) ?? 0,
        }),
    );
    this.#queue = [...this.#devices].reverse();
    this.#sharing = cluster.media && cluster.media.length > 0 ? new Sharing(cluster.media) : undefined;
    this.#recorder = record ? new TimelineRecorder(source.devices) : undefined;
  }

  play(): Simulation {
    for (;;) {
      for (let device = this.#queue.pop(); device; device = this.#queue.pop()) {
        device.isQueued = false;
        this.#run(device);
      }
      const event = this.#sharing?.next();
      if (event === undefined) break;
      if (event !== 'began') this.#arrive(this.#devices[event.device]!, event.time);
    }
    const stuck = this.#devices.filter((d) => d.action !== undefined);
    if (stuck.length > 0) throw this.#deadlock(stuck);
    return this.#result();
  }

  /** Plays a device until it must wait for what has not happened yet. */
  #run(device: Device): void {
    for (let action = device.action; action; action = device.action) {
      switch (action.kind) {
        case 'compute':
        case 'other':
          this.#work(device, device.clock);
          break;
        case 'post': {
          const pair = this.#pair(action.peer, device.number);
          this.#refuseDisorder(device, action.message, pair.posted++, 'posts');
          this.#work(device, device.clock);
          pair.messages.push(device.clock, device.index - 1, -1, -1);
          if (pair.senderWaits === action.message) {
            pair.senderWaits = -1;
            this.#wake(this.#devices[action.peer]!);
          }
          break;
        }
        case 'send':
          if (!this.#send(device, action)) return;
          break;
        case 'receive': {
          const pair = this.#pair(action.peer, device.number);
          if (action.message >= pair.sent) {
            pair.receiverWaits = action.message;
            return;
          }
          const sent = pair.messages[4 * action.message + 2]!;
          const isLate = (pair.wakes ? sent : sent + pair.secondsLatency) > device.clock;
          const begin = isLate ? sent + latencyBehind(pair, sent - device.clock) : device.clock;
          device.waitsForMessages += begin - device.clock;
          this.#work(device, begin, isLate ? pair.messages[4 * action.message + 3]! : -1);
          break;
        }
        case 'barrier':
          if (!this.#reachBarrier(device)) return;
      }
    }
  }

  /** False where the device must wait. */
  #send(device: Device, action: Action): boolean {
    const pair = this.#pair(device.number, action.peer);
    const { message } = action;
    this.#refuseDisorder(device, message, pair.sent, 'sends');
    if (message >= pair.posted) {
      pair.senderWaits = message;
      return false;
    }
    const posted = pair.messages[4 * message]!;
    const isLate = posted > device.clock;
    const begin = isLate ? posted + (pair.wakes ? latencyBehind(pair, posted - device.clock) : 0) : device.clock;
    device.postedBy = isLate ? pair.messages[4 * message + 1]! : -1;
    device.waitsForPosts += begin - device.clock;
    const factor = device.factor?.(device.index) ?? 1;
    const bytes = action.bytes * factor;
    device.messages++;
    device.bytes += action.bytes;
    device.sendingSince = begin;
    device.sendingOwn = device.elapsed(begin, action.seconds * factor);
    const start = begin + device.sendingOwn;
    const isShared = pair.media.length > 0 && bytes > 0;
    const rate = isShared ? this.#sharing!.aloneRate(pair.bytesPerSecond, pair.media) : pair.bytesPerSecond;
    device.sendingAlone = bytes / rate + pair.secondsSend;
    if (isShared) {
      // Here, not when it begins: devices are not looked at in the order of time.
      if (!(start < Number.POSITIVE_INFINITY)) throw this.#badTime(device, action.seconds);
      this.#sharing!.begin(device.number, start, bytes, pair.bytesPerSecond, pair.media);
      return false;
    }
    device.sendingAlone = device.elapsed(start, device.sendingAlone);
    this.#sent(device, action, start + device.sendingAlone);
    return true;
  }

  /** A transfer through media is complete. */
  #arrive(device: Device, time: number): void {
    const action = device.action!;
    this.#sent(device, action, time + this.#pair(device.number, action.peer).secondsSend);
    this.#wake(device);
  }

  #sent(device: Device, action: Action, end: number): void {
    const pair = this.#pair(device.number, action.peer);
    pair.messages[4 * action.message + 2] = end;
    pair.messages[4 * action.message + 3] = device.index;
    pair.sent++;
    const seconds = end - device.sendingSince - device.sendingOwn;
    const late = seconds - device.sendingAlone;
    const contention = late > ROUNDING * seconds ? late : 0;
    device.other += device.sendingOwn;
    device.send += seconds;
    device.contention += contention;
    if (contention > 0) this.#recorder?.contention(device.number, device.index, contention);
    this.#pass(device, device.sendingSince, end, device.postedBy);
    if (pair.receiverWaits >= 0 && pair.receiverWaits <= action.message) {
      pair.receiverWaits = -1;
      this.#wake(this.#devices[action.peer]!);
    }
  }

  /** False where others have not arrived yet. */
  #reachBarrier(device: Device): boolean {
    const barrier = this.#barrier;
    if (!device.atBarrier) {
      device.atBarrier = true;
      if (device.clock > barrier.time) {
        barrier.time = device.clock;
        barrier.last = device.number;
      }
      if (++barrier.arrived < this.#devices.length) return false;
      this.#barriers.push(barrier.time);
      // The last to be looked at, not always the last to come, lets all go.
      const last = this.#devices[barrier.last]!;
      const by = last.index;
      this.#barrier = { number: barrier.number + 1, arrived: 0, time: 0, last: 0 };
      for (const other of this.#devices) {
        const isEarly = barrier.time > other.clock;
        const wake = isEarly ? this.#wakeSeconds(last.number, other.number, barrier.time - other.clock) : 0;
        const begin = barrier.time + wake;
        other.waitsAtBarriers += begin - other.clock;
        other.atBarrier = false;
        this.#work(other, begin, isEarly ? by : -1, last.number);
        if (other !== device) this.#wake(other);
      }
      return true;
    }
    return false;
  }

  /** How long a device sleeps on when another has come to the barrier. */
  #wakeSeconds(from: number, to: number, waited: number): number {
    const link = this.#cluster.costs.link(from, to);
    return link.wakes ? latencyBehind(link, waited) : 0;
  }

  /** Spends an action's own time, from `begin` on. */
  #work(device: Device, begin: number, heldBy = -1, peer = device.action!.peer): void {
    const { kind, seconds } = device.action!;
    const own = device.elapsed(begin, device.factor ? seconds * device.factor(device.index) : seconds);
    if (kind === 'compute') device.compute += own;
    else device.other += own;
    this.#pass(device, begin, begin + own, heldBy, peer);
  }

  /** The device's action has happened, from `begin` to `end`, held up by action `heldBy` of `peer` where it waited. */
  #pass(device: Device, begin: number, end: number, heldBy: number, peer = device.action!.peer): void {
    if (!(end >= begin && end < Number.POSITIVE_INFINITY)) throw this.#badTime(device, end - begin);
    this.#recorder?.add(device.number, device.action!.kind, begin, end, peer, heldBy);
    device.clock = end;
    device.index++;
    device.advance();
  }

  #wake(device: Device): void {
    if (device.isQueued) return;
    device.isQueued = true;
    this.#queue.push(device);
  }

  #pair(from: number, to: number): Pair {
    const key = from * this.#devices.length + to;
    const known = this.#pairs.get(key);
    if (known) return known;
    const link = this.#cluster.costs.link(from, to);
    const pair: Pair = {
      bytesPerSecond: link.bytesPerSecond,
      secondsLatency: link.secondsLatency,
      secondsSend: link.secondsSend ?? 0,
      wakes: link.wakes ?? false,
      secondsLook: link.secondsLook ?? 0,
      media: this.#sharing?.mediaOf(from, to) ?? [],
      messages: [],
      posted: 0,
      sent: 0,
      senderWaits: -1,
      receiverWaits: -1,
    };
    this.#pairs.set(key, pair);
    return pair;
  }

  #refuseDisorder(device: Device, message: number, expected: number, does: string): void {
    if (message === expected) return;
    throw new PlanError(
      'simulation-message-order',
      `device ${device.number}, action ${device.index} (${this.#source.describe(device.number, device.index)}) ${does} message ${message} where ${expected} is the next of this pair of devices`,
      {
        fields: { device: device.number, action: device.index, message, expected },
        remedy: 'number the messages of a pair from 0 in the order in which they are sent, and post them in that order',
      },
    );
  }

  #badTime(device: Device, seconds: number): PlanError {
    return new PlanError(
      'simulation-time',
      `device ${device.number}, action ${device.index} (${this.#source.describe(device.number, device.index)}) takes ${seconds} s; a time is a finite number from 0`,
      {
        fields: { device: device.number, action: device.index, seconds },
        remedy: 'correct the costs, the speed of the device or the bandwidth of its link',
      },
    );
  }

  #deadlock(stuck: readonly Device[]): PlanError {
    const few = stuck.slice(0, 8);
    const lines = few.map(
      (d) => `  device ${d.number}, action ${d.index}: ${this.#source.describe(d.number, d.index)}`,
    );
    const more = stuck.length > few.length ? `\n  and ${stuck.length - few.length} more` : '';
    return new PlanError(
      'simulation-deadlock',
      `the devices wait for each other, or for what nobody does:\n${lines.join('\n')}${more}`,
      {
        fields: { devices: stuck.map((d) => d.number), actions: few.map((d) => d.index) },
        remedy:
          'every message needs one post, one send and one receive, every device every barrier; posting earlier breaks circles of sends',
      },
    );
  }

  #result(): Simulation {
    const hostSeconds = this.#cluster.costs.stepSeconds?.(this.#devices.length) ?? 0;
    const stepSeconds = this.#devices.reduce((end, d) => Math.max(end, d.clock), 0) + hostSeconds;
    const devices = this.#devices.map((d): SimulatedTimes => {
      const waiting = {
        start: d.start,
        post: d.waitsForPosts,
        receive: d.waitsForMessages,
        barrier: d.waitsAtBarriers,
        end: stepSeconds - d.clock,
      };
      const busySeconds = d.compute + d.send + d.other;
      return {
        computeSeconds: d.compute,
        sendSeconds: d.send,
        contentionSeconds: d.contention,
        otherSeconds: d.other,
        busySeconds,
        waiting,
        bubbleFraction: neverWaits(waiting) ? 0 : idleShare(busySeconds, stepSeconds),
      };
    });
    const busy = devices.reduce((sum, d) => sum + d.busySeconds, 0);
    const startSeconds = this.#devices.map((d) => d.start);
    return {
      stepSeconds,
      hostSeconds,
      startSeconds,
      barrierSeconds: this.#barriers,
      bubbleFraction: devices.every((d) => neverWaits(d.waiting)) ? 0 : idleShare(busy, devices.length * stepSeconds),
      devices,
      messages: this.#devices.reduce((sum, d) => sum + d.messages, 0),
      messageBytes: this.#devices.reduce((sum, d) => sum + d.bytes, 0),
      actions: this.#devices.reduce((sum, d) => sum + d.index, 0),
      source: this.#source,
      timeline: this.#recorder?.finish(startSeconds) ?? null,
    };
  }
}

/** The latency that a device meets which has waited so long: none where it looks on still. */
const latencyBehind = (link: Pick<LinkModel, 'wakes' | 'secondsLook' | 'secondsLatency'>, waited: number): number =>
  link.wakes && waited <= (link.secondsLook ?? 0) ? 0 : link.secondsLatency;

/** Then it idles for 0, whatever the roundings of sums that are taken in another order. */
const neverWaits = (waiting: SimulatedTimes['waiting']): boolean =>
  Object.values(waiting).every((seconds) => seconds === 0);

/** Not below 0, where busy seconds that were summed in another order are a bit more than all. */
const idleShare = (busy: number, all: number): number => (all > 0 ? Math.max(0, 1 - busy / all) : 0);
