/** Stages that differ in nothing but names: what is found for one of them holds for all. */
import { byteSize } from '../core/types.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { StageRecompute } from './choice.ts';
import { blockLeader, isRecomputable, type StageForward } from './stage-forward.ts';

/** The names in a stage's choice, by their place in the stage. */
export interface StageNames {
  readonly nodes: readonly string[];
  readonly values: readonly string[];
}

/** `key`: equal for stages whose nodes, values, times and readers are equal, one by one. */
export interface StageShape {
  readonly key: string;
  readonly names: StageNames;
}

export function shapeOf({ nodes, asking, values, seconds }: StageForward): StageShape {
  const place = new Map<Node, number>([...nodes, ...asking].map((n, i) => [n, i]));
  const all = [...values.values()];
  const valueAt = new Map<Tensor, number>(all.map((v, i) => [v.root, i]));
  const nodeOf = (node: Node | undefined): number | string => (node && place.get(node)) ?? '';
  const tensor = (t: Tensor): string =>
    `${nodeOf(t.node)}.${t.index}${isRecomputable(t.node) ? '' : '!'}=${valueAt.get(rootOf(t)) ?? ''}`;
  const inputs = (n: Node): string => n.inputs.map(tensor).join(' ');
  const kind = (n: Node): string => (n.op!.alias ? '~' : '');
  const lines = [
    ...nodes.map((n) => {
      const bytes = n.outputs.map((t) => byteSize(t.type)).join(' ');
      return `${kind(n)}${seconds(n)} > ${bytes} < ${inputs(n)}`;
    }),
    ...asking.map((n) => `${kind(n)}${nodeOf(blockLeader(n))} < ${inputs(n)}`),
    ...all.map((v) => {
      const made = v.arrives ? '' : `${nodeOf(v.root.node)}.${v.root.index}`;
      return `${made} ${v.bytes} ${v.backward.map(nodeOf).join(' ')}`;
    }),
  ];
  return { key: lines.join('\n'), names: { nodes: nodes.map((n) => n.name), values: all.map((v) => v.root.name) } };
}

/** The choice of a stage `from` for one of the same shape. */
export function renamed(choice: StageRecompute, from: StageNames, to: StageNames): StageRecompute {
  const nodes = new Map(from.nodes.map((name, i) => [name, to.nodes[i]!]));
  const values = new Map(from.values.map((name, i) => [name, to.values[i]!]));
  const named = (set: ReadonlySet<string>): Set<string> => new Set([...set].map((name) => values.get(name)!));
  const { kept, blockOf, retained } = choice;
  return {
    kept: named(kept),
    ...(blockOf ? { blockOf: new Map([...blockOf].map(([name, block]) => [nodes.get(name)!, block])) } : {}),
    ...(retained ? { retained: retained.map(named) } : {}),
  };
}
