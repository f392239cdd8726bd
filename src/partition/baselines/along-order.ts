import { topological } from '../ideals.ts';
import type { PlacementMethod } from '../placement-method.ts';
import type { PlacementProblem } from '../problem.ts';
import { workBound } from '../work-bound.ts';

/**
 * What people and other systems do, behind the interface of methods: parts in one topological order, cut into as many
 * stages as there are accelerators. Baselines know nothing of transfers or capacities unless they say so; what they are
 * worth is the evaluator's word.
 */
export function alongOrder(
  name: string,
  doc: string,
  /** First position of stages 1, 2, …, ascending; as many as wanted but one, or fewer. */
  cut: (problem: PlacementProblem, order: readonly number[], stages: number) => readonly number[],
): PlacementMethod {
  return {
    name,
    doc,
    finds: 'contiguous',
    baseline: true,
    solve: async (problem) => {
      const devices = stageDevices(problem);
      const { order } = topological(problem.parts.length, problem.edges);
      const cuts = cut(problem, order, Math.min(devices.length, order.length));
      const deviceOf = new Array<number>(order.length).fill(devices[0]!);
      let stage = 0;
      order.forEach((part, i) => {
        while (stage < cuts.length && cuts[stage]! <= i) stage++;
        deviceOf[part] = devices[stage]!;
      });
      return { deviceOf, lowerBound: workBound(problem) };
    },
  };
}

/** The accelerators, or where there are none the CPUs. */
export function stageDevices({ devices }: PlacementProblem): number[] {
  const of = (kind: 'accelerator' | 'cpu'): number[] => devices.flatMap((d, i) => (d.kind === kind ? [i] : []));
  return of('accelerator').length > 0 ? of('accelerator') : of('cpu');
}

/** Work of the parts in order on the first device of the stages; parts that cannot run there count nothing. */
export function orderedWork(problem: PlacementProblem, order: readonly number[]): number[] {
  const cpu = problem.devices[stageDevices(problem)[0]!]!.kind === 'cpu';
  return order.map((p) => {
    const { work, cpuWork = work } = problem.parts[p]!;
    const time = cpu ? cpuWork : work;
    return Number.isFinite(time) ? time : 0;
  });
}
