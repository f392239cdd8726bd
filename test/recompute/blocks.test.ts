import { describe, expect, it } from 'vitest';
import type { Node } from '../../src/graph/graph.ts';
import { rootOf } from '../../src/graph/values.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { blocksOf, MOST_BLOCKS } from '../../src/recompute/blocks.ts';
import { type StageForward, selectiveRecompute, stageForwards } from '../../src/recompute/index.ts';
import { blockLeader } from '../../src/recompute/stage-forward.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

const forwardOf = (model: Parameters<typeof planOf>[0]): StageForward =>
  stageForwards(planOf(model, { batch: 4 }).graphs.train!, () => 0).get(0)!;
const equalLayers = (layers: number) =>
  modelOf({ kind: 'mlp', inputs: 8, hidden: new Array<number>(layers - 1).fill(8), classes: 8 });

/** By their definitions, value by value. */
function facts({ nodes, values }: StageForward, blockOf: ReadonlyMap<string, number>) {
  const at = (node: Node): number => blockOf.get(node.name)!;
  return [...values.values()]
    .filter((v) => !v.arrives)
    .map((v) => {
      const { root, bytes } = v;
      const readers = nodes.filter((n) => !n.op!.alias && n.inputs.some((t) => rootOf(t) === root));
      const leaders = v.backward.map((n) => blockLeader(n)).filter((n) => n !== undefined && nodes.includes(n));
      return {
        ...{ name: root.name, bytes, from: at(root.node), isRead: v.backward.length > 0 },
        /** Blocks whose forward, or whose backward, reads it. */
        blocks: [...readers, ...(leaders as Node[])].map(at),
        asksFrom: v.backward.map((n) => {
          const leader = blockLeader(n);
          return leader && nodes.includes(leader) ? at(leader) : Number.NEGATIVE_INFINITY;
        }),
      };
    });
}

describe('a stage as a chain of blocks', () => {
  const models = [
    ...smallModelKinds.map((kind) => [kind, smallModels[kind]] as const),
    ['deep', equalLayers(24)] as const,
  ];

  it.each(models)(
    '%s: knows what passes each boundary, what a block keeps, and what its own backward reads',
    (_, model) => {
      const forward = forwardOf(model);
      for (const worth of [undefined, selectiveRecompute(forward).kept]) {
        const { blockOf, count, passing, kept, chain, bytes, seconds } = blocksOf(forward, worth);
        const all = facts(forward, blockOf);
        const isWorth = ({ name, isRead }: (typeof all)[number]) => (worth ? worth.has(name) : isRead);
        const sum = (of: typeof all) => of.reduce((total, v) => total + v.bytes, 0);
        const names = (of: typeof all) => of.map((v) => v.name).sort();
        const { checkpoint, saved, inner } = chain(1);
        const inThrees = chain(3);
        expect(bytes).toBe(sum(all.filter(isWorth)));
        for (let s = 0; s < count; s++) {
          const own = all.filter((v) => v.from === s);
          const keeps = own.filter((v) => isWorth(v) || v.blocks.some((b) => b > s));
          expect([...kept(s)].sort()).toEqual(names(keeps));
          expect([saved(s), inThrees.saved(s)]).toEqual([sum(keeps), Math.ceil(sum(keeps) / 3)]);
          expect(inner(s)).toBe(sum(own.filter((v) => v.asksFrom.some((b) => b <= s))));
          const nodes = forward.nodes.filter((n) => blockOf.get(n.name) === s);
          expect(seconds[s]).toBeCloseTo(
            nodes.reduce((total, n) => total + forward.seconds(n), 0),
            15,
          );
          for (let c = s + 1; c < count; c++) {
            const passes = all.filter((v) => v.from < c && v.blocks.some((b) => b >= c));
            expect([...passing(c)].sort()).toEqual(names(passes));
            expect(checkpoint(s, c)).toBe(sum(passes.filter((v) => v.from >= s)));
          }
        }
      }
    },
  );

  it('has a block for each node of a small one, and cuts a large one where little passes, evenly by time', () => {
    const small = forwardOf(smallModels.mlp);
    const nodes = small.nodes.filter((n) => !n.op!.alias);
    expect(blocksOf(small).count).toBe(nodes.length);
    const even = equalLayers(24);
    const gpt = modelOf({ kind: 'gpt', vocab: 5, context: 3, layers: 6, heads: 1, width: 4, mlpRatio: 2 });
    for (const model of [even, gpt]) {
      const forward = forwardOf(model);
      const { blockOf, count, seconds } = blocksOf(forward);
      expect(count).toBeLessThanOrEqual(MOST_BLOCKS);
      const runs = forward.nodes.filter((n) => !n.op!.alias);
      expect(runs.length).toBeGreaterThan(MOST_BLOCKS);
      // Bytes in front of each node that are read at it or behind, forward or backward.
      const place = new Map(forward.nodes.map((n, i) => [n.name, i]));
      const lives = facts(forward, place);
      const passing = runs.map((n) => {
        const i = place.get(n.name)!;
        return lives.reduce((sum, v) => sum + (v.from < i && v.blocks.some((b) => b >= i) ? v.bytes : 0), 0);
      });
      runs.forEach((n, k) => {
        if (k === 0 || blockOf.get(n.name) === blockOf.get(runs[k - 1]!.name)) return;
        // Of a run of equal bytes any place will do, where more passes in front of the run and behind it.
        let [from, to] = [k, k];
        while (from > 1 && passing[from - 1] === passing[k]) from--;
        while (passing[to + 1] === passing[k]) to++;
        if (from > 1) expect(passing[from - 1]).toBeGreaterThan(passing[k]!);
        if (to + 1 < passing.length) expect(passing[to + 1]).toBeGreaterThan(passing[k]!);
      });
      expect(count).toBeGreaterThan(MOST_BLOCKS / 4);
      // Where there is a place everywhere.
      if (model !== even) continue;
      const total = seconds.reduce((a, b) => a + b, 0);
      expect(Math.max(...seconds)).toBeLessThan((2 * total) / count);
    }
  });
});
