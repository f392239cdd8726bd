import { describe, expect, it } from 'vitest';
import { analyticCosts, nodeSeconds } from '../../src/cost/model.ts';
import type { Node } from '../../src/graph/graph.ts';
import { copiesOf } from '../../src/lower/kernel-call.ts';
import { lowerNode } from '../../src/lower/lower.ts';
import { leaders } from '../../src/partition/stage-of.ts';
import { stepTimeBound } from '../../src/plan/step-bound.ts';
import { smallModels } from '../support/built-in.ts';
import { planOf, threeLayers } from '../support/models.ts';
import { randomModel } from '../support/random-model.ts';

const costs = analyticCosts({ device: { flopsPerSecond: 1e6, bytesPerSecond: 1e7, secondsPerKernel: 1e-7, speed: 1 } });

/** The bound by its definition: every way through a microbatch is walked. */
function byDefinition(nodes: readonly Node[], speeds: readonly number[], M: number): number {
  const copies = (n: Node) => {
    const types = { inputs: n.inputs.map((t) => t.type), outputs: n.outputs.map((t) => t.type) };
    return copiesOf(lowerNode('wasm', { op: n.op!.name, ...types, attrs: n.attrs }).calls) !== undefined;
  };
  // What a program may do without: sums that are made in place, and bytes that are read where they lie.
  const vanishes = (n: Node) => n.op && !n.op.alias && (n.op.accumulates || copies(n));
  const seconds = (n: Node) => (vanishes(n) ? 0 : nodeSeconds(n, costs));
  const isMicro = (n: Node) => n.source === undefined && n.region === 'micro';
  const before = (n: Node) => n.inputs.map((t) => t.node).filter((p) => isMicro(p) && !p.op!.accumulates);
  const readers = new Map<Node, Node[]>(nodes.map((n) => [n, []]));
  for (const n of nodes.filter(isMicro)) for (const p of before(n)) readers.get(p)!.push(n);
  const memo = (longest: (n: Node) => number) => {
    const known = new Map<Node, number>();
    return (n: Node): number => {
      if (!known.has(n)) known.set(n, longest(n));
      return known.get(n)!;
    };
  };
  const head: (n: Node) => number = memo((n) => Math.max(0, ...before(n).map((p) => head(p) + seconds(p))));
  const tail: (n: Node) => number = memo((n) => Math.max(0, ...readers.get(n)!.map((r) => tail(r) + seconds(r))));
  const of = leaders(nodes[0]!.outputs[0]!.graph);
  const works = nodes.filter((n) => isMicro(n) && !n.op!.alias);
  const bounds = [...new Set(works.flatMap((n) => of[n.id] ?? []))].map((leader) => {
    const part = works.filter((n) => of[n.id] === leader);
    const work = part.reduce((sum, n) => sum + seconds(n), 0);
    return Math.min(...part.map(head)) + M * work + Math.min(...part.map(tail));
  });
  const all = nodes.reduce((sum, n) => sum + (isMicro(n) ? M : 1) * seconds(n), 0);
  return Math.max(all / speeds.reduce((a, b) => a + b), Math.max(...bounds) / Math.max(...speeds));
}

describe('the bound on step times', () => {
  it.each([
    ['one device: all work', [1], 3],
    ['many devices: the heaviest part, what leads to it and what follows', [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 2],
    ['a fast one among slow ones', [0.5, 4, 0.5], 5],
  ])('%s', (_, speeds, M) => {
    const plans = [threeLayers, randomModel(7), randomModel(21), randomModel(40)].map((m) => planOf(m, { batch: 8 }));
    // Here nodes of a microbatch read sums over all of them.
    plans.push(planOf(smallModels.resnet, { batch: 8, batchNorm: 'exact', schedule: 'gpipe' }));
    for (const { graphs } of plans) {
      const graph = graphs.train!;
      const expected = byDefinition(graph.nodes, speeds, M);
      expect(stepTimeBound(graph, { costs, speeds, microbatches: M })).toBeCloseTo(expected, 12);
    }
  });

  it('knows that what is computed again need not be', () => {
    let clones = 0;
    for (const model of [threeLayers, smallModels.gpt, smallModels.resnet]) {
      const of = (recompute: 'none' | 'stage') => {
        const { graphs } = planOf(model, { batch: 8, devices: 2, microbatches: 4, recompute });
        clones += graphs.train!.nodes.filter((n) => n.recomputes).length;
        return [1, 12].map((n) => {
          return stepTimeBound(graphs.train!, { costs, speeds: new Array<number>(n).fill(1), microbatches: 4 });
        });
      };
      const [plain, again] = [of('none'), of('stage')];
      expect(again[0]).toBeCloseTo(plain[0]!, 12);
      expect(again[1]).toBeCloseTo(plain[1]!, 12);
    }
    expect(clones).toBeGreaterThan(0);
  });
});
