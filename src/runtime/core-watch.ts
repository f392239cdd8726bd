import { closeSync, openSync, readSync } from 'node:fs';

/**
 * Tells whether others want the core that the calling thread runs on, by the system's own account (Linux:
 * /proc/thread-self/schedstat): for how long the thread was ready to run and had no core. A look takes some 4 µs.
 */
export class CoreWatch {
  #file: number | undefined;
  readonly #text = Buffer.alloc(80);
  #seen = { now: 0, waited: 0 };

  constructor() {
    try {
      this.#file = openSync('/proc/thread-self/schedstat', 'r');
      this.#seen = this.#look();
    } catch {
      this.close();
    }
  }

  #look(): { now: number; waited: number } {
    const length = readSync(this.#file!, this.#text, 0, this.#text.length, 0);
    const [run, waited] = this.#text
      .toString('latin1', 0, length)
      .split(' ', 2)
      .map((ns) => Number(ns) / 1e6);
    // Who reads has run; a kernel that does not keep the account says 0.
    if (!(run! > 0) || !Number.isFinite(waited)) throw new Error('the system does not count');
    return { now: performance.now(), waited: waited! };
  }

  /** The share of the time since the last look for which the thread has waited for a core; 1 where nobody tells. */
  waitedShare(): number {
    if (this.#file === undefined) return 1;
    const before = this.#seen;
    try {
      this.#seen = this.#look();
    } catch {
      this.close();
      return 1;
    }
    const { now, waited } = this.#seen;
    return now > before.now ? (waited - before.waited) / (now - before.now) : 0;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
