import { UsageError } from '../core/errors.ts';
import type { LinkModel } from '../cost/analytic.ts';
import {
  type Parallelism,
  type TransformerShape,
  type TransformerTimes,
  transformerWork,
} from '../cost/transformer.ts';
import { makeSchedule, playClock, type ScheduleName, type TaskKind } from '../schedule/index.ts';

export interface IterationOptions {
  /** Between neighbouring stages. */
  readonly link: LinkModel;
  /** Default `1f1b`. */
  readonly schedule?: ScheduleName;
}

/** F, B and W make one matrix product each where there is one, and take a third of the time; BW is both backwards. */
const shares: Readonly<Record<TaskKind, number>> = { F: 1 / 3, B: 1 / 3, W: 1 / 3, BW: 2 / 3 };

/**
 * Seconds of one iteration: layers in equal blocks on the stages of a pipeline, the head behind the last one, played by the
 * schedule's clock; then every stage reduces the gradients of its parameters and updates them. The embedding is looked up on
 * the first stage and shared with the head, so with a pipeline both ends update a copy. Throws UsageError where the layout has
 * more stages than the model has layers.
 */
export function transformerIteration(
  shape: TransformerShape,
  layout: Parallelism,
  times: TransformerTimes,
  { link, schedule = '1f1b' }: IterationOptions,
): number {
  const { boundaryBytes } = transformerWork(shape, layout);
  const { pipeline: stages, microbatches } = layout;
  if (stages > shape.layers) {
    throw new UsageError('transformer-stages', `${stages} stages for ${shape.layers} layers: some would have none`, {
      fields: { stages, layers: shape.layers },
      remedy: `pipeline: ${shape.layers}`,
    });
  }
  const layersOf = (s: number): number =>
    Math.floor((shape.layers * (s + 1)) / stages) - Math.floor((shape.layers * s) / stages);
  const seconds = Array.from(
    { length: stages },
    (_, s) => layersOf(s) * times.layerSeconds + (s === stages - 1 ? times.headSeconds : 0),
  );
  const clock = playClock(makeSchedule(schedule, { stages, microbatches }), {
    durations: (t) => seconds[t.stage]! * shares[t.kind],
    link: link.secondsLatency + boundaryBytes / link.bytesPerSecond,
  });
  return Math.max(
    ...clock.rows.map((row, s) => {
      const ends = s === 0 || s === stages - 1;
      return row.at(-1)!.end + layersOf(s) * times.layerUpdateSeconds + (ends ? times.embeddingUpdateSeconds : 0);
    }),
  );
}
