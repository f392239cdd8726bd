/** What the simulator is given by a program in JavaScript, which may give anything. */
import { isOfKind } from '../core/kinds.ts';
import { requireArgument } from '../core/options.ts';
import { requireProgram } from '../program/require-program.ts';
import type { Cluster } from './cluster.ts';
import type { Simulation } from './simulate.ts';

/** Throws UsageError for what is neither a program nor a source of actions. */
export function requireSource(what: string, program: unknown): void {
  const { actions, devices } = (program ?? {}) as { readonly actions?: unknown; readonly devices?: unknown };
  if (typeof actions !== 'function') requireProgram(what, program);
  else requireArgument(what, isOfKind('count', devices), 'actions of one device or more', devices, 'devices: 2');
}

/** Throws UsageError for what is no cluster: devices, and what computing and sending cost. */
export function requireCluster(what: string, cluster: unknown): asserts cluster is Cluster {
  const { devices, costs, media } = (cluster ?? {}) as Partial<Cluster>;
  const remedy = "{ devices: [{ backend: 'wasm', speed: 1 }], costs: analyticCosts() }";
  const areDevices = Array.isArray(devices) && devices.every((d) => isOfKind('positive', d?.speed));
  requireArgument(what, areDevices, 'a cluster, whose devices have a speed', cluster, remedy);
  const areCosts = typeof costs?.kernelSeconds === 'function' && typeof costs.link === 'function';
  requireArgument(what, areCosts, 'a cluster with a cost model', costs, 'costs: analyticCosts()');
  requireArgument(what, media === undefined || Array.isArray(media), 'media, a list', media, 'media: []');
}

/** Throws UsageError for what is no simulation. */
export function requireSimulation(what: string, simulation: unknown): asserts simulation is Simulation {
  const { stepSeconds, startSeconds, timeline } = (simulation ?? {}) as Partial<Simulation>;
  const isOne = typeof stepSeconds === 'number' && Array.isArray(startSeconds) && typeof timeline === 'object';
  requireArgument(what, isOne, 'a simulation', simulation, `${what}(simulate(program, cluster, { record: true }))`);
}
