/** Sets that grow together (union-find); a set is known by one of its members. */
export class Groups {
  readonly #parent: Int32Array;

  constructor(count: number) {
    this.#parent = Int32Array.from({ length: count }, (_, i) => i);
  }

  find(i: number): number {
    let root = i;
    while (this.#parent[root] !== root) root = this.#parent[root]!;
    for (let at = i; at !== root; ) {
      const next = this.#parent[at]!;
      this.#parent[at] = root;
      at = next;
    }
    return root;
  }

  /** The set of `a` takes in that of `b`, and is known by what it was. */
  join(a: number, b: number): void {
    const [into, other] = [this.find(a), this.find(b)];
    this.#parent[other] = into;
  }

  /** By ascending first member, members ascending. */
  members(): number[][] {
    const groups = new Map<number, number[]>();
    for (let i = 0; i < this.#parent.length; i++) {
      const root = this.find(i);
      const group = groups.get(root);
      if (group) group.push(i);
      else groups.set(root, [i]);
    }
    return [...groups.values()];
  }
}

/** Name of what several names became. */
export const fusedName = (names: readonly string[]): string =>
  names.length === 1 ? names[0]! : `${names[0]} +${names.length - 1}`;
