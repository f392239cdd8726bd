import type { Control } from './control.ts';

/**
 * Runs a bound exchange; a promise (messages, MPI) or nothing: on shared memory all are synchronous, and a device never
 * awaits.
 */
export type Exchange = () => void | Promise<void>;

/**
 * How a device exchanges values with the others. One channel a device. Each method binds one instruction's exchange when
 * the program is loaded, and what it returns runs in every step, so that a step allocates nothing:
 *
 * - `post` announces that message `message` of `from` may be written to its buffer, and returns at once.
 * - `send` waits until the receiver has posted that message, copies, and returns when the source may be overwritten.
 * - `receive` returns when the message is complete in its buffer.
 * - `barrier` returns when every device has called it.
 * Messages of one pair are posted and sent in the order of their numbers, which start at 0 each step.
 * Waiting ends with StepAborted as soon as the step is aborted.
 */
export interface Channel {
  startStep(): void;
  post(from: number, message: number): Exchange;
  send(to: number, message: number, source: number, target: number, bytes: number): Exchange;
  receive(from: number, message: number): Exchange;
  barrier(): Exchange;
  /** Seconds spent waiting since the step began. */
  readonly waitedSeconds: number;
}

/** Devices of one process: the sender copies from its memory into the receiver's and rings. */
export class SharedMemoryChannel implements Channel {
  readonly #control: Control;
  readonly #device: number;
  readonly #memories: readonly Uint8Array[];
  /** Messages of earlier steps, by peer: a step's numbers start behind them. */
  readonly #sentBefore: Int32Array;
  readonly #receivedBefore: Int32Array;
  #waited = 0;

  constructor(control: Control, device: number, memories: readonly WebAssembly.Memory[]) {
    this.#control = control;
    this.#device = device;
    this.#memories = memories.map((m) => new Uint8Array(m.buffer));
    this.#sentBefore = new Int32Array(control.devices);
    this.#receivedBefore = new Int32Array(control.devices);
  }

  get waitedSeconds(): number {
    return this.#waited;
  }

  startStep(): void {
    this.#waited = 0;
    for (let peer = 0; peer < this.#control.devices; peer++) {
      this.#sentBefore[peer] = this.#control.sent(this.#device, peer);
      // What this device has posted it has also received by the end of a step.
      this.#receivedBefore[peer] = this.#control.posted(peer, this.#device);
    }
  }

  post(from: number): Exchange {
    return () => this.#control.countPosted(from, this.#device);
  }

  send(to: number, message: number, source: number, target: number, bytes: number): Exchange {
    const posted = this.#control.postedWord(this.#device, to);
    const value = this.#memories[this.#device]!.subarray(source, source + bytes);
    const there = this.#memories[to]!;
    return () => {
      this.#wait(to, posted, (this.#sentBefore[to]! + message + 1) | 0);
      there.set(value, target);
      this.#control.countSent(this.#device, to);
    };
  }

  receive(from: number, message: number): Exchange {
    const sent = this.#control.sentWord(from, this.#device);
    return () => this.#wait(from, sent, (this.#receivedBefore[from]! + message + 1) | 0);
  }

  barrier(): Exchange {
    const { devices } = this.#control;
    return () => {
      this.#control.countArrived(this.#device);
      const arrivals = this.#control.arrived(this.#device);
      for (let d = 0; d < devices; d++) {
        if (d !== this.#device) this.#wait(d, this.#control.arrivedWord(d), arrivals);
      }
    };
  }

  #wait(peer: number, word: number, goal: number): void {
    if (this.#control.reached(word, goal)) return;
    const start = performance.now();
    this.#control.waitUntil(this.#device, peer, word, goal);
    this.#waited += (performance.now() - start) / 1000;
  }
}
