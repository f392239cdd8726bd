/** Pipelines of a training that only exist on paper: their stages' times and messages, played by the simulator. */
import type { LinkModel } from '../../cost/analytic.ts';
import type { CostModel } from '../../cost/model.ts';
import type { Graph } from '../../graph/graph.ts';
import { partitionByBalance } from '../../partition/balance.ts';
import { stageMap } from '../../partition/stage-of.ts';
import { type ChainUnits, chainUnits } from '../../partition/units.ts';
import { stageCosts } from '../../plan/stage-costs.ts';
import {
  type Durations,
  makeSchedule,
  namedSchedules,
  type ScheduleName,
  schedulePlacement,
  type TaskKind,
} from '../../schedule/index.ts';
import { pipelineProgram, type Simulation, simulate } from '../../simulate/index.ts';
import { idealBubble } from '../schedule-forms.ts';

/** What a pipeline's stages take, for a microbatch and for a step. */
export interface StageFigures {
  readonly durations: readonly Durations[];
  readonly stepSeconds: readonly number[];
  /** Bytes between neighbouring stages, forward and back, for a microbatch. */
  readonly forwardBytes: readonly number[];
  readonly backwardBytes: readonly number[];
}

/** The most stages that the experiment's graph can be cut into. */
export const mostStages = (graph: Graph, costs: CostModel): number => chainUnits(graph, costs).units.length;

/** The model, cut into stages of balanced time. */
export function cutModel(graph: Graph, costs: CostModel, stages: number, microbatches: number): StageFigures {
  const partition = partitionByBalance(graph, 'time', { stages, exactly: true, microbatches, costs });
  const { durations, stepSeconds } = stageCosts(graph, stageMap(graph, partition), { stages, costs });
  const { forward, backward } = bytesAtCuts(chainUnits(graph, costs), partition.assignment, stages);
  return { durations, stepSeconds, forwardBytes: forward, backwardBytes: backward };
}

/** What crosses each boundary between neighbours; a value that skips stages is passed on through them. */
function bytesAtCuts({ units, boundaries }: ChainUnits, assignment: Readonly<Record<string, number>>, stages: number) {
  const forward = new Array<number>(Math.max(0, stages - 1)).fill(0);
  const backward = [...forward];
  let stage = 0;
  units.forEach((unit, i) => {
    const next = assignment[unit.nodes[0]!]!;
    // A boundary between two stages is that in front of the later one's first unit.
    for (; stage < next; stage++) {
      forward[stage] = boundaries[i]!.forward.bytes;
      backward[stage] = boundaries[i]!.backward.bytes;
    }
  });
  return { forward, backward };
}

/**
 * A pipeline whose every device holds as much work as the whole model: `perDevice` equal stages that share it, and between
 * any two what crosses the model's own cut in two.
 */
export function repeatModel(
  graph: Graph,
  costs: CostModel,
  devices: number,
  perDevice: number,
  microbatches: number,
): StageFigures {
  const whole = stageCosts(graph, () => 0, { stages: 1, costs });
  const halves = mostStages(graph, costs) > 1 ? cutModel(graph, costs, 2, microbatches) : undefined;
  const share = (seconds: number): number => seconds / perDevice;
  const { F, B, W } = splitAs(whole.durations[0]!, halves);
  const stages = devices * perDevice;
  const each = <T>(value: T, count = stages): T[] => Array.from({ length: count }, () => value);
  return {
    durations: each({ F: share(F), B: share(B), W: share(W) }),
    stepSeconds: each(share(whole.stepSeconds[0]!)),
    forwardBytes: each(halves?.forwardBytes[0] ?? 0, stages - 1),
    backwardBytes: each(halves?.backwardBytes[0] ?? 0, stages - 1),
  };
}

/** A single stage sends no gradient on, so all of its backward is W; behind another it divides as its later half does. */
function splitAs({ F, B, W }: Durations, halves: StageFigures | undefined): Durations {
  const later = halves?.durations[1];
  const both = later ? later.B + later.W : 0;
  if (!later || both === 0) return { F, B, W };
  return { F, B: ((B + W) * later.B) / both, W: ((B + W) * later.W) / both };
}

export interface Pipeline {
  readonly schedule: ScheduleName;
  readonly devices: number;
  readonly stagesPerDevice: number;
  readonly microbatches: number;
  readonly figures: StageFigures;
  readonly link: LinkModel;
  readonly costs: CostModel;
}

export interface PlayedPipeline {
  readonly simulation: Simulation;
  readonly bubbleClosedForm: number | null;
}

export function playPipeline(pipeline: Pipeline): PlayedPipeline {
  const { schedule: name, devices, stagesPerDevice, microbatches, figures, link, costs } = pipeline;
  const stages = devices * stagesPerDevice;
  const placement = schedulePlacement(name, devices, stagesPerDevice);
  const schedule = makeSchedule(name, { stages, microbatches, placement, devices });
  const update = new Array<number>(devices).fill(0);
  figures.stepSeconds.forEach((seconds, s) => {
    update[placement[s]!]! += seconds;
  });
  const simulation = simulate(
    pipelineProgram({
      stages,
      microbatches,
      devices,
      placement,
      row: (device) => schedule.rows[device]!,
      seconds: ({ kind, stage }) => secondsOf(figures.durations[stage]!, kind),
      messageBytes: (from, to) => (from < to ? figures.forwardBytes[from]! : figures.backwardBytes[to]!),
      updateSeconds: (device) => update[device]!,
    }),
    {
      devices: Array.from({ length: devices }, () => ({ backend: 'wasm', speed: 1 })),
      costs: { ...costs, link: () => link },
    },
    { record: false },
  );
  const mean = (kind: 'F' | 'B' | 'W') => figures.durations.reduce((sum, d) => sum + d[kind], 0) / stages;
  return {
    simulation,
    bubbleClosedForm: idealBubble(schedule, devices, { F: mean('F'), B: mean('B'), W: mean('W') }),
  };
}

const secondsOf = ({ F, B, W }: Durations, kind: TaskKind): number =>
  kind === 'F' ? F : kind === 'B' ? B : kind === 'W' ? W : B + W;

/** Stages a device by which a schedule is usually run. */
export const usualStages = (name: ScheduleName): number => namedSchedules[name].stagesPerDevice;
