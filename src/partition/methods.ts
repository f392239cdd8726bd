import { nearest, PlanError, UsageError } from '../core/errors.ts';
import { evaluatePlacement, workOn } from './placement-load.ts';
import type { MethodOptions, PlacementMethod } from './placement-method.ts';
import type { Placement, PlacementOptions, PlacementProblem } from './problem.ts';

/** By name, in the order of the help. */
export const placementMethods: readonly PlacementMethod[] = [];

export interface SolveOptions extends PlacementOptions {
  /** Name of a method; default `auto`. */
  readonly method?: string;
  /** Device of each part of a legal placement to start from. */
  readonly start?: readonly number[];
}

/** Places the parts of a problem on its devices. A method that finds no legal placement is a `PlanError`. */
export async function solvePlacement(problem: PlacementProblem, options: SolveOptions = {}): Promise<Placement> {
  const started = performance.now();
  const { contiguous = true, timeLimitSeconds = 60, seed = 0, start } = options;
  const method = methodNamed(options.method ?? 'auto');
  refuseImpossible(problem);
  const asked: MethodOptions = {
    contiguous,
    seed,
    deadline: started + timeLimitSeconds * 1000,
    ...(start ? { start } : {}),
  };
  const answer = await method.solve(problem, asked);
  if (!answer) throw notPlaced(problem, method.name);
  const { deviceOf, lowerBound } = answer;
  const { loads, objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous });
  if (violations.length > 0) throw notPlaced(problem, method.name);
  return {
    deviceOf,
    loads,
    objective,
    lowerBound: Math.min(lowerBound, objective),
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

function notPlaced(problem: PlacementProblem, method: string): PlanError {
  return new PlanError('placement-not-found', `method ${method} finds no placement that fits the devices`, {
    fields: { method, capacities: problem.devices.map((d) => d.capacity) },
    remedy: 'give the devices more memory, or more devices',
  });
}
