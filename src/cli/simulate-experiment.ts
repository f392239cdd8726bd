/** `partita simulate experiment.json`: its plan, played without devices. */
import { PlanError, UsageError } from '../core/errors.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { clusterOf, type Plan } from '../plan/plan.ts';
import { steadyStepOf } from '../plan/steady-step.ts';
import { printSimulation, printWhy, simulationFigures } from '../report/simulation.ts';
import { stepTrace } from '../report/step-trace.ts';
import {
  type Cluster,
  criticalPath,
  idleCauses,
  type Jitter,
  type Simulation,
  simulate,
  whyIdle,
} from '../simulate/index.ts';
import { requestAsked } from './cluster.ts';
import { type Invocation, numberOf, pathOf, refuseUnwritable, textOf, wholeNumberOf } from './invocation.ts';
import { plansOf, refuseSwallowedExperiment } from './measuring.ts';

export async function run(invocation: Invocation): Promise<number> {
  refuseSwallowedExperiment(invocation);
  const trace = pathOf(invocation, 'trace');
  refuseUnwritable('trace', trace);
  const { jitter, draws } = jitterAsked(invocation);
  const place = placeAsked(invocation);
  const { request } = await requestAsked(invocation);
  const plan = await plansOf(invocation).make(request);
  const cluster = clusterOf(plan.request);
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
  const steady = steadyStepOf(plan);
  const causes = idleCauses(simulation);
  const why = place ? whyIdle(simulation, place.device, place.seconds) : undefined;
  if (invocation.json) {
    const figures = simulationFigures({ plan, simulation, steady, path, causes, steps });
    const asked = place ? { whyAt: { ...place, reason: why ?? null } } : {};
    process.stdout.write(`${JSON.stringify({ version: 1, command: 'simulate', ...figures, ...asked })}\n`);
  } else if (!invocation.quiet) {
    const showCauses = invocation.own.why === true;
    process.stdout.write(
      `${printSimulation({ plan, simulation, steady, path, causes, steps }, { causes: showCauses })}\n`,
    );
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
  const variation = numberOf(invocation, 'jitter', 'jitter', { example: 0.05, max: 10 });
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
