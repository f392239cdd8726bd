import { nearest, PlanError, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames } from '../core/options.ts';
import { autoMethod } from './auto.ts';
import { blockPartition } from './baselines/block-partition.ts';
import { byParameters } from './baselines/by-parameters.ts';
import { equalParts } from './baselines/equal-parts.ts';
import { pipedream } from './baselines/pipedream.ts';
import { singleDevice } from './baselines/single-device.ts';
import { idealsMethod } from './ideal-method.ts';
import { type CapacityFactor, exceedsAllCapacity, leastCapacityFactor } from './least-capacity.ts';
import { fitsSolver, milpMethod } from './milp.ts';
import { movesMethod } from './moves.ts';
import { ordersMethod } from './orders.ts';
import { evaluatePlacement, workOn } from './placement-load.ts';
import type { MethodOptions, PlacementMethod } from './placement-method.ts';
import { type Placement, type PlacementOptions, type PlacementProblem, requireProblem } from './problem.ts';

/** By name, in the order of the help. */
export const placementMethods: readonly PlacementMethod[] = [
  autoMethod,
  idealsMethod,
  ordersMethod,
  movesMethod,
  milpMethod,
  pipedream,
  blockPartition,
  byParameters,
  equalParts,
  singleDevice,
];

export interface SolveOptions extends PlacementOptions {
  /** Name of a method; default `auto`. */
  readonly method?: string;
  /** Device of each part of a legal placement to start from. */
  readonly start?: readonly number[];
}

const solveNames: OptionNames<SolveOptions> = {
  method: 'text',
  start: 'numbers',
  contiguous: 'flag',
  timeLimitSeconds: 'notNegative',
  gap: 'notNegative',
  seed: 'index',
  signal: 'signal',
};

function checkAsked(what: string, problem: PlacementProblem, options: SolveOptions): void {
  requireProblem(what, problem);
  checkOptions(what, options, solveNames);
}

/** Seconds without a limit of one's own: a minute, or where the solver cannot take part and a proof is far, less. */
export const defaultTimeLimit = (problem: PlacementProblem): number => (fitsSolver(problem) ? 60 : 18);

/** Places the parts of a problem on its devices. A method that finds no legal placement is a `PlanError`. */
export async function solvePlacement(problem: PlacementProblem, options: SolveOptions = {}): Promise<Placement> {
  checkAsked('solvePlacement', problem, options);
  const deadline = performance.now() + (options.timeLimitSeconds ?? defaultTimeLimit(problem)) * 1000;
  const placement = await tryPlacement(problem, options);
  if (placement) return placement;
  throw notPlaced(problem, methodNamed(options.method ?? 'auto'), options.contiguous ?? true, deadline);
}

/** The same where no placement is an answer as well: undefined, and no time is spent on what would mend it. */
export async function tryPlacement(
  problem: PlacementProblem,
  options: SolveOptions = {},
): Promise<Placement | undefined> {
  checkAsked('tryPlacement', problem, options);
  const started = performance.now();
  const { contiguous = true, timeLimitSeconds = defaultTimeLimit(problem), seed = 0, gap, start, signal } = options;
  const method = methodNamed(options.method ?? 'auto');
  refuseImpossible(problem);
  const asked: MethodOptions = {
    contiguous,
    seed,
    deadline: started + timeLimitSeconds * 1000,
    ...(gap === undefined ? {} : { gap }),
    ...(start ? { start } : {}),
    ...(signal ? { signal } : {}),
  };
  const answer = await method.solve(problem, asked);
  signal?.throwIfAborted();
  if (!answer) return undefined;
  const { deviceOf, lowerBound } = answer;
  const { loads, objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous });
  if (violations.length > 0) return undefined;
  return {
    deviceOf,
    loads,
    objective,
    // Bounds keep a distance of 1e-9 for what rounds in them: what lies within is proved.
    lowerBound: lowerBound >= objective * (1 - 2e-9) ? objective : lowerBound,
    method: answer.method ?? method.name,
    seconds: (performance.now() - started) / 1000,
  };
}

function methodNamed(name: string): PlacementMethod {
  const method = placementMethods.find((m) => m.name === name);
  if (method) return method;
  const names = placementMethods.map((m) => m.name);
  const near = nearest(name, names);
  throw new UsageError('placement-method', `there is no method ${name}; there are ${names.join(', ')}`, {
    fields: { method: name, known: names, nearest: near ?? null },
    remedy: `method ${near ?? 'auto'}`,
  });
}

/** What no placement can mend, named before any search. */
function refuseImpossible(problem: PlacementProblem): void {
  for (const part of problem.parts) {
    if (problem.devices.some((d) => workOn(part, d) < Number.POSITIVE_INFINITY)) continue;
    throw new PlanError('placement-unsupported', `no device can run ${part.name}`, {
      fields: { part: part.name, devices: problem.devices.map((d) => d.kind) },
      remedy: 'add a CPU',
    });
  }
}

/**
 * The last word on a problem without an answer: what capacity would do, if it is for want of memory. That nothing fits is said
 * only where it is proved: a method that finds no placement may have missed it.
 */
function notPlaced(
  problem: PlacementProblem,
  { name, finds }: PlacementMethod,
  contiguous: boolean,
  deadline: number,
): PlanError {
  const limits = problem.devices.map((d) => d.capacity);
  const now = performance.now();
  const until = Math.min(now + 20_000, Math.max(now + 1000, deadline)); // a remedy is worth a second more than was allowed
  const found = limits.some(Number.isFinite) ? leastCapacityFactor(problem, until) : undefined;
  const enough = found && found.factor > 1 ? found : undefined;
  const isProved = exceedsAllCapacity(problem) || (contiguous && enough?.isLeast === true);
  const how = contiguous || finds === 'contiguous' ? 'contiguous placement' : 'placement';
  const ways = contiguous ? 'however they are cut into stages' : 'however they are placed';
  const missed = `method ${name} finds no ${how} that ${enough ? 'fits into the devices' : 'the devices can run'}`;
  const more = name === 'auto' ? 'more time, or more devices' : '--method auto';
  const none = { fields: {}, remedy: isProved ? 'more devices, or larger ones' : more };
  const mend = enough ? enoughCapacity(limits, enough) : none;
  return new PlanError(
    isProved ? 'placement-does-not-fit' : 'placement-not-found',
    isProved ? `the parts do not fit into the devices, ${ways}` : missed,
    {
      fields: { method: name, capacities: limits.map((c) => (Number.isFinite(c) ? c : null)), ...mend.fields },
      remedy: mend.remedy,
    },
  );
}

/** Capacities that a contiguous placement fits into; `least…` is null where smaller ones might do as well. */
function enoughCapacity(
  limits: readonly number[],
  { factor, isLeast }: CapacityFactor,
): { readonly fields: Readonly<Record<string, number | null>>; readonly remedy: string } {
  const [first, ...others] = limits.filter(Number.isFinite);
  const bytes = others.every((c) => c === first) ? Math.ceil(first! * factor) : null;
  const serves = isLeast ? 'the least that a contiguous placement fits into' : 'a contiguous placement fits into that';
  return {
    fields: {
      enoughCapacityBytes: bytes,
      enoughFactor: factor,
      leastCapacityBytes: isLeast ? bytes : null,
      leastFactor: isLeast ? factor : null,
    },
    remedy:
      bytes === null ? `capacities ${factor.toPrecision(4)} times as large: ${serves}` : `--memory ${bytes}: ${serves}`,
  };
}
