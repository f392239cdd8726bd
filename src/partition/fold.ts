/**
 * Gradients within a model, in a pipeline.
 *
 * A partition cuts the model itself into a chain of S stages. Its gradient flows the other way, so that a model that uses
 * its own gradient (a gradient penalty, a Hessian-vector product) is a chain of 2S: the forward values, and behind them the
 * gradients, folded back over the same stages. The gradient of that is the second half of a chain of 4S, and so on:
 *
 *     stage of the model       0  1  2
 *     order 0                  0→ 1→ 2 ┐
 *     order 1                  5← 4← 3 ┘     5 = 2·3 − 1 − 0
 *     order 2                  6→ 7→ 8 ┐     of order-1 values: 6 = 4·3 − 1 − 5
 *                             11←10← 9 ┘     of order-0 values: 11 = 4·3 − 1 − 0
 *
 * Edges lead to higher stages only, as in any model; each stage of a column runs on the device of the column. The backward
 * pass of a training step goes through the whole chain in reverse like that of any other model.
 */
import type { Graph } from '../graph/graph.ts';

/** Highest order of a value that is computed forward. */
export const highestOrder = (graph: Graph): number =>
  graph.nodes.reduce((most, n) => (n.pass === 0 && n.region === 'micro' ? Math.max(most, n.order) : most), 0);

/** Stages of the chain where the model itself has `stages` and holds gradients up to `order`. */
export const foldedStages = (stages: number, order: number): number => stages * 2 ** order;

/** Where a gradient of this order is of a value on stage `of`. */
export const mirrored = (of: number, stages: number, order: number): number => foldedStages(stages, order) - 1 - of;

/** The model's own stage that a stage of the folded chain shares a device with. */
export function columnOf(stage: number, stages: number): number {
  let length = stages;
  while (length <= stage) length *= 2;
  for (; length > stages; length /= 2) if (stage >= length / 2) stage = length - 1 - stage;
  return stage;
}

/** Devices of all stages of the folded chain. */
export const foldedPlacement = (placement: readonly number[], order: number): number[] =>
  Array.from(
    { length: foldedStages(placement.length, order) },
    (_, stage) => placement[columnOf(stage, placement.length)]!,
  );
