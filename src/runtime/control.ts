/**
 * The control block: one SharedArrayBuffer of i32 words that all devices and the coordinator see. It carries no data, only
 * counters and doorbells; the largest distance between two counters is far below 2³¹, so they may wrap.
 *
 * A device ever waits on one futex, its bell. Whoever changes something a device may wait for rings its bell:
 *
 *     for (;;) { seen = bell; if (abort) throw; if (ready()) return; wait(bell, seen) }
 *
 * The bell is read before the condition, so that a change between the check and the wait makes the wait return at once.
 */
const HEADER = 16;
/** The step that all devices are to play: a counter of orders, behind it what the latest asks. */
const ORDER = 1;
const PROGRAM = 2;
const STEP = 3;
const PROFILE = 4;
const AREA = 5;
/** Devices that have not ended the latest order. */
const LEFT = 6;
/** Words a device: one 256-byte block each, against false sharing. */
const DEVICE = 64;
const BELL = 0;
const STATE = 16;
const WAITING_ON = 17;
const POSITION = 18;
const ARRIVED = 19;
const WAITS = 20;
const OUTCOME = 21;
const MAIL = 22;
/** Two f64: seconds of the step, and of its waits. */
const SECONDS = 24;
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
  /** Which staging area its feeds lie in. */
  readonly area: number;
}

/** Upper bound of one sleep: should the coordinator vanish, the device still looks up. */
const BACKSTOP_MS = 1000;
/** Checks before sleeping; a hand-over between free cores takes about this long. Must stay small: cores may be short. */
const SPINS = 200;

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

  static create(devices: number): Control {
    return new Control(new SharedArrayBuffer(4 * (HEADER + devices * DEVICE + devices * devices * PAIR)), devices);
  }

  constructor(buffer: SharedArrayBuffer, devices: number) {
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
    Atomics.add(this.words, this.#pair(from, to, SENT), 1);
    this.ring(to);
  }
  /** Counts a receive buffer as ready and wakes the sender. */
  countPosted(from: number, to: number): void {
    Atomics.add(this.words, this.#pair(from, to, POSTED), 1);
    this.ring(from);
  }

  arrived(device: number): number {
    return Atomics.load(this.words, this.#device(device, ARRIVED));
  }
  countArrived(device: number): void {
    Atomics.add(this.words, this.#device(device, ARRIVED), 1);
    for (let d = 0; d < this.devices; d++) if (d !== device) this.ring(d);
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

  ring(device: number): void {
    const bell = this.#device(device, BELL);
    Atomics.add(this.words, bell, 1);
    Atomics.notify(this.words, bell);
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
    Atomics.add(this.words, this.#device(device, MAIL), 1);
    this.ring(device);
  }

  /** Has every device play a step; all of them have ended the one before. */
  give({ program, step, profile, area }: StepOrder): void {
    const { words, devices } = this;
    for (let d = 0; d < devices; d++) Atomics.store(words, this.#device(d, OUTCOME), 0);
    Atomics.store(words, PROGRAM, program);
    Atomics.store(words, STEP, step);
    Atomics.store(words, PROFILE, profile ? 1 : 0);
    Atomics.store(words, AREA, area);
    Atomics.store(words, LEFT, devices);
    Atomics.add(words, ORDER, 1);
    for (let d = 0; d < devices; d++) this.ring(d);
  }
  /** How many steps have been given. */
  get orders(): number {
    return Atomics.load(this.words, ORDER);
  }
  get order(): StepOrder {
    const at = (word: number) => Atomics.load(this.words, word);
    return { program: at(PROGRAM), step: at(STEP), profile: at(PROFILE) === 1, area: at(AREA) };
  }

  /** Notes how a device's step has ended; true for the last device. */
  end(device: number, outcome: Outcome, seconds = 0, busySeconds = 0): boolean {
    const at = this.#device(device, SECONDS) / 2;
    this.#numbers[at] = seconds;
    this.#numbers[at + 1] = busySeconds;
    Atomics.store(this.words, this.#device(device, OUTCOME), outcomes.indexOf(outcome));
    return Atomics.sub(this.words, LEFT, 1) === 1;
  }
  outcome(device: number): Outcome {
    return outcomes[Atomics.load(this.words, this.#device(device, OUTCOME))]!;
  }
  seconds(device: number): { seconds: number; busySeconds: number } {
    const at = this.#device(device, SECONDS) / 2;
    return { seconds: this.#numbers[at]!, busySeconds: this.#numbers[at + 1]! };
  }

  /**
   * Blocks `device` between steps until there is an order behind `orders` or mail behind `mail`; false after a while without,
   * so that the thread's event loop has a turn. Blocks the thread: for worker threads only.
   */
  waitForWork(device: number, orders: number, mail: number): boolean {
    const bell = this.#device(device, BELL);
    const seen = Atomics.load(this.words, bell);
    if (this.orders !== orders || this.hasMail(device, mail)) return true;
    Atomics.wait(this.words, bell, seen, BACKSTOP_MS);
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
   * Blocks `device` until the counter `word` has reached `goal`. Throws StepAborted. Blocks the thread: for worker threads
   * only. Returns at once where it has already.
   */
  waitUntil(device: number, waitingOn: number, word: number, goal: number): void {
    for (let i = 0; i < SPINS; i++) if (this.reached(word, goal)) return;
    const bell = this.#device(device, BELL);
    this.setState(device, 'waiting', waitingOn);
    for (;;) {
      const seen = Atomics.load(this.words, bell);
      this.throwIfAborted();
      if (this.reached(word, goal)) break;
      Atomics.wait(this.words, bell, seen, BACKSTOP_MS);
    }
    Atomics.add(this.words, this.#device(device, WAITS), 1);
    this.setState(device, 'running');
  }
}
