/** Events in the order of their times; equal times in the order in which they were added. A binary heap. */
export class EventQueue<T> {
  readonly #times: number[] = [];
  readonly #orders: number[] = [];
  readonly #events: T[] = [];
  #added = 0;

  get size(): number {
    return this.#events.length;
  }

  /** The first event; there must be one. */
  get next(): T {
    return this.#events[0]!;
  }

  add(time: number, event: T): void {
    let at = this.#events.length;
    this.#place(at, time, this.#added++, event);
    for (; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  take(): { time: number; event: T } {
    const first = { time: this.#times[0]!, event: this.#events[0]! };
    const last = this.#events.length - 1;
    this.#swap(0, last);
    this.#times.pop();
    this.#orders.pop();
    this.#events.pop();
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < last && this.#before(child, least)) least = child;
      if (least === at) return first;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    const difference = this.#times[a]! - this.#times[b]!;
    return difference < 0 || (difference === 0 && this.#orders[a]! < this.#orders[b]!);
  }

  #place(at: number, time: number, order: number, event: T): void {
    this.#times[at] = time;
    this.#orders[at] = order;
    this.#events[at] = event;
  }

  #swap(a: number, b: number): void {
    const [time, order, event] = [this.#times[a]!, this.#orders[a]!, this.#events[a]!];
    this.#place(a, this.#times[b]!, this.#orders[b]!, this.#events[b]!);
    this.#place(b, time, order, event);
  }
}
