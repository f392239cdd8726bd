/** Graphs and stages to schedules, programs and memory, with what is computed again decided. */
import type { CostModel } from '../cost/model.ts';
import { defaultFusion } from '../fusion/modes.ts';
import type { Node } from '../graph/graph.ts';
import { type DeviceMemoryPlan, planDeviceMemory } from '../memory/device-memory.ts';
import { programBuilder } from '../program/build.ts';
import type { GraphOptions, Lifetimes } from '../program/context.ts';
import type { StepProgram } from '../program/instruction.ts';
import { validateProgram } from '../program/validate.ts';
import type { RecomputeChoice } from '../recompute/index.ts';
import type { Schedule, ScheduleShape } from '../schedule/index.ts';
import { compileWithin } from './auto-schedule.ts';
import type { Compiled, Decisions } from './compiled.ts';
import { type Build, fusedIn, recomputeIn } from './graphs.ts';
import type { Plan } from './plan.ts';
import type { ScheduledRequest } from './request.ts';
import { checkSchedule, type StageChain, scheduleFor } from './schedules.ts';
import { withLayoutsThatFit, withLowerPeaks } from './short-lifetimes.ts';
import { stageCosts, taskSeconds } from './stage-costs.ts';

/** Stage of every node of a program's graphs, by program. */
export type StagesByProgram = Readonly<Record<string, (node: Node) => number>>;

/** What is settled of a request before it is chosen what is computed again. */
export interface Frame {
  /** Its schedule is a name, `auto` or a file. */
  readonly request: ScheduledRequest;
  readonly builds: Readonly<Record<string, Build>>;
  /** Stages of those, and of others with the same model. */
  readonly stages: StagesByProgram;
  readonly stagesIn: (builds: Readonly<Record<string, Build>>) => StagesByProgram;
  /** The program that the others follow. */
  readonly mainName: string;
  readonly chain: StageChain;
  readonly costs: CostModel;
  /** Bytes that each device has. */
  readonly limits: readonly number[];
  readonly decided: Decisions | undefined;
}

export interface CompiledGraphs extends Compiled, Pick<Plan, 'graphs' | 'recompute' | 'stageSeconds'> {}

/** `quick`: peaks only say whether they are within the limits. Schedules that are made for the peaks need all of them. */
export function compileChoice(frame: Frame, choice: RecomputeChoice, quick = false): CompiledGraphs {
  const { request, builds, mainName, chain, costs, limits, decided } = frame;
  const within = quick && request.schedule !== 'auto' ? limits : undefined;
  const again = recomputeIn(builds, frame.stages, request.programs, choice);
  const stagesAgain = choice.size === 0 ? frame.stages : frame.stagesIn(again);
  const { builds: run, stages } =
    (request.fusion ?? defaultFusion) === 'on' ? fusedIn(again, stagesAgain) : { builds: again, stages: stagesAgain };
  const graph = run[mainName]!.largest;
  const stageOf = stages[mainName]!;
  // Stages whose times are not what the places for messages were made by wait for each other.
  const stageSeconds =
    request.stageSeconds?.length === chain.stages
      ? request.stageSeconds
      : stageCosts(graph, stageOf, { stages: chain.stages, own: chain.modelStages, costs }).durations;
  const durations = taskSeconds({ durations: stageSeconds }, chain.placement, request.devices);
  const compileWith = (list?: (shape: ScheduleShape) => Schedule): Compiled => {
    const schedules = schedulesOf(frame, run, list);
    const programsWith = programsOf(frame, run, (name) => ({
      stageOf: stages[name]!,
      schedule: schedules[name]!,
      durations,
    }));
    const withLifetimes = (lifetimes: readonly Lifetimes[]): Compiled => {
      const programs = programsWith(lifetimes);
      const memory = request.devices.map((_, d) => memoryOf(frame, d, programs, within));
      return { schedules, programs, lifetimes, memory };
    };
    if (decided) return withLifetimes(decided.lifetimes);
    const rough =
      request.lifetimes === 'plain'
        ? withLifetimes(request.devices.map(() => 'plain'))
        : withLowerPeaks(withLifetimes, request.devices.length, within);
    return within ? rough : withLayoutsThatFit(rough, limits);
  };
  const compiled =
    request.schedule === 'auto'
      ? compileWithin({ graph, stageOf, chain, devices: request.devices, costs }, compileWith)
      : compileWith();
  const graphs = Object.fromEntries(Object.entries(again).map(([name, b]) => [name, b.largest]));
  return { ...compiled, graphs, recompute: choice, stageSeconds };
}

/** `list` makes those of the schedule `auto`. */
function schedulesOf(
  { request, chain }: Frame,
  run: Readonly<Record<string, Build>>,
  list: ((shape: ScheduleShape) => Schedule) | undefined,
): Record<string, Schedule> {
  const schedules: Record<string, Schedule> = {};
  for (const [name, { chunks }] of Object.entries(run)) {
    const schedule = scheduleFor(request, name, chain, chunks.length, list);
    checkSchedule(schedule, request.programs[name]!, chain);
    schedules[name] = schedule;
  }
  return schedules;
}

function programsOf(
  { request, chain }: Frame,
  run: Readonly<Record<string, Build>>,
  of: (name: string) => Pick<GraphOptions, 'stageOf' | 'schedule' | 'durations'>,
): (lifetimes: readonly Lifetimes[]) => Record<string, StepProgram> {
  const builders = Object.entries(run).map(([name, { chunks, graphs }]) => {
    const build = programBuilder({
      chunks,
      graphs,
      perSample: request.invariant ?? false,
      edges: chain.edges,
      backends: request.devices.map((d) => d.backend),
      ...of(name),
    });
    return [name, build] as const;
  });
  return (lifetimes) =>
    Object.fromEntries(
      builders.map(([name, build]) => {
        const program = build(lifetimes);
        validateProgram(program);
        return [name, program];
      }),
    );
}

/** Whether a device has room is not left to a quick layout, where what is alive has. */
function memoryOf(
  { decided, limits }: Frame,
  device: number,
  programs: Readonly<Record<string, StepProgram>>,
  within: readonly number[] | undefined,
): DeviceMemoryPlan {
  if (decided) return planDeviceMemory(device, programs, {}, decided.layouts[device]);
  const found = planDeviceMemory(device, programs, { limit: within?.[device] });
  const isDoubtful = found.peakBytes > limits[device]! && found.maxLive <= limits[device]!;
  return isDoubtful ? planDeviceMemory(device, programs, { effort: 'thorough' }) : found;
}
