import { describe, expect, it } from 'vitest';
import { layerStarts } from '../../src/partition/by-layers.ts';
import { forwardNodes, makePartition, partitionByLayers } from '../../src/partition/index.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

/** Names of the nodes at which layers begin. */
const layersOf = (...names: string[]): string[] => layerStarts(names).map((i) => names[i]!);

describe('the split by layers', () => {
  it('takes scopes to their first number, or the outermost, each where it begins', () => {
    expect(
      layersOf('embed.gather', 'block.0.norm.layerNorm', 'block.0.mlp.2.add', 'block.1.norm.layerNorm', 'head.matmul'),
    ).toEqual(['embed.gather', 'block.0.norm.layerNorm', 'block.1.norm.layerNorm', 'head.matmul']);
  });

  it('leaves what lies in no layer with the one before, the first nodes with the first, the loss with the last', () => {
    expect(layersOf('reshape', 'a.matmul', 'relu', 'b.matmul', 'loss.crossEntropy')).toEqual(['reshape', 'b.matmul']);
  });

  it('does not begin a layer again that is used twice', () => {
    expect(layersOf('wte.gather', 'h.0.add', 'wte.matmul', 'h.1.add')).toEqual(['wte.gather', 'h.0.add', 'h.1.add']);
  });

  it('reads names of ONNX models', () => {
    expect(
      layersOf('/conv1/Conv', '/layer1/layer1.0/conv1/Conv', '/layer1/layer1.0/Add', '/layer1/layer1.1/Add'),
    ).toEqual(['/conv1/Conv', '/layer1/layer1.0/conv1/Conv', '/layer1/layer1.1/Add']);
  });

  it('gives every stage as many layers as any other, give or take one, and is legal on all models', () => {
    for (const kind of smallModelKinds) {
      const graph = planOf(smallModels[kind], { batch: 4 }).graphs.train!;
      const names = forwardNodes(graph).map((n) => n.name);
      const starts = layerStarts(names);
      for (let stages = 1; stages <= starts.length; stages++) {
        const partition = partitionByLayers(graph, stages)!;
        makePartition(graph, { ready: partition }, { stages });
        const counts = Array.from({ length: stages }, (_, s) =>
          starts.filter((i) => partition.assignment[names[i]!] === s),
        );
        const sizes = counts.map((c) => c.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        // No layer is on two stages: stages begin with layers.
        const begins = names.flatMap((name, i) =>
          i > 0 && partition.assignment[name] !== partition.assignment[names[i - 1]!] ? [i] : [],
        );
        expect(begins).toHaveLength(stages - 1);
        for (const i of begins) expect(starts).toContain(i);
      }
      expect(partitionByLayers(graph, starts.length + 1)).toBeUndefined();
    }
  });
});
