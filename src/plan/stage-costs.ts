/** What the stages of a partition cost, without a program: for planners that weigh many schedules before they compile one. */
import { byteSize } from '../core/types.ts';
import { transferSeconds } from '../cost/analytic.ts';
import { type CostModel, nodeSeconds } from '../cost/model.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import { columnOf } from '../partition/fold.ts';
import { divideIntoTasks } from '../program/stage-tasks.ts';
import type { Durations, StageEdge, Task } from '../schedule/index.ts';
import type { PlannedDevice } from './request.ts';
import { relativeSpeed } from './stages.ts';

/** Figures of one microbatch on devices of speed 1 with the WebAssembly backend. */
export interface StageCosts {
  /** Seconds of the tasks of each stage. */
  readonly durations: readonly Durations[];
  /** Seconds of each stage's totals and updates, once a step. */
  readonly stepSeconds: readonly number[];
  /** Bytes and messages from a stage to a higher one, forward, and back, by `from>to` of the sending direction. */
  readonly traffic: ReadonlyMap<string, { readonly bytes: number; readonly messages: number }>;
  /** Bytes that a stage keeps whatever the schedule: parameters, gradients and optimizer state. */
  readonly fixedBytes: readonly number[];
  /** Bytes of `fixedBytes` that are gradients, which nobody holds before the stage's first weight gradient of a step. */
  readonly gradientBytes: readonly number[];
  /** Bytes that a stage holds for each microbatch in flight: forward values that its derivatives read, each once. */
  readonly heldBytes: readonly number[];
}

/** `stages`: of the schedule (the folded chain where the model holds gradients of itself); `own`: of the partition. */
export function stageCosts(
  graph: Graph,
  stageOf: (node: Node) => number,
  { stages, own = stages, costs }: { stages: number; own?: number; costs: CostModel },
): StageCosts {
  const seconds = (nodes: readonly Node[]) => nodes.reduce((sum, n) => sum + nodeSeconds(n, costs), 0);
  const durations = divideIntoTasks(graph, stages, stageOf).map(({ F, B, W }) => ({
    F: seconds(F),
    B: seconds(B),
    W: seconds(W),
  }));
  const stepSeconds = new Array<number>(stages).fill(0);
  const fixedBytes = new Array<number>(stages).fill(0);
  const gradientBytes = new Array<number>(stages).fill(0);
  const heldBytes = new Array<number>(stages).fill(0);
  const traffic = new Map<string, { bytes: number; messages: number }>();
  /** Stages that have a value already: it is sent to each once, and kept there once. */
  const arrived = new Set<string>();
  const held = new Set<string>();
  for (const node of graph.nodes) {
    const stage = stageOf(node);
    const home = columnOf(stage, own);
    if (node.source) {
      const { kind } = node.source;
      if (kind === 'parameter' || kind === 'state') fixedBytes[home]! += byteSize(node.outputs[0]!.type);
      continue;
    }
    if (node.op!.alias) continue;
    if (node.op!.accumulates) {
      const bytes = byteSize(node.outputs[0]!.type);
      fixedBytes[home]! += bytes;
      gradientBytes[home]! += bytes;
    }
    if (node.region === 'step') {
      stepSeconds[stage]! += nodeSeconds(node, costs);
      continue;
    }
    for (const t of node.inputs) {
      const root = rootOf(t);
      const { kind } = root.node.source ?? {};
      if (isStepValue(root) || kind === 'constant') continue;
      const from = kind === 'input' ? stage : stageOf(root.node);
      const key = `${root.node.id}.${root.index}>${stage}`;
      if (node.pass > 0 && root.node.pass === 0 && !held.has(key)) {
        held.add(key);
        heldBytes[stage]! += byteSize(root.type);
      }
      if (from === stage || arrived.has(key)) continue;
      arrived.add(key);
      const pair = `${from}>${stage}`;
      const known = traffic.get(pair) ?? { bytes: 0, messages: 0 };
      traffic.set(pair, { bytes: known.bytes + byteSize(root.type), messages: known.messages + 1 });
    }
  }
  return { durations, stepSeconds, traffic, fixedBytes, gradientBytes, heldBytes };
}

/** Seconds of each task on the device of its stage. */
export function taskSeconds(
  { durations }: Pick<StageCosts, 'durations'>,
  placement: readonly number[],
  devices: readonly PlannedDevice[],
): (task: Task) => number {
  const speeds = placement.map((d) => relativeSpeed(devices[d]));
  return ({ kind, stage }) => {
    const { F, B, W } = durations[stage]!;
    return { F, B, W, BW: B + W }[kind] / speeds[stage]!;
  };
}

/** Seconds of the updates behind a step's tasks, on the device where they take longest. */
export function updateSeconds(
  { stepSeconds }: StageCosts,
  placement: readonly number[],
  devices: readonly PlannedDevice[],
): number {
  const updates = devices.map(() => 0);
  stepSeconds.forEach((seconds, s) => {
    const d = placement[s]!;
    updates[d]! += seconds / relativeSpeed(devices[d]);
  });
  return Math.max(...updates);
}

/** Seconds from the end of a task on one stage to its use on another, for the stages' own devices. */
export function linkSeconds(
  { traffic }: StageCosts,
  placement: readonly number[],
  costs: CostModel,
): (from: number, to: number) => number {
  return (from, to) => {
    const [a, b] = [placement[from]!, placement[to]!];
    const moved = a === b ? undefined : traffic.get(`${from}>${to}`);
    return moved ? transferSeconds(moved.bytes, moved.messages, costs.link(a, b)) : 0;
  };
}

/** Pairs of stages between which values pass forward: what a schedule must respect. */
export function forwardEdges({ traffic }: StageCosts): StageEdge[] {
  const edges = new Map<string, StageEdge>();
  for (const pair of traffic.keys()) {
    const [a, b] = pair.split('>').map(Number) as [number, number];
    const [low, high] = a < b ? [a, b] : [b, a];
    edges.set(`${low}>${high}`, [low, high]);
  }
  return [...edges.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}
