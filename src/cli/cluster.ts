/** What commands that only plan and predict are asked: an experiment, on its own devices or on those of `--cluster`. */
import { UsageError } from '../core/errors.ts';
import { defaultDevice, defaultLink } from '../cost/analytic.ts';
import { analyticCosts, withLinks } from '../cost/model.ts';
import { readText } from '../formats/read-file.ts';
import type { PlanRequest } from '../plan/plan.ts';
import type { Trials } from '../plan/search.ts';
import type { Cluster } from '../simulate/cluster.ts';
import { type ClusterFile, readCluster } from '../simulate/cluster-file.ts';
import { planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, pathOf, wholeNumberOf } from './invocation.ts';
import { withCosts } from './measuring.ts';
import { countsOfSearch } from './plan-search.ts';
import { trialsOf } from './trials.ts';

export interface AskedPlan {
  readonly request: PlanRequest;
  readonly experiment: Experiment;
  /** Keys that the experiment or a flag gives. */
  readonly given: ReadonlySet<string>;
  /** Of a search that is asked for them. */
  readonly trials: Trials | undefined;
}

/** Throws UsageError where the experiment and the cluster contradict each other. */
export async function requestAsked(invocation: Invocation): Promise<AskedPlan> {
  const { experiment, where, given } = loadExperiment(invocation);
  const file = pathOf(invocation, 'cluster');
  const found = file === undefined ? undefined : readCluster(readText(file), file);
  const used = found && devicesUsed(found, experiment, given, invocation.memory !== undefined);
  if (found?.link && given.has('links')) {
    throw new UsageError('cluster-links', `links: both the experiment and ${file} say how fast they are`, {
      fields: { key: 'links', file },
      remedy: 'leave out one of them',
    });
  }
  if (used && experiment.blas !== 'off') {
    throw new UsageError('cluster-blas', 'blas: a --cluster is played on paper, and its devices call no library', {
      fields: { key: 'blas', file },
      remedy: '--blas off, and the rooflines of its devices in the cluster file',
    });
  }
  const prepared = prepareExperiment(
    used
      ? { ...experiment, devices: used.map(({ backend, speed }) => ({ backend, speed, memory: undefined })) }
      : experiment,
    { where, needsData: false, batch: wholeNumberOf(invocation, 'batch', 'batch', 1) },
  );
  const bare = planRequestOf(prepared, 'train');
  const isSearched = invocation.own.search === true;
  const counts = isSearched ? countsOfSearch(bare, given, invocation) : undefined;
  // Before anything is measured.
  const trials = isSearched ? trialsOf(invocation, { request: bare, prepared, given }) : undefined;
  const asked = await withCosts(bare, prepared, invocation, counts);
  const request = found && used ? onCluster(asked, found, used, invocation.own.profile !== undefined) : asked;
  return { request, experiment, given, trials };
}

type ClusterDevice = ClusterFile['devices'][number];

/** Those of the cluster that the experiment takes. Its own devices can only be a count beside a cluster. */
function devicesUsed(
  { devices }: ClusterFile,
  experiment: Experiment,
  given: ReadonlySet<string>,
  hasMemory: boolean,
): readonly ClusterDevice[] {
  if (hasMemory || (given.has('devices') && typeof experiment.devices !== 'number')) {
    throw new UsageError('cluster-devices', 'devices: with --cluster, the cluster says what they are', {
      fields: { key: hasMemory ? 'memory' : 'devices' },
      remedy:
        'leave out the list of devices, --memory and --backend, or --cluster; a count of devices takes the first of the cluster',
    });
  }
  if (!given.has('devices')) return devices;
  const count = experiment.devices as number;
  if (count <= devices.length) return devices.slice(0, count);
  throw new UsageError('cluster-small', `devices: the cluster has ${devices.length}, and ${count} are asked for`, {
    fields: { key: 'devices', devices: count, cluster: devices.length },
    remedy: `--devices ${devices.length}`,
  });
}

/**
 * The planner knows one roofline and a speed a device: of devices with rooflines of their own, the first's is the measure,
 * and the others' speeds are by their arithmetic. The simulation takes each as it is.
 */
export function onCluster(
  asked: PlanRequest,
  { link, media }: ClusterFile,
  used: readonly ClusterDevice[],
  isProfiled: boolean,
): PlanRequest {
  const measure = used[0]!.model ?? defaultDevice;
  const links = link ?? asked.costs?.link ?? (() => defaultLink);
  const kernels = isProfiled ? asked.costs! : analyticCosts({ device: measure });
  // A host that drives a cluster is not this machine's.
  const nobody = { stepSeconds: undefined, startSeconds: undefined, betweenSteps: undefined };
  const costs = { ...withLinks(kernels, links), ...nobody };
  const planned = used.map(({ backend, memory, speed, model }) => ({
    backend,
    memory,
    speed: (speed * (model ?? defaultDevice).flopsPerSecond) / measure.flopsPerSecond,
    simulated: true,
  }));
  const own = used.map(({ backend, speed, model }) => ({ backend, speed, ...(model ? { model } : {}) }));
  // Devices without a roofline have the default's, whatever the first's is.
  const played = isProfiled ? kernels : analyticCosts();
  return { ...asked, devices: planned, costs, cluster: { devices: own, costs: { ...costs, ...pick(played) }, media } };
}

const pick = ({ kernelSeconds, instructionSeconds, source }: Cluster['costs']) => ({
  kernelSeconds,
  instructionSeconds,
  source,
});
