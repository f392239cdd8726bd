import { PlacementState } from '../placement-load.ts';
import type { PlacementMethod } from '../placement-method.ts';
import { workBound } from '../work-bound.ts';

/** Everything on the accelerator that takes least time for it; on a CPU where there is no accelerator. */
export const singleDevice: PlacementMethod = {
  name: 'single',
  doc: 'everything on one device',
  finds: 'contiguous',
  baseline: true,
  solve: async (problem) => {
    const rank = problem.devices.map((device, d) => {
      const { length } = problem.parts;
      const load = new PlacementState(problem, new Int32Array(length).fill(d)).load(d);
      return { d, cpu: device.kind === 'cpu', load };
    });
    rank.sort((a, b) => Number(a.cpu) - Number(b.cpu) || a.load - b.load);
    return { deviceOf: problem.parts.map(() => rank[0]!.d), lowerBound: workBound(problem) };
  },
};
