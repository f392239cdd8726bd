/**
 * The limit is the command's, from the start of the process: starting and reading count as well. What is kept back for
 * evaluating and printing is half of what they took, as both grow with the graph and with the machine's other loads, and a
 * fiftieth of the limit for what a search finishes before it looks at the clock again.
 */
export class CommandClock {
  readonly #limit: number;
  readonly #end: number;
  readonly #now: () => number;

  /** Made once the graph has been read; `now` gives the milliseconds since the process began. */
  constructor(limitSeconds: number, now: () => number = () => performance.now()) {
    this.#limit = limitSeconds * 1000;
    this.#end = 0.98 * this.#limit - now() / 2;
    this.#now = now;
  }

  /** A share of the time that is left; never less than a twentieth of the limit. */
  secondsFor(share: number): number {
    return Math.max(this.#limit / 20, share * (this.#end - this.#now())) / 1000;
  }
}
