/**
 * Biconnected components of an undirected graph, as lists of edges (by their place in the list given): two edges are in one
 * where they lie on a common cycle (Hopcroft, Tarjan, "Efficient algorithms for graph manipulation", 1973). With a stack of
 * its own, as graphs are deeper than the call stack. Edges of the same two nodes count as one, the first.
 */
export function biconnectedComponents(count: number, edges: readonly (readonly [number, number])[]): number[][] {
  const seen = new Set<number>();
  const touching: number[][] = Array.from({ length: count }, () => []);
  edges.forEach(([a, b], e) => {
    const pair = Math.min(a, b) * count + Math.max(a, b);
    if (a === b || seen.has(pair)) return;
    seen.add(pair);
    touching[a]!.push(e);
    touching[b]!.push(e);
  });
  const entered = new Int32Array(count).fill(-1);
  /** Earliest node that a node, or what was entered below it, has an edge to. */
  const low = new Int32Array(count);
  const found: number[][] = [];
  const path: number[] = [];
  let clock = 0;
  for (let root = 0; root < count; root++) {
    if (entered[root]! >= 0) continue;
    const calls: { readonly node: number; readonly by: number; next: number }[] = [{ node: root, by: -1, next: 0 }];
    entered[root] = low[root] = clock++;
    for (let call = calls.at(-1); call; call = calls.at(-1)) {
      const { node, by } = call;
      const edge = touching[node]![call.next++];
      if (edge === undefined) {
        calls.pop();
        const above = calls.at(-1)?.node;
        if (above === undefined) continue;
        low[above] = Math.min(low[above]!, low[node]!);
        // Nothing below reaches beyond the node above: what was met since the edge between them is a component.
        if (low[node]! >= entered[above]!) found.push(path.splice(path.lastIndexOf(by)));
        continue;
      }
      if (edge === by) continue;
      const [a, b] = edges[edge]!;
      const other = a === node ? b : a;
      if (entered[other]! < 0) {
        entered[other] = low[other] = clock++;
        path.push(edge);
        calls.push({ node: other, by: edge, next: 0 });
      } else if (entered[other]! < entered[node]!) {
        path.push(edge);
        low[node] = Math.min(low[node]!, entered[other]!);
      }
    }
  }
  return found;
}
