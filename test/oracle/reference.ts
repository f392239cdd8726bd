/** Values for `evaluate`, the f64 reference. */
import type { HostTensor } from '../../src/core/types.ts';
import { toReference } from '../../src/graph/evaluate.ts';
import type { Graph, Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';

/** Inputs from a batch of `size` samples (all targets count), parameters and buffers from their initial values. */
export function feedsOf(
  graph: Graph,
  batch: Readonly<Record<string, HostTensor>>,
  size: number,
): Map<Tensor, RefTensor> {
  const scalar = (value: number): RefTensor => ({ type: { dtype: 'f32', shape: [] }, data: Float64Array.of(value) });
  const feeds = new Map<Tensor, RefTensor>();
  for (const input of graph.sources('input')) {
    const { feed, name } = input.node.source!;
    if (feed!.kind === 'data') feeds.set(input, toReference(batch[name]!));
    else if (feed!.kind === 'inverseElements') feeds.set(input, scalar(1 / (feed!.perSample * size)));
    else if (feed!.kind === 'inverseCount') feeds.set(input, scalar(1 / batch[feed!.target]!.data.length));
  }
  for (const kept of [...graph.parameters, ...graph.sources('buffer')]) {
    const { init } = kept.node.source!;
    if (init?.kind === 'data') feeds.set(kept, toReference({ type: kept.type, data: init.data }));
  }
  return feeds;
}
