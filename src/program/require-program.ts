import { requireArgument } from '../core/options.ts';
import type { StepProgram } from './instruction.ts';

/** Throws UsageError for what is no program of a step where the function `what` takes one. */
export function requireProgram(what: string, program: unknown): asserts program is StepProgram {
  const { devices } = (program ?? {}) as Partial<StepProgram>;
  const isProgram =
    Array.isArray(devices) && devices.every((d) => Array.isArray(d?.instructions) && Array.isArray(d.buffers));
  requireArgument(what, isProgram, 'a program', program, `${what}(plan.programs.train)`);
}
