import type { OnnxAttribute, OnnxDType } from './model.ts';
import type { Value } from './operator.ts';

/** What a name stands for. */
export interface Bound {
  readonly value: Value;
  /** Element type in the file: a graph has fewer. */
  readonly dtype: OnnxDType;
}

/** Names of values, of one graph or function call. A subgraph sees those around it; a function only its own. */
export class Scope {
  readonly parent: Scope | undefined;
  /** Before names of nodes and values in the graph: of the call of a function. */
  readonly prefix: string;
  readonly opsets: ReadonlyMap<string, number>;
  /** Attributes of the call, for references to them; undefined outside of functions. */
  readonly attributes: ReadonlyMap<string, OnnxAttribute> | undefined;
  /** Functions being called, outermost first. */
  readonly calls: readonly string[];
  readonly #values = new Map<string, Bound | 'failed'>();

  constructor(parent: Scope | undefined, more: Pick<Scope, 'prefix' | 'opsets' | 'attributes' | 'calls'> = parent!) {
    this.parent = parent;
    this.prefix = more.prefix;
    this.opsets = more.opsets;
    this.attributes = more.attributes;
    this.calls = more.calls;
  }

  set(name: string, bound: Bound | 'failed'): void {
    this.#values.set(name, bound);
  }

  /** `'failed'`: its node could not be imported. undefined: there is none. */
  find(name: string): Bound | 'failed' | undefined {
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      const found = scope.#values.get(name);
      if (found) return found;
    }
    return undefined;
  }

  has(name: string): boolean {
    return this.find(name) !== undefined;
  }
}
