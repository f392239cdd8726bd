import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';

/** Milliseconds, since their threads began: for how long one has run, and was ready to run and had no core. */
interface Account {
  readonly ran: number;
  readonly waited: number;
}

/** A thread that has waited for its core for more than this share of a while has others beside it. */
const FREE_SHARE = 0.1;
/** A while, in milliseconds, or a step where that is longer: a look at the account takes longer than the shortest steps. */
const WATCH_MS = 5;
const MOST_WINDOWS = 128;

/** Of the calling thread, or of one whose folder in /proc is given. */
const accountIn = (folder: string): string => `/proc/${folder}/schedstat`;

/** The file in which the system keeps the calling thread's account, for other threads; undefined where there is none. */
export function accountOfThread(): string | undefined {
  try {
    return accountIn(readlinkSync('/proc/thread-self'));
  } catch {
    return undefined;
  }
}

/**
 * Tells whether others want the core that the calling thread runs on, by the system's own account (Linux:
 * /proc/…/schedstat): for how long the thread was ready to run and had no core. Where it shares the cores with its host, what that
 * has run meanwhile is taken off: the host takes a core for a moment behind each step, and who goes to sleep for it wakes too
 * late. A look takes some 4 µs a thread.
 */
export class CoreWatch {
  /** Its own account, and the host's. */
  #files: number[] = [];
  readonly #text = Buffer.alloc(80);
  #seen = { now: 0, waited: 0, host: 0 };
  #isFree = false;
  /** Looks at the account until it may look on again, and how many there are the next time that it may not. */
  #windows = 0;
  #pause = 1;

  /** `hostAccount`: of the host (`accountOfThread`), where devices leave it no core of its own. */
  constructor(hostAccount?: string) {
    try {
      this.#files.push(openSync(accountIn('thread-self'), 'r'));
      if (hostAccount !== undefined) this.#files.push(openSync(hostAccount, 'r'));
      this.#seen = this.#look();
    } catch {
      this.close();
    }
  }

  #look(): { now: number; waited: number; host: number } {
    const [own, host] = this.#files as [number, number?];
    const { waited } = this.#read(own);
    return { now: performance.now(), waited, host: host === undefined ? 0 : this.#read(host).ran };
  }

  #read(file: number): Account {
    const length = readSync(file, this.#text, 0, this.#text.length, 0);
    const [ran, waited] = this.#text
      .toString('latin1', 0, length)
      .split(' ', 2)
      .map((ns) => Number(ns) / 1e6) as [number, number];
    // Who reads has run; a kernel that does not keep the account says 0.
    if (!(ran > 0) || !Number.isFinite(waited)) throw new Error('the system does not count');
    return { ran, waited };
  }

  /** The share of the time since the last look for which others have kept the thread from its core; 1 where nobody tells. */
  waitedShare(): number {
    if (this.#files.length === 0) return 1;
    const before = this.#seen;
    try {
      this.#seen = this.#look();
    } catch {
      this.close();
      return 1;
    }
    const { now, waited, host } = this.#seen;
    return now > before.now ? Math.max(0, waited - before.waited - (host - before.host)) / (now - before.now) : 0;
  }

  /**
   * Whether a device's thread may look on while it waits, as nobody else wants its core. One that looks on beside others uses up
   * its part of the core, and is late when it has work: found out, it does not for a while, which doubles each time that it is
   * found out again, up to half a second.
   */
  isFree(): boolean {
    const { now } = this.#seen;
    if (this.#files.length > 0 && performance.now() - now < WATCH_MS) return this.#isFree;
    const isTaken = this.waitedShare() > FREE_SHARE;
    if (this.#isFree && isTaken) {
      this.#windows = this.#pause;
      this.#pause = Math.min(2 * this.#pause, MOST_WINDOWS);
    } else if (this.#isFree) this.#pause = Math.max(1, this.#pause / 2);
    else this.#windows--;
    this.#isFree = !isTaken && this.#windows <= 0;
    return this.#isFree;
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
    this.#files = [];
  }
}
