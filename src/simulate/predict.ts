import type { CostModel } from '../cost/model.ts';
import type { StepProgram } from '../program/instruction.ts';
import { requireProgram } from '../program/require-program.ts';
import type { Medium, SimulatedDevice } from './cluster.ts';
import { requireCluster } from './require.ts';
import { simulate } from './simulate.ts';

/** What a plan says of its own step. */
export interface Prediction {
  readonly stepSeconds: number;
  /** 1 − Σ busy / (devices · step). */
  readonly bubbleFraction: number;
  readonly busySeconds: readonly number[];
}

/** The sums of a simulation; without media, on links that share nothing. */
export function predict(
  program: StepProgram,
  devices: readonly SimulatedDevice[],
  costs: CostModel,
  media: readonly Medium[] = [],
): Prediction {
  requireProgram('predict', program);
  requireCluster('predict', { devices, costs, media });
  const cluster = { devices, costs, media };
  const { stepSeconds, bubbleFraction, devices: times } = simulate(program, cluster, { record: false });
  return { stepSeconds, bubbleFraction, busySeconds: times.map((d) => d.busySeconds) };
}
