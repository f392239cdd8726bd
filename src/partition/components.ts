/**
 * Strongly connected components of more than one node. What nothing leads to, or leads on to nothing, is on no circle: taken
 * away until there is none of it, it mostly leaves nothing to search.
 */
export function circles(count: number, edges: readonly (readonly [number, number])[]): number[][] {
  let left = edges;
  let on = new Uint8Array(count).fill(1);
  for (const end of [1, 0] as const) {
    // Kahn, 1962: from the front, then from the back.
    const missing = new Int32Array(count);
    const start = new Int32Array(count + 1);
    for (const edge of left) {
      missing[edge[end]]!++;
      start[edge[1 - end]! + 1]!++;
    }
    for (let i = 0; i < count; i++) start[i + 1]! += start[i]!;
    const next = new Int32Array(left.length);
    const fill = start.slice();
    for (const edge of left) next[fill[edge[1 - end]!]!++] = edge[end];
    const open: number[] = [];
    for (let i = 0; i < count; i++) if (missing[i] === 0) open.push(i);
    const kept = on.slice();
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      kept[node] = 0;
      for (let e = start[node]!; e < start[node + 1]!; e++) if (--missing[next[e]!]! === 0) open.push(next[e]!);
    }
    on = kept;
    left = left.filter(([a, b]) => kept[a] === 1 && kept[b] === 1);
    if (left.length === 0) return [];
  }
  return components(count, left).filter((c) => c.length > 1);
}

/**
 * Strongly connected components (Tarjan 1972, with its own stack: graphs are deeper than the call stack). Each is sorted;
 * components come in reverse topological order.
 */
export function components(count: number, edges: readonly (readonly [number, number])[]): number[][] {
  const successors: number[][] = Array.from({ length: count }, () => []);
  for (const [from, to] of edges) successors[from]!.push(to);
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const onPath = new Uint8Array(count);
  const path: number[] = [];
  const result: number[][] = [];
  let clock = 0;
  for (let root = 0; root < count; root++) {
    if (index[root]! >= 0) continue;
    const calls: { readonly node: number; next: number }[] = [];
    const enter = (node: number) => {
      index[node] = low[node] = clock++;
      path.push(node);
      onPath[node] = 1;
      calls.push({ node, next: 0 });
    };
    enter(root);
    while (calls.length > 0) {
      const call = calls[calls.length - 1]!;
      const { node } = call;
      if (call.next < successors[node]!.length) {
        const other = successors[node]![call.next++]!;
        if (index[other]! < 0) enter(other);
        else if (onPath[other]) low[node] = Math.min(low[node]!, index[other]!);
        continue;
      }
      calls.pop();
      const caller = calls[calls.length - 1];
      if (caller) low[caller.node] = Math.min(low[caller.node]!, low[node]!);
      if (low[node] !== index[node]) continue;
      const component = path.splice(path.lastIndexOf(node));
      for (const member of component) onPath[member] = 0;
      result.push(component.sort((a, b) => a - b));
    }
  }
  return result;
}
