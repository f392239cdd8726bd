import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Node } from '../../src/graph/graph.ts';
import { stageMap } from '../../src/partition/index.ts';
import { divideIntoTasks } from '../../src/program/stage-tasks.ts';
import { planOf, threeLayers } from '../support/models.ts';
import { randomModel, randomStages } from '../support/random-model.ts';

/** By the definition: a walk forward from the node, within the microbatch, meets a node of another stage. */
function leavesStage(node: Node, nodes: readonly Node[], stageOf: (n: Node) => number): boolean {
  const met = new Set([node]);
  for (const other of nodes) {
    if (other.region !== 'micro' || met.has(other) || !other.inputs.some((t) => met.has(t.node))) continue;
    if (stageOf(other) !== stageOf(node)) return true;
    met.add(other);
  }
  return false;
}

describe('the tasks of stages', () => {
  it('are all that runs in a microbatch, once: B what another stage waits for, W what only adds up', () => {
    let [b, w] = [0, 0];
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 4 }), (seed, most) => {
        const model = randomModel(seed);
        const wanted = randomStages(model, most, seed);
        const used = [...new Set(Object.values(wanted))].sort((x, y) => x - y);
        const stages = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
        const plan = planOf(model, { batch: 4, partition: { stages }, placement: used.map(() => 0) });
        const graph = plan.graphs.train!;
        const stageOf = stageMap(graph, plan.partition);
        const tasks = divideIntoTasks(graph, used.length, stageOf);
        const running = graph.nodes.filter((n) => !n.source && !n.op!.alias && n.region === 'micro');
        expect(tasks.flatMap((t) => t.all)).toHaveLength(running.length);
        tasks.forEach(({ F, B, W, BW, all }, s) => {
          const own = running.filter((n) => stageOf(n) === s);
          const [back, front] = [own.filter((n) => n.pass > 0), own.filter((n) => n.pass === 0)];
          const leaving = back.filter((n) => leavesStage(n, graph.nodes, stageOf));
          expect(new Set(F)).toEqual(new Set(front));
          expect(new Set(B)).toEqual(new Set(leaving));
          expect(new Set(W)).toEqual(new Set(back.filter((n) => !leaving.includes(n))));
          expect([F.length, B.length + W.length, BW.length]).toEqual([front.length, back.length, back.length]);
          expect(new Set(BW)).toEqual(new Set(back));
          expect(new Set(all)).toEqual(new Set(own));
          b += B.length;
          w += W.length;
        });
      }),
      { numRuns: 40 },
    );
    expect(Math.min(b, w)).toBeGreaterThan(0);
  });

  it('of the first stage have no B; a gradient is added right behind what makes it, so that it dies at once', () => {
    const plan = planOf(threeLayers, { devices: 3, partition: { cuts: ['matmul_1', 'matmul_2'] } });
    const graph = plan.graphs.train!;
    const tasks = divideIntoTasks(graph, 3, stageMap(graph, plan.partition));
    expect(tasks.map((t) => t.B.length > 0)).toEqual([false, true, true]);
    for (const { W, BW, all } of tasks) {
      for (const list of [W, BW, all]) {
        list.forEach((node, i) => {
          if (!node.op!.accumulates) return;
          const addend = node.inputs.at(-1)!.node;
          const made = list.indexOf(addend);
          if (made < 0) return;
          expect(list.slice(made + 1, i).every((n) => n.op!.accumulates)).toBe(true);
        });
      }
    }
  });
});
