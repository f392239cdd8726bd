import type { Plan } from './plan.ts';

/** What runs, and where it lies. */
export type Compiled = Pick<Plan, 'schedules' | 'programs' | 'lifetimes' | 'memory'>;

/** Instructions of all programs: what a plan costs to make, counted in work and not in time. */
export const instructionsOf = ({ programs }: Pick<Plan, 'programs'>): number =>
  Object.values(programs).reduce((n, { devices }) => n + devices.reduce((m, d) => m + d.instructions.length, 0), 0);
