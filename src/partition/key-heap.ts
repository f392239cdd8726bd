/** A binary heap of parts whose keys may change; ties fall to the smaller number. */
export class KeyHeap {
  readonly #items: Int32Array;
  readonly #place: Int32Array;
  readonly #key: Float64Array;
  #size = 0;

  constructor(parts: number) {
    this.#items = new Int32Array(parts);
    this.#place = new Int32Array(parts).fill(-1);
    this.#key = new Float64Array(parts);
  }

  has(part: number): boolean {
    return this.#place[part]! >= 0;
  }

  put(part: number, key: number): void {
    this.#key[part] = key;
    if (this.#place[part]! < 0) {
      this.#place[part] = this.#size;
      this.#items[this.#size++] = part;
    }
    this.#up(this.#place[part]!);
    this.#down(this.#place[part]!);
  }

  pop(): number {
    const top = this.#items[0]!;
    const last = this.#items[--this.#size]!;
    this.#place[top] = -1;
    if (this.#size > 0) {
      this.#items[0] = last;
      this.#place[last] = 0;
      this.#down(0);
    }
    return top;
  }

  #less(a: number, b: number): boolean {
    const [x, y] = [this.#key[a]!, this.#key[b]!];
    return x < y || (x === y && a < b);
  }

  #up(from: number): void {
    let at = from;
    const part = this.#items[at]!;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = this.#items[parent]!;
      if (!this.#less(part, other)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = parent;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }

  #down(from: number): void {
    let at = from;
    const part = this.#items[at]!;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#less(this.#items[child + 1]!, this.#items[child]!)) child++;
      const other = this.#items[child]!;
      if (!this.#less(other, part)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = child;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }
}
