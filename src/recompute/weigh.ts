import { byteSize } from '../core/types.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { StageRecompute } from './choice.ts';
import { StageClones } from './clones.ts';
import type { StageForward } from './stage-forward.ts';

/** What a stage's choice takes of one microbatch, without a program: gradients and working memory are not counted. */
export interface Weight {
  /** Bytes kept from the forward pass to the backward pass. */
  readonly keptBytes: number;
  /** Most bytes of what is kept and of clones at any time of the backward pass. */
  readonly peakBytes: number;
  /** Of computing again. */
  readonly seconds: number;
}

/** Plays the backward pass in the graph's order, clone by clone. */
export function weigh(forward: StageForward, choice: StageRecompute): Weight {
  const { values, asking, seconds } = forward;
  const own = new Set(forward.nodes);
  let clock = 0;
  let total = 0;
  /** When clones are made. */
  const born: { at: number; bytes: number }[] = [];
  const lastRead = new Map<Bytes, number>();
  /** What backward reshapes stand for. */
  const reshaped = new Map<Node, Bytes | undefined>();
  /** What holds a tensor's bytes; undefined: what costs nothing to keep. */
  const holderOf = (t: Tensor, cloneOf: (node: Node) => Clone): Bytes | undefined => {
    if (clones.stands(t)) return cloneOf(t.node)[t.index]!;
    if (reshaped.has(t.node)) return reshaped.get(t.node);
    const value = values.get(rootOf(t));
    return value?.arrives ? undefined : value;
  };
  const read = (holder: Bytes | undefined): void => {
    if (holder) lastRead.set(holder, clock);
  };
  const clones: StageClones<Clone> = new StageClones<Clone>(
    choice,
    (n) => own.has(n),
    (node, cloneOf) => {
      if (node.op!.alias) return [holderOf(node.inputs[0]!, cloneOf)!];
      clock++;
      for (const t of node.inputs) read(holderOf(t, cloneOf));
      total += seconds(node);
      const outputs = node.outputs.map((t) => ({ bytes: byteSize(t.type) }));
      for (const holder of outputs) {
        born.push({ at: clock, bytes: holder.bytes });
        read(holder);
      }
      return outputs;
    },
  );
  for (const node of asking) {
    clones.enter(node);
    const ready = new Map(node.inputs.filter((t) => clones.stands(t)).map((t) => [t.node, clones.of(t)]));
    const holders = node.inputs.map((t) => holderOf(t, (n) => ready.get(n)!));
    if (node.op!.alias) {
      reshaped.set(node, holders[0]);
      continue;
    }
    clock++;
    for (const holder of holders) read(holder);
  }
  const kept = new Set<Bytes>(values.values());
  const keptBytes = [...lastRead.keys()].reduce((sum, h) => sum + (kept.has(h) ? h.bytes : 0), 0);
  const change = new Float64Array(clock + 2);
  change[0] = keptBytes;
  for (const { at, bytes } of born) change[at]! += bytes;
  for (const [{ bytes }, at] of lastRead) change[at + 1]! -= bytes;
  let [live, peakBytes] = [0, 0];
  for (const bytes of change) peakBytes = Math.max(peakBytes, (live += bytes));
  return { keptBytes, peakBytes, seconds: total };
}

/** What holds bytes: a kept value, or an output of a clone. */
interface Bytes {
  readonly bytes: number;
}
type Clone = readonly Bytes[];
