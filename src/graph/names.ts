import { GraphError, nearest } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import type { Node } from './node.ts';

/** The nodes of a graph by name: no two have the same; a taken name gets a number behind it. */
export class NodeNames {
  readonly #nodes = new Map<string, Node>();
  /** Numbers below this one are taken behind the name, or were. */
  readonly #next = new Map<string, number>();

  has(name: string): boolean {
    return this.#nodes.has(name);
  }

  /** The node of this name. Throws GraphError naming the nearest one. */
  find(name: string): Node {
    const node = this.#nodes.get(name);
    if (node) return node;
    const near = nearest(name, this.#nodes.keys());
    throw new GraphError(
      'unknown-node',
      `no node is named ${typeof name === 'string' ? name : shown(name)}${near ? `; did you mean ${near}?` : ''}`,
      {
        fields: { name, nearest: near ?? null },
        remedy: near ? `'${near}'` : 'printGraph(graph) lists the names',
      },
    );
  }

  /** Enters a node under its name, which `take` gave or which is the only one of its graph. */
  add(node: Node): void {
    this.#nodes.set(node.name, node);
  }

  remove(node: Node): void {
    if (this.#nodes.get(node.name) === node) this.#nodes.delete(node.name);
  }

  /** Takes nodes out as if they had never been there: their names, and the numbers behind them, are free again. */
  forget(nodes: readonly Node[]): void {
    for (const node of nodes) {
      this.remove(node);
      const [, name, count] = /^(.*)_(\d+)$/.exec(node.name) ?? [];
      if (name !== undefined && (this.#next.get(name) ?? 0) > Number(count)) this.#next.set(name, Number(count));
    }
  }

  /** What `take` would give. */
  peek(name: string): string {
    return this.#free(name).name;
  }

  /** The first of `name`, `name_1`, … that no node has. */
  take(name: string): string {
    const { name: free, count } = this.#free(name);
    if (count > 0) this.#next.set(name, count + 1);
    return free;
  }

  /** The free name and the number behind it (0: none). */
  #free(name: string): { name: string; count: number } {
    if (!this.#nodes.has(name)) return { name, count: 0 };
    let count = this.#next.get(name) ?? 1;
    while (this.#nodes.has(`${name}_${count}`)) count++;
    return { name: `${name}_${count}`, count };
  }
}
