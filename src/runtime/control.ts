import { BRIEF_LOOK_SECONDS, LOOK_FOR_WORK_SECONDS } from '../cost/analytic.ts';

/**
 * The control block: one SharedArrayBuffer of i32 words that all devices and the coordinator see. It carries no data, only
 * counters and doorbells; the largest distance between two counters is far below 2³¹, so they may wrap.
 *
 * A device ever waits on one futex, its bell. Whoever changes a counter that a device may wait for rings its bell:
 *
 *     goal = …; sleepsFor = counter; for (;;) { seen = bell; if (abort) throw; if (counter ≥ goal) return; wait(bell, seen) }
 *
 * The bell is read before the condition, so that a change between the check and the wait makes the wait return at once; and
 * who changes a counter reads `sleepsFor` behind it, so that a device which is not called looks at the counter afterwards. Only
 * who sleeps for this counter, and has its goal with it, is called: a call takes both threads longer than many a message.
 */
const HEADER = 16;
/**
 * Orders: steps that all devices are to play. A counter of them; then, of the latest two, what each asks, since one may be given
 * while devices play the one before.
 */
const ORDER = 1;
const ORDERS = [2, 8] as const;
const PROGRAM = 0;
const STEP = 1;
const PROFILE = 2;
const AREA = 3;
const AHEAD = 4;
/** Devices that have not ended the order. */
const LEFT = 5;
/** The latest order ahead that the host has come to a decision on, and which. */
const DECIDED = 14;
const IS_WANTED = 15;
/** Words a device: one 256-byte block each, against false sharing. */
const DEVICE = 64;
const BELL = 0;
const STATE = 16;
const WAITING_ON = 17;
const POSITION = 18;
const ARRIVED = 19;
const WAITS = 20;
const GOAL = 21;
const MAIL = 22;
/** What the device sleeps for: the word of a counter, which is to reach its goal, or word of the host (`FOR_WORK`); 0 while awake. */
const SLEEPS_FOR = 23;
const AWAKE = 0;
const FOR_WORK = -1;
/** Of the latest two orders, two f64 each: seconds of the step, and of its waits. */
const SECONDS = 24;
/** Of the latest two orders. */
const OUTCOME = 32;
const PAIR = 32;
const SENT = 0;
const POSTED = 16;

export const deviceStates = ['idle', 'running', 'waiting'] as const;
export type DeviceState = (typeof deviceStates)[number];

/**
 * How a device's latest step has ended. Of a `plain` one all is said in the control block; a `detailed` one has a report to
 * fetch, or an error.
 */
export const outcomes = ['none', 'plain', 'detailed'] as const;
export type Outcome = (typeof outcomes)[number];

/** A step to play. Numbers only, so that it fits the control block. */
export interface StepOrder {
  /** Which program, in the order of loading. */
  readonly program: number;
  readonly step: number;
  readonly profile: boolean;
  /** Which staging areas its feeds and results lie in. */
  readonly area: number;
  /**
   * Given before anybody asked for the step: devices hold it at the barrier, with all gradients and nothing changed, until
   * the host has decided (`decide`).
   */
  readonly isAhead: boolean;
}

/** Upper bound of one sleep: should the coordinator vanish, the device still looks up. */
const BACKSTOP_MS = 1000;
/** Looks between two at the clock. With fewer cores than devices there are no others: each is time that whoever is waited for has not got. */
const LOOKS = 20;

/** Where what is said of an order stands: the latest two have places. */
const slot = (order: number): 0 | 1 => (order & 1) as 0 | 1;

export class StepAborted extends Error {
  /** The device whose failure ended the step; −1: the coordinator's wish. */
  readonly culprit: number;
  constructor(culprit: number) {
    super(culprit < 0 ? 'step aborted' : `step aborted: device ${culprit} failed`);
    this.name = 'StepAborted';
    this.culprit = culprit;
  }
}

export class Control {
  readonly words: Int32Array;
  readonly devices: number;
  readonly #numbers: Float64Array;
  readonly #isShortOfCores: boolean;
  #lookSeconds = BRIEF_LOOK_SECONDS;

  static create(devices: number): Control {
    return new Control(new SharedArrayBuffer(4 * (HEADER + devices * DEVICE + devices * devices * PAIR)), devices);
  }

  /** `cores`: those that the devices share. */
  constructor(buffer: SharedArrayBuffer, devices: number, cores = devices) {
    this.#isShortOfCores = devices > cores;
    this.words = new Int32Array(buffer);
    this.#numbers = new Float64Array(buffer);
    this.devices = devices;
  }

  get buffer(): SharedArrayBuffer {
    return this.words.buffer as SharedArrayBuffer;
  }

  #device(device: number, word: number): number {
    return HEADER + device * DEVICE + word;
  }
  #pair(from: number, to: number, word: number): number {
    return HEADER + this.devices * DEVICE + (from * this.devices + to) * PAIR + word;
  }

  sent(from: number, to: number): number {
    return Atomics.load(this.words, this.#pair(from, to, SENT));
  }
  posted(from: number, to: number): number {
    return Atomics.load(this.words, this.#pair(from, to, POSTED));
  }
  /** Counts a message from `from` to `to` as delivered and wakes the receiver. */
  countSent(from: number, to: number): void {
    this.#count(this.sentWord(from, to));
    this.#call(to, this.sentWord(from, to));
  }
  /** Counts a receive buffer as ready and wakes the sender. */
  countPosted(from: number, to: number): void {
    this.#count(this.postedWord(from, to));
    this.#call(from, this.postedWord(from, to));
  }

  arrived(device: number): number {
    return Atomics.load(this.words, this.#device(device, ARRIVED));
  }
  countArrived(device: number): void {
    const word = this.arrivedWord(device);
    this.#count(word);
    for (let d = 0; d < this.devices; d++) if (d !== device) this.#call(d, word);
  }

  setPosition(device: number, instruction: number): void {
    Atomics.store(this.words, this.#device(device, POSITION), instruction);
  }
  position(device: number): number {
    return Atomics.load(this.words, this.#device(device, POSITION));
  }
  setState(device: number, state: DeviceState, waitingOn = -1): void {
    Atomics.store(this.words, this.#device(device, WAITING_ON), waitingOn);
    Atomics.store(this.words, this.#device(device, STATE), deviceStates.indexOf(state));
  }
  /**
   * Changes whenever the device gets anywhere: at each instruction, and behind each wait, so that the time of a wait is
   * never taken for work.
   */
  progress(device: number): string {
    return `${this.position(device)} ${Atomics.load(this.words, this.#device(device, WAITS))}`;
  }
  state(device: number): DeviceState {
    return deviceStates[Atomics.load(this.words, this.#device(device, STATE))]!;
  }
  waitingOn(device: number): number {
    return Atomics.load(this.words, this.#device(device, WAITING_ON));
  }

  #count(word: number): void {
    Atomics.add(this.words, word, 1);
  }

  /** Rings, and wakes the device where it sleeps. */
  ring(device: number): void {
    if (this.#sleepsFor(device) !== AWAKE) Atomics.notify(this.words, this.#device(device, BELL));
  }

  /** Rings behind a change of a counter, or for work, and wakes the device where that is what it sleeps for. */
  #call(device: number, what: number): void {
    if (this.#sleepsFor(device) !== what) return;
    const goal = Atomics.load(this.words, this.#device(device, GOAL));
    if (what === FOR_WORK || this.reached(what, goal)) Atomics.notify(this.words, this.#device(device, BELL));
  }

  /** Rings, too: whoever lies down meanwhile looks at what it waits for again. */
  #sleepsFor(device: number): number {
    Atomics.add(this.words, this.#device(device, BELL), 1);
    return Atomics.load(this.words, this.#device(device, SLEEPS_FOR));
  }

  /** Ends the step everywhere; the first culprit is kept. `culprit` −1: nobody's fault. */
  abort(culprit: number): void {
    Atomics.compareExchange(this.words, 0, 0, culprit + 2);
    for (let d = 0; d < this.devices; d++) this.ring(d);
  }
  throwIfAborted(): void {
    const word = Atomics.load(this.words, 0);
    if (word !== 0) throw new StepAborted(word - 2);
  }
  get aborted(): boolean {
    return Atomics.load(this.words, 0) !== 0;
  }

  /** Counts a message to the device's event loop, behind its sending: a device that sleeps between steps goes and reads it. */
  countMail(device: number): void {
    this.#count(this.#device(device, MAIL));
    this.#call(device, FOR_WORK);
  }

  /**
   * Has every device play a step, behind the one it plays: all of them have ended the one before that. Returns its number,
   * from 1.
   */
  give({ program, step, profile, area, isAhead }: StepOrder): number {
    const { words, devices } = this;
    const order = (this.orders + 1) | 0;
    for (let d = 0; d < devices; d++) Atomics.store(words, this.#device(d, OUTCOME) + slot(order), 0);
    const at = ORDERS[slot(order)];
    Atomics.store(words, at + PROGRAM, program);
    Atomics.store(words, at + STEP, step);
    Atomics.store(words, at + PROFILE, profile ? 1 : 0);
    Atomics.store(words, at + AREA, area);
    Atomics.store(words, at + AHEAD, isAhead ? 1 : 0);
    Atomics.store(words, at + LEFT, devices);
    Atomics.store(words, ORDER, order);
    for (let d = 0; d < devices; d++) this.#call(d, FOR_WORK);
    return order;
  }
  /** How many steps have been given. */
  get orders(): number {
    return Atomics.load(this.words, ORDER);
  }
  /** What an order asks: one of the latest two. */
  orderAt(order: number): StepOrder {
    const at = (word: number) => Atomics.load(this.words, ORDERS[slot(order)] + word);
    return {
      program: at(PROGRAM),
      step: at(STEP),
      profile: at(PROFILE) === 1,
      area: at(AREA),
      isAhead: at(AHEAD) === 1,
    };
  }

  /** Whether devices go on with an order ahead, or let it be. */
  decide(order: number, isWanted: boolean): void {
    Atomics.store(this.words, IS_WANTED, isWanted ? 1 : 0);
    Atomics.store(this.words, DECIDED, order);
    for (let d = 0; d < this.devices; d++) this.#call(d, DECIDED);
  }
  isDecided(order: number): boolean {
    return this.reached(DECIDED, order);
  }
  /** Blocks `device` until that is decided; true to go on. Otherwise as `waitUntil`. */
  waitForDecision(device: number, order: number): boolean {
    // The host may want this very core to decide.
    this.#waitUntil(device, -1, DECIDED, order, BRIEF_LOOK_SECONDS);
    return Atomics.load(this.words, IS_WANTED) === 1;
  }

  /** Notes how a device has ended an order; true for the last device. */
  end(device: number, order: number, outcome: Outcome, seconds = 0, busySeconds = 0): boolean {
    const at = this.#device(device, SECONDS) / 2 + 2 * slot(order);
    this.#numbers[at] = seconds;
    this.#numbers[at + 1] = busySeconds;
    Atomics.store(this.words, this.#device(device, OUTCOME) + slot(order), outcomes.indexOf(outcome));
    return Atomics.sub(this.words, ORDERS[slot(order)] + LEFT, 1) === 1;
  }
  outcome(device: number, order: number): Outcome {
    return outcomes[Atomics.load(this.words, this.#device(device, OUTCOME) + slot(order))]!;
  }
  seconds(device: number, order: number): { seconds: number; busySeconds: number } {
    const at = this.#device(device, SECONDS) / 2 + 2 * slot(order);
    return { seconds: this.#numbers[at]!, busySeconds: this.#numbers[at + 1]! };
  }

  /** As in the beginning, but for orders and mail: behind a step that was given up midway, when every device has ended it. */
  reset(): void {
    const { words, devices } = this;
    for (let d = 0; d < devices; d++) {
      Atomics.store(words, this.#device(d, ARRIVED), 0);
      for (let peer = 0; peer < devices; peer++) {
        Atomics.store(words, this.#pair(d, peer, SENT), 0);
        Atomics.store(words, this.#pair(d, peer, POSTED), 0);
      }
    }
    Atomics.store(words, 0, 0);
  }

  /**
   * Blocks `device` between steps until there is an order behind `orders` or mail behind `mail`; false after a while without,
   * so that the thread's event loop has a turn. Looks on behind a step, once, as the next one mostly comes at once. Blocks the
   * thread: for worker threads only.
   */
  waitForWork(device: number, orders: number, mail: number): boolean {
    const until = this.#looksUntil(Math.min(this.#lookSeconds, LOOK_FOR_WORK_SECONDS));
    this.#lookSeconds = 0;
    do for (let i = LOOKS; i > 0; i--) if (this.orders !== orders || this.hasMail(device, mail)) return true;
    while (until > 0 && performance.now() < until);
    const [bell, sleepsFor] = [this.#device(device, BELL), this.#device(device, SLEEPS_FOR)];
    Atomics.store(this.words, sleepsFor, FOR_WORK);
    const seen = Atomics.load(this.words, bell);
    if (this.orders === orders && !this.hasMail(device, mail)) Atomics.wait(this.words, bell, seen, BACKSTOP_MS);
    Atomics.store(this.words, sleepsFor, AWAKE);
    return this.orders !== orders || this.hasMail(device, mail);
  }
  /** Of `read` messages that have been taken: one may be read before it is counted. */
  hasMail(device: number, read: number): boolean {
    return ((Atomics.load(this.words, this.#device(device, MAIL)) - read) | 0) > 0;
  }

  /** Counters of the messages between two devices, for `waitUntil`. */
  sentWord(from: number, to: number): number {
    return this.#pair(from, to, SENT);
  }
  postedWord(from: number, to: number): number {
    return this.#pair(from, to, POSTED);
  }
  arrivedWord(device: number): number {
    return this.#device(device, ARRIVED);
  }

  /** Whether the counter has come to `goal`. */
  reached(word: number, goal: number): boolean {
    return ((Atomics.load(this.words, word) - goal) | 0) >= 0;
  }

  /**
   * For how long this thread's device looks on for others before it sleeps, from now on; null: briefly. Fewer cores than devices
   * overrule it: a device that looks on keeps another from its work.
   */
  lookOn(seconds: number | null): void {
    this.#lookSeconds = seconds ?? BRIEF_LOOK_SECONDS;
  }

  /**
   * Blocks `device` until the counter `word` has reached `goal`. Throws StepAborted. Blocks the thread: for worker threads
   * only. Returns at once where it has already.
   */
  waitUntil(device: number, waitingOn: number, word: number, goal: number): void {
    this.#waitUntil(device, waitingOn, word, goal, this.#lookSeconds);
  }

  /** Of `performance.now()`; 0 where looking on keeps others from their work. */
  #looksUntil(seconds: number): number {
    return this.#isShortOfCores || seconds === 0 ? 0 : performance.now() + 1000 * seconds;
  }

  #waitUntil(device: number, waitingOn: number, word: number, goal: number, lookSeconds: number): void {
    const until = this.#looksUntil(lookSeconds);
    do for (let i = LOOKS; i > 0; i--) if (this.reached(word, goal)) return;
    while (until > 0 && performance.now() < until);
    const [bell, sleepsFor] = [this.#device(device, BELL), this.#device(device, SLEEPS_FOR)];
    this.setState(device, 'waiting', waitingOn);
    Atomics.store(this.words, this.#device(device, GOAL), goal);
    Atomics.store(this.words, sleepsFor, word);
    for (;;) {
      const seen = Atomics.load(this.words, bell);
      this.throwIfAborted();
      if (this.reached(word, goal)) break;
      Atomics.wait(this.words, bell, seen, BACKSTOP_MS);
    }
    Atomics.store(this.words, sleepsFor, AWAKE);
    this.#count(this.#device(device, WAITS));
    this.setState(device, 'running');
  }
}
