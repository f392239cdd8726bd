import { requireKinds } from '../core/options.ts';
import type { Graph } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import type { Partition } from './partition.ts';
import { forwardNodes } from './stage-of.ts';

/**
 * The split that people make by hand: the model's layers in their order, as many on each stage as on any other (give or take
 * one). undefined where there are fewer layers than stages.
 */
export function partitionByLayers(graph: Graph, stages: number): Partition | undefined {
  requireGraph('partitionByLayers', graph);
  requireKinds('partitionByLayers', { stages: ['count', stages] });
  const nodes = forwardNodes(graph);
  const starts = layerStarts(nodes.map((n) => n.name));
  if (starts.length < stages) return undefined;
  const cuts = Array.from({ length: stages - 1 }, (_, s) => starts[Math.round(((s + 1) * starts.length) / stages)]!);
  let stage = 0;
  const assignment = Object.fromEntries(
    nodes.map(({ name }, i) => {
      if (i === cuts[stage]) stage++;
      return [name, stage];
    }),
  );
  return { stages, assignment, method: 'layers' };
}

/**
 * Where each layer's first node stands. What lies in no layer, or in one that has begun before, goes with the layer before
 * it, or with the first: a model's input, its loss, a weight that is used again.
 */
export function layerStarts(names: readonly string[]): number[] {
  const seen = new Set<string>();
  return names
    .flatMap((name, i) => {
      const layer = layerOf(name);
      if (layer === undefined || seen.has(layer)) return [];
      seen.add(layer);
      return [i];
    })
    .map((at, k) => (k === 0 ? 0 : at));
}

/**
 * The layer of a node: its scope to the first number in it (`block.3` of `block.3.norm1.layerNorm`, `layer1.0` of a ResNet),
 * where there is none its outermost (`head`). ONNX models have slashes for dots, or both. The objective is no layer.
 */
function layerOf(name: string): string | undefined {
  const scopes = name.split(/[./]/).filter((part) => part !== '');
  scopes.pop(); // the node's own name
  const number = scopes.findIndex((part) => /^\d+$/.test(part));
  const layer = scopes.slice(0, number < 0 ? 1 : number + 1).join('.');
  return layer === '' || layer === 'loss' ? undefined : layer;
}
