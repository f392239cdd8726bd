import type { KnownLayout } from '../memory/device-memory.ts';
import type { PartitionObjective } from '../partition/partition.ts';
import type { Lifetimes } from '../program/context.ts';
import type { Plan } from './plan.ts';
import type { PlanRequest } from './request.ts';

/** What runs, and where it lies. */
export type Compiled = Pick<Plan, 'schedules' | 'programs' | 'lifetimes' | 'memory'>;

/** All of a plan that is found by trying; the rest follows. */
export interface Decisions {
  /** The request with partition, placement, schedules and what is computed again in place of what it asks for. */
  readonly request: PlanRequest;
  readonly objective: PartitionObjective | undefined;
  readonly lifetimes: readonly Lifetimes[];
  /** By device and program. */
  readonly layouts: readonly Readonly<Record<string, KnownLayout>>[];
}

/** Instructions of all programs: what a plan costs to make, counted in work and not in time. */
export const instructionsOf = ({ programs }: Pick<Plan, 'programs'>): number =>
  Object.values(programs).reduce((n, { devices }) => n + devices.reduce((m, d) => m + d.instructions.length, 0), 0);
