export interface FlowOptions {
  /** Any flow of so much will do. */
  readonly enough?: number;
  /** An arc that counts as one that is never cut. */
  readonly open?: number;
  /** Of `performance.now()`. */
  readonly deadline?: number;
}

/**
 * Minimum cut by maximum flow (Dinic, 1970), with capacities that are any non-negative numbers. Flow augments along
 * shortest paths while more than a rounding error is left, so the value found is at most that of the cut: as a lower bound
 * of a cut it errs on the safe side.
 */
export class FlowNetwork {
  readonly #heads: Int32Array;
  readonly #to: number[] = [];
  readonly #next: number[] = [];
  readonly #rest: number[] = [];
  #largest = 0;
  /** The lists above, once a flow is asked for. */
  #arcs: { to: Int32Array; next: Int32Array; rest: Float64Array } | undefined;

  constructor(nodes: number) {
    this.#heads = new Int32Array(nodes).fill(-1);
  }

  /** Arcs both ways between two nodes; Infinity: never cut. The number of the arc forth. */
  connect(from: number, to: number, capacity: number, back = 0): number {
    this.#arc(from, to, capacity);
    this.#arc(to, from, back);
    this.#arcs = undefined;
    return this.#to.length - 2;
  }

  #arc(from: number, to: number, capacity: number): void {
    this.#to.push(to);
    this.#next.push(this.#heads[from]!);
    this.#rest.push(capacity);
    this.#heads[from] = this.#to.length - 1;
    if (capacity < Number.POSITIVE_INFINITY) this.#largest = Math.max(this.#largest, capacity);
  }

  /**
   * Infinity where no finite cut parts them. Where it stops early the flow that it has bounds the cut as well. The network
   * stays as it is.
   */
  maximumFlow(source: number, sink: number, options: FlowOptions = {}): number {
    return this.#flow(source, sink, options).flow;
  }

  /** The nodes on the source's side of a least cut: of all least cuts the one nearest to the source. */
  nearestCut(source: number, sink: number): (node: number) => boolean {
    const { level } = this.#flow(source, sink, {});
    return (node) => level[node]! >= 0;
  }

  #flow(
    source: number,
    sink: number,
    { enough = Number.POSITIVE_INFINITY, open = -1, deadline = Number.POSITIVE_INFINITY }: FlowOptions,
  ): { readonly flow: number; readonly level: Int32Array } {
    const nodes = this.#heads.length;
    this.#arcs ??= {
      to: Int32Array.from(this.#to),
      next: Int32Array.from(this.#next),
      rest: Float64Array.from(this.#rest),
    };
    const { to, next } = this.#arcs;
    const rest = this.#arcs.rest.slice();
    if (open >= 0) rest[open] = Number.POSITIVE_INFINITY;
    const heads = this.#heads;
    const nothing = this.#largest * 1e-12;
    const level = new Int32Array(nodes);
    const current = new Int32Array(nodes);
    const queue = new Int32Array(nodes);
    const path: number[] = [];
    let flow = 0;
    let steps = 0;
    for (;;) {
      if (performance.now() > deadline) return { flow, level };
      level.fill(-1);
      level[source] = 0;
      queue[0] = source;
      for (let read = 0, write = 1; read < write && level[sink]! < 0; read++) {
        const node = queue[read]!;
        for (let a = heads[node]!; a >= 0; a = next[a]!) {
          if (rest[a]! <= nothing || level[to[a]!]! >= 0) continue;
          level[to[a]!] = level[node]! + 1;
          queue[write++] = to[a]!;
        }
      }
      if (level[sink]! < 0) return { flow, level };
      current.set(heads);
      path.length = 0;
      // Depth first along rising levels, without recursion: networks are as deep as the graphs they come from.
      for (let node = source; ; ) {
        if ((++steps & 0x3fff) === 0 && performance.now() > deadline) return { flow, level };
        if (node === sink) {
          let amount = Number.POSITIVE_INFINITY;
          for (const a of path) amount = Math.min(amount, rest[a]!);
          if (amount === Number.POSITIVE_INFINITY) return { flow: amount, level };
          flow += amount;
          if (flow >= enough) return { flow, level };
          let retreat = -1;
          for (let i = path.length - 1; i >= 0; i--) {
            const a = path[i]!;
            rest[a]! -= amount;
            rest[a ^ 1]! += amount;
            if (rest[a]! <= nothing) retreat = i;
          }
          if (retreat < 0) retreat = 0;
          node = to[path[retreat]! ^ 1]!;
          path.length = retreat;
          continue;
        }
        let a = current[node]!;
        while (a >= 0 && (rest[a]! <= nothing || level[to[a]!]! !== level[node]! + 1)) a = next[a]!;
        current[node] = a;
        if (a >= 0) {
          path.push(a);
          node = to[a]!;
        } else {
          if (path.length === 0) break;
          level[node] = -1;
          node = to[path.pop()! ^ 1]!;
        }
      }
    }
  }
}
