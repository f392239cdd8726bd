import { PlanError, UsageError } from '../core/errors.ts';
import { parseBytes } from '../core/memory-size.ts';
import { placementMethods, solvePlacement } from '../partition/methods.ts';
import { PlacementState } from '../partition/placement-load.ts';
import { gapOfPlacement, type Placement, type PlacementProblem } from '../partition/problem.ts';
import { type ComparedMethod, deviceNames, printPlacement } from '../report/placement.ts';
import { choiceOf, type Invocation, numberOf, textOf, wholeNumberOf } from './invocation.ts';
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
  const timeLimitSeconds = numberOf(invocation, 'timeLimit', 'time-limit', 0, Number.POSITIVE_INFINITY) ?? 60;
  const seed = wholeNumberOf(invocation, 'seed', 'seed', 0) ?? 0;
  const graph = readGraph(invocation, file, {
    devices: wholeNumberOf(invocation, 'devices', 'devices', 0),
    cpus: wholeNumberOf(invocation, 'cpus', 'cpus', 0),
    memory: memory === undefined ? undefined : parseBytes(memory, '--memory'),
    linkBandwidth: numberOf(invocation, 'linkBandwidth', 'link-bandwidth', 0, Number.POSITIVE_INFINITY),
    batch: wholeNumberOf(invocation, 'batch', 'batch', 1),
    contiguous,
  });
  const { problem } = graph;
  // The limit is the command's: starting and reading count as well, but at least a tenth is left to search.
  const forSearch = Math.max(timeLimitSeconds / 10, timeLimitSeconds - performance.now() / 1000);
  const placement = await solvePlacement(problem, { method, contiguous, timeLimitSeconds: forSearch, seed });
  const compared =
    own.compare === true ? await compare(problem, placement, { contiguous, timeLimitSeconds, seed }) : [];
  if (invocation.json) {
    process.stdout.write(`${JSON.stringify(jsonOf(graph, placement, contiguous, compared))}\n`);
  } else {
    const kind = contiguous ? 'contiguous placement' : 'placement';
    const title = `${file}: ${graph.format}, ${problem.parts.length} parts; ${kind}`;
    process.stdout.write(`${printPlacement(title, problem, placement, compared)}\n`);
  }
  return 0;
}

/** All baselines on the same problem, each by itself. */
async function compare(
  problem: PlacementProblem,
  placement: Placement,
  options: { readonly contiguous: boolean; readonly timeLimitSeconds: number; readonly seed: number },
): Promise<ComparedMethod[]> {
  const results: ComparedMethod[] = [];
  for (const { name: method, doc, baseline } of placementMethods) {
    if (!baseline || placement.method === method) continue;
    const started = performance.now();
    let objective: number | null = null;
    try {
      ({ objective } = await solvePlacement(problem, { ...options, method }));
    } catch (error) {
      if (!(error instanceof PlanError)) throw error;
    }
    results.push({ method, doc, objective, seconds: (performance.now() - started) / 1000 });
  }
  return results;
}

function jsonOf(
  { problem, assignmentOf, format }: ReturnType<typeof readGraph>,
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
