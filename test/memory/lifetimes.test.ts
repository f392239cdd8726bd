import { describe, expect, it } from 'vitest';
import { elementCount } from '../../src/core/types.ts';
import { evaluate, toReference } from '../../src/graph/evaluate.ts';
import type { Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { f32, planOf } from '../support/models.ts';

const layouts = (['gpipe', '1f1b'] as const).flatMap((schedule) =>
  [1, 2].flatMap((devices) => [1, 2, 4].map((microbatches) => ({ schedule, devices, microbatches }))),
);

describe.each(smallModelKinds)('%s', (kind) => {
  it('never holds more alive at once than in the order of the graph with bytes of its own for every value', () => {
    let lower = 0;
    for (const layout of layouts) {
      const optimizer = { kind: 'adam' } as const;
      const short = planOf(smallModels[kind], { ...layout, optimizer });
      const plain = planOf(smallModels[kind], { ...layout, optimizer, lifetimes: 'plain' });
      short.memory.forEach(({ maxLive, peakBytes, layouts: { train } }, d) => {
        const before = plain.memory[d]!.maxLive;
        expect(maxLive).toBeLessThanOrEqual(before);
        expect(peakBytes).toBeLessThanOrEqual(1.002 * plain.memory[d]!.peakBytes);
        const { graphOrderBytes, bytes, tasks } = short.programs.train!.orders[d]!;
        expect(graphOrderBytes + train!.maxLive - bytes).toBeLessThanOrEqual(before);
        expect(tasks.length > 0).toBe(bytes < graphOrderBytes);
        if (maxLive < before) lower++;
      });
    }
    expect(lower).toBeGreaterThan(0);
  });

  it('keeps parameters, optimizer state and constants where they are used, parameters and state on one device only', () => {
    for (const schedule of ['gpipe', '1f1b'] as const) {
      const plan = planOf(smallModels[kind], { schedule, devices: 3, microbatches: 2, optimizer: { kind: 'adam' } });
      const owned = plan.memory
        .flatMap((m) => m.persistent.map((p) => p.name))
        .filter((n) => !n.startsWith('constant '));
      expect(new Set(owned).size).toBe(owned.length);
      const graph = plan.graphs.train!;
      const all = (['parameter', 'buffer', 'state'] as const).flatMap((k) =>
        graph.sources(k).map((t) => t.node.source!.name),
      );
      expect([...owned].sort()).toEqual(all.sort());
      for (const { buffers, instructions } of plan.programs.train!.devices) {
        const used = new Set(instructions.flatMap((i) => (i.kind === 'compute' ? [...i.inputs, ...i.outputs] : [])));
        for (const b of buffers) {
          if (b.persistent?.startsWith('constant ')) expect(used.has(b.id), b.name).toBe(true);
        }
      }
    }
  });

  it('saves no two values for the backward pass that are the same numbers', () => {
    const plan = planOf(smallModels[kind], { batch: 4 });
    const graph = plan.graphs.train!;
    const feeds = new Map<Tensor, RefTensor>();
    for (const [i, t] of graph.nodes
      .filter((n) => n.source && !n.source.value)
      .map((n) => n.outputs[0]!)
      .entries()) {
      const { data } = f32(t.shape, i + 1);
      const type = t.type;
      feeds.set(
        t,
        toReference({ type, data: type.dtype === 'f32' ? data : Int32Array.from(data, (v, j) => (v > 0 ? j % 2 : 0)) }),
      );
    }
    const saved = new Set(
      plan.programs
        .train!.devices[0]!.buffers.filter((b) => b.category === 'savedActivations' && b.bytes > 8)
        .map((b) => b.name.replace(/@0$/, '')),
    );
    const tensors = graph.nodes.flatMap((n) => n.outputs).filter((t) => saved.has(t.name) && elementCount(t.shape) > 2);
    expect(tensors.length).toBeGreaterThanOrEqual(2);
    const seen = new Map<string, string>();
    evaluate(tensors, feeds).forEach(({ data }, i) => {
      const numbers = data.join();
      expect(`${seen.get(numbers) ?? 'nothing'} is ${tensors[i]!.name} again`).toBe(
        `nothing is ${tensors[i]!.name} again`,
      );
      seen.set(numbers, tensors[i]!.name);
    });
  });
});
