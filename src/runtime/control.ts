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
/** Words a device: one 256-byte block each, against false sharing. */
const DEVICE = 64;
const BELL = 0;
const STATE = 16;
const WAITING_ON = 17;
const POSITION = 18;
const ARRIVED = 19;
const WAITS = 20;
const PAIR = 32;
const SENT = 0;
const POSTED = 16;

export const deviceStates = ['idle', 'running', 'waiting'] as const;
export type DeviceState = (typeof deviceStates)[number];

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

  static create(devices: number): Control {
    return new Control(new SharedArrayBuffer(4 * (HEADER + devices * DEVICE + devices * devices * PAIR)), devices);
  }

  constructor(buffer: SharedArrayBuffer, devices: number) {
    this.words = new Int32Array(buffer);
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

  /**
   * Blocks `device` until `ready`. Throws StepAborted. Blocks the thread: for worker threads only.
   * Returns at once where the condition holds already.
   */
  waitUntil(device: number, waitingOn: number, ready: () => boolean): void {
    for (let i = 0; i < SPINS; i++) if (ready()) return;
    const bell = this.#device(device, BELL);
    this.setState(device, 'waiting', waitingOn);
    for (;;) {
      const seen = Atomics.load(this.words, bell);
      this.throwIfAborted();
      if (ready()) break;
      Atomics.wait(this.words, bell, seen, BACKSTOP_MS);
    }
    Atomics.add(this.words, this.#device(device, WAITS), 1);
    this.setState(device, 'running');
  }
}
