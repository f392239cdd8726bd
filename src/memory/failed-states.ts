/** Slots for states; a newer one takes the place of an older one with the same slot. */
export const FAILED_STATES = 2 ** 18;

/** States of an exact search that are known to fail, by key and slot. */
export class FailedStates {
  readonly #keys = new Float64Array(FAILED_STATES).fill(-1);
  /** In use. */
  readonly #slots: number[] = [];

  has(key: number, slot: number): boolean {
    return this.#keys[slot] === key;
  }

  add(key: number, slot: number): void {
    if (this.#keys[slot] === -1) this.#slots.push(slot);
    this.#keys[slot] = key;
  }

  clear(): void {
    for (const slot of this.#slots) this.#keys[slot] = -1;
    this.#slots.length = 0;
  }
}

let table: FailedStates | undefined;

/** Empty. One search follows the other and all of them share it: it is megabytes, which take longer to get than most searches. */
export function noFailedStates(): FailedStates {
  table ??= new FailedStates();
  table.clear();
  return table;
}
