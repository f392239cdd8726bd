/** `partita simulate experiment.json`: its plan, played without devices. */
import { PlanError, UsageError } from '../core/errors.ts';
import { defaultDevice, defaultLink } from '../cost/analytic.ts';
import { analyticCosts, withLinks } from '../cost/model.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { readText } from '../formats/read-file.ts';
import { makePlan, type Plan, type PlanRequest } from '../plan/plan.ts';
import { printSimulation, printWhy, simulationFigures } from '../report/simulation.ts';
import { stepTrace } from '../report/step-trace.ts';
import { type ClusterFile, readCluster } from '../simulate/cluster-file.ts';
import {
  type Cluster,
  criticalPath,
  idleCauses,
  type Jitter,
  type Simulation,
  simulate,
  whyIdle,
} from '../simulate/index.ts';
import { planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { loadExperiment } from './experiment.ts';
import { type Invocation, numberOf, refuseMissingFolder, textOf, wholeNumberOf } from './invocation.ts';
import { refuseSwallowedExperiment, withCosts } from './measuring.ts';

export async function run(invocation: Invocation): Promise<number> {
  refuseSwallowedExperiment(invocation);
  const trace = textOf(invocation, 'trace');
  refuseMissingFolder('trace', trace);
  const { jitter, draws } = jitterAsked(invocation);
  const place = placeAsked(invocation);
  const { plan, cluster } = await planFor(invocation);
  const [name] = Object.keys(plan.programs);
  const program = plan.programs[name!]!;
  if (place && place.device >= program.devices.length) {
    throw new UsageError('command-line', `--why-at: there is no device ${place.device}`, {
      fields: { flag: 'why-at', device: place.device, devices: program.devices.length },
      remedy: `a device of 0 to ${program.devices.length - 1}`,
    });
  }

  const simulation = simulate(program, cluster, { jitter });
  const steps = jitter && draws > 1 ? drawSteps(plan, cluster, jitter, draws) : null;
  if (trace !== undefined) await writeFileAtomic(trace, `${JSON.stringify(traceOf(plan, name!, simulation))}\n`);
  const path = criticalPath(simulation);
  const causes = idleCauses(simulation);
  const why = place ? whyIdle(simulation, place.device, place.seconds) : undefined;
  if (invocation.json) {
    const figures = simulationFigures({ plan, simulation, path, causes, steps });
    const asked = place ? { whyAt: { ...place, reason: why ?? null } } : {};
    process.stdout.write(`${JSON.stringify({ version: 1, command: 'simulate', ...figures, ...asked })}\n`);
  } else if (!invocation.quiet) {
    const showCauses = invocation.own.why === true;
    process.stdout.write(`${printSimulation({ plan, simulation, path, causes, steps }, { causes: showCauses })}\n`);
    if (place) process.stdout.write(`\n${printWhy(simulation, place, why ?? null)}\n`);
    if (trace !== undefined) process.stdout.write(`\nTimeline in ${trace}; open it in https://ui.perfetto.dev\n`);
  }
  return 0;
}

interface Place {
  readonly device: number;
  readonly seconds: number;
}

function placeAsked(invocation: Invocation): Place | undefined {
  const text = textOf(invocation, 'whyAt');
  if (text === undefined) return undefined;
  const match = /^(\d+):(\d+(?:\.\d*)?(?:e-?\d+)?)$/i.exec(text);
  if (match) return { device: Number(match[1]), seconds: Number(match[2]) };
  throw new UsageError(
    'command-line',
    `--why-at: expected a device and a time in seconds, got ${JSON.stringify(text)}`,
    { fields: { flag: 'why-at', got: text }, remedy: '--why-at 1:0.0005' },
  );
}

function jitterAsked(invocation: Invocation): { jitter: Jitter | undefined; draws: number } {
  const variation = numberOf(invocation, 'jitter', 'jitter', 0, 10);
  const seed = wholeNumberOf(invocation, 'jitterSeed', 'jitter-seed', 0);
  const draws = wholeNumberOf(invocation, 'draws', 'draws', 1);
  if (variation !== undefined) return { jitter: { variation, seed: seed ?? 0 }, draws: draws ?? 100 };
  const idle = seed !== undefined ? 'jitter-seed' : draws !== undefined ? 'draws' : undefined;
  if (idle === undefined) return { jitter: undefined, draws: 1 };
  throw new UsageError('command-line', `--${idle} is of --jitter: without it, all steps are the same`, {
    fields: { flag: idle },
    remedy: `--jitter 0.05 --${idle} ${seed ?? draws}`,
  });
}

/** The plan, and where it is played. Throws PlanError where it does not fit. */
async function planFor(invocation: Invocation): Promise<{ plan: Plan; cluster: Cluster }> {
  const { experiment, where, given } = loadExperiment(invocation);
  const file = textOf(invocation, 'cluster');
  const found = file === undefined ? undefined : readCluster(readText(file), file);
  const used = found && devicesUsed(found, experiment, given, invocation.memory !== undefined);
  if (found?.link && given.has('links')) {
    throw new UsageError('cluster-links', `links: both the experiment and ${file} say how fast they are`, {
      fields: { key: 'links', file },
      remedy: 'leave out one of them',
    });
  }
  const prepared = prepareExperiment(
    used
      ? { ...experiment, devices: used.map(({ backend, speed }) => ({ backend, speed, memory: undefined })) }
      : experiment,
    { where, needsData: false, batch: wholeNumberOf(invocation, 'batch', 'batch', 1) },
  );
  const asked = await withCosts(planRequestOf(prepared, 'train'), prepared, invocation);
  if (!found || !used) {
    const { devices, costs = analyticCosts() } = asked;
    return { plan: makePlan(asked), cluster: { devices, costs } };
  }
  return onCluster(asked, found, used, invocation.own.profile !== undefined);
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
        'leave out the list of devices and --memory, or --cluster; a count of devices takes the first of the cluster',
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
function onCluster(
  asked: PlanRequest,
  { link, media }: ClusterFile,
  used: readonly ClusterDevice[],
  isProfiled: boolean,
): { plan: Plan; cluster: Cluster } {
  const measure = used[0]!.model ?? defaultDevice;
  const links = link ?? asked.costs?.link ?? (() => defaultLink);
  const kernels = isProfiled ? asked.costs! : analyticCosts({ device: measure });
  // A host that drives a cluster is not this machine's.
  const costs = { ...withLinks(kernels, links), stepSeconds: undefined };
  const planned = used.map(({ backend, memory, speed, model }) => ({
    backend,
    memory,
    speed: (speed * (model ?? defaultDevice).flopsPerSecond) / measure.flopsPerSecond,
    simulated: true,
  }));
  const plan = makePlan({ ...asked, devices: planned, costs });
  const own = used.map(({ backend, speed, model }) => ({ backend, speed, ...(model ? { model } : {}) }));
  // Devices without a roofline have the default's, whatever the first's is.
  const played = isProfiled ? kernels : analyticCosts();
  return { plan, cluster: { devices: own, costs: { ...costs, ...pick(played) }, media } };
}

const pick = ({ kernelSeconds, instructionSeconds, source }: Cluster['costs']) => ({
  kernelSeconds,
  instructionSeconds,
  source,
});

/** Step times with the variation drawn anew. */
function drawSteps(plan: Plan, cluster: Cluster, jitter: Jitter, draws: number): number[] {
  const [program] = Object.values(plan.programs);
  return Array.from(
    { length: draws },
    (_, step) => simulate(program!, cluster, { jitter: { ...jitter, step }, record: false }).stepSeconds,
  );
}

/** The timeline in the form of a measured one. */
function traceOf(plan: Plan, program: string, { timeline, devices }: Simulation) {
  if (!timeline) throw new PlanError('simulation-not-recorded', 'there is no timeline');
  const reports = devices.map(({ busySeconds }, device) => {
    const times = new Float64Array(2 * timeline.count(device));
    for (let i = 0; i < times.length / 2; i++) {
      const { reached, end } = timeline.at(device, i);
      times[2 * i] = 1000 * reached;
      times[2 * i + 1] = 1000 * end;
    }
    return { seconds: times.at(-1) ?? 0, busySeconds, times, audit: null };
  });
  return stepTrace(plan, program, reports, { step: 0, times: 'simulated' });
}
