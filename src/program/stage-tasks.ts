import type { Graph, Node } from '../graph/graph.ts';
import { leadingOut } from '../graph/leading-out.ts';
import { isSilent } from './values.ts';

/** What a task of the schedule runs of a stage. */
export interface StageTasks {
  readonly F: readonly Node[];
  readonly B: readonly Node[];
  readonly W: readonly Node[];
  /** B and W in one, in graph order: each weight gradient right behind what it needs. */
  readonly BW: readonly Node[];
  /** Everything, for schedules without backward tasks. */
  readonly all: readonly Node[];
}

/**
 * Divides a training graph's micro nodes into the stages' forward (F), backward-for-activations (B) and
 * backward-for-weights (W) tasks. B is told from W by construction: a derivative node belongs to B when a derivative node
 * of another stage depends on it; what only leads to accumulators and results is W and may wait.
 */
export function divideIntoTasks(graph: Graph, stages: number, stageOf: (node: Node) => number): StageTasks[] {
  const boundary = leadingOut(graph, stageOf);
  const tasks = Array.from({ length: stages }, () => ({
    F: [] as Node[],
    B: [] as Node[],
    W: [] as Node[],
    BW: [] as Node[],
    all: [] as Node[],
  }));
  for (const node of accumulatingEarly(graph)) {
    if (isSilent(node) || node.region === 'step') continue;
    const stage = tasks[stageOf(node)]!;
    stage.all.push(node);
    if (node.pass === 0) stage.F.push(node);
    else {
      stage.BW.push(node);
      (boundary.has(node) ? stage.B : stage.W).push(node);
    }
  }
  return tasks;
}

/** Graph order, but each accumulation right behind what it adds, so that the addend dies at once. */
function accumulatingEarly(graph: Graph): Node[] {
  const position = (node: Node): number => (node.op?.accumulates ? node.inputs.at(-1)!.node.id + 0.5 : node.id);
  return [...graph.nodes].sort((a, b) => position(a) - position(b) || a.id - b.id);
}
