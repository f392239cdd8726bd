import { UsageError } from '../core/errors.ts';
import { parseBytes } from '../core/memory-size.ts';
import type { ForeignGraph } from '../partition/foreign-graph.ts';
import { defaultTimeLimit, placementMethods, solvePlacement, tryPlacement } from '../partition/methods.ts';
import { PlacementState } from '../partition/placement-load.ts';
import { gapOfPlacement, type Placement, type PlacementProblem } from '../partition/problem.ts';
import { type ComparedMethod, deviceNames, printPlacement } from '../report/placement.ts';
import { choiceOf, type Invocation, numberOf, textOf, wholeNumberOf } from './invocation.ts';
import { CommandClock } from './partition-clock.ts';
import { readGraph } from './partition-input.ts';

export async function run(invocation: Invocation): Promise<number> {
  const { file, own } = invocation;
  if (file === undefined) {
    throw new UsageError('command-line', 'partition needs the file of a graph', {
      remedy: 'partita partition graph.json --devices 4',
    });
  }
  const contiguous = own.contiguous === true;
  const memory = textOf(invocation, 'memory');
  const method = choiceOf(
    invocation,
    'method',
    placementMethods.map((m) => m.name),
  );
  const timeLimit = numberOf(invocation, 'timeLimit', 'time-limit', { example: 10 });
  const seed = wholeNumberOf(invocation, 'seed', 'seed', 0) ?? 0;
  const graph = await readGraph(invocation, file, {
    devices: wholeNumberOf(invocation, 'devices', 'devices', 0),
    cpus: wholeNumberOf(invocation, 'cpus', 'cpus', 0),
    memory: memory === undefined ? undefined : parseBytes(memory, '--memory'),
    linkBandwidth: numberOf(invocation, 'linkBandwidth', 'link-bandwidth', { example: 1e9 }),
    batch: wholeNumberOf(invocation, 'batch', 'batch', 1),
    contiguous,
  });
  const { problem } = graph;
  const clock = new CommandClock(timeLimit ?? defaultTimeLimit(problem));
  const comparing = own.compare === true;
  const timeLimitSeconds = clock.secondsFor(comparing ? 0.8 : 1);
  const placement = await solvePlacement(problem, { method, contiguous, timeLimitSeconds, seed });
  const compared = comparing ? await compare(problem, placement, clock, { contiguous, seed }) : [];
  if (invocation.json) {
    process.stdout.write(`${JSON.stringify(jsonOf(graph, placement, contiguous, compared))}\n`);
  } else {
    const kind = contiguous ? 'contiguous placement' : 'placement';
    const title = `${file}: ${graph.format}, ${problem.parts.length} parts; ${kind}`;
    process.stdout.write(`${printPlacement(title, problem, placement, compared)}\n`);
  }
  return 0;
}

/** All baselines on the same problem, each by itself in a part of the time that is left. */
async function compare(
  problem: PlacementProblem,
  placement: Placement,
  clock: CommandClock,
  options: { readonly contiguous: boolean; readonly seed: number },
): Promise<ComparedMethod[]> {
  const results: ComparedMethod[] = [];
  const baselines = placementMethods.filter(({ name, baseline }) => baseline && placement.method !== name);
  for (const [i, { name: method, doc }] of baselines.entries()) {
    const started = performance.now();
    const timeLimitSeconds = clock.secondsFor(1 / (baselines.length - i));
    const found = await tryPlacement(problem, { ...options, method, timeLimitSeconds });
    results.push({ method, doc, objective: found?.objective ?? null, seconds: (performance.now() - started) / 1000 });
  }
  return results;
}

function jsonOf(
  { problem, assignmentOf, format }: ForeignGraph,
  placement: Placement,
  contiguous: boolean,
  compared: readonly ComparedMethod[],
) {
  const { objective, lowerBound, method, seconds, deviceOf, loads } = placement;
  const names = deviceNames(problem);
  const state = new PlacementState(problem, deviceOf);
  const assignment = Object.entries(assignmentOf(deviceOf)).map(([id, device]) => [id, names[device]]);
  return {
    version: 1,
    command: 'partition',
    format,
    objective,
    lowerBound,
    gap: gapOfPlacement(placement),
    method,
    seconds,
    unit: problem.unit || null,
    load: problem.load,
    contiguous,
    devices: problem.devices.map(({ capacity }, d) => ({
      name: names[d],
      load: loads[d],
      bytes: state.bytes(d),
      capacityBytes: Number.isFinite(capacity) ? capacity : null,
    })),
    ...(compared.length > 0 ? { compared: compared.map(({ doc: _, ...result }) => result) } : {}),
    assignment: Object.fromEntries(assignment),
  };
}
