/** What functions that measure are given by a program in JavaScript, which may give anything. */
import { isOfKind } from '../core/kinds.ts';
import { checkOptions, type OptionNames, requireArgument, requireKinds } from '../core/options.ts';
import type { MachineCosts } from '../cost/machine.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { requireTensorMap } from '../train/check-session.ts';
import type { Feed, RecordedSteps, RecordOptions } from './record.ts';

export const recordNames: OptionNames<RecordOptions> = {
  steps: true,
  warmUp: true,
  busyDevices: 'count',
  seed: 'index',
  parameters: true,
  signal: 'signal',
  progress: 'function',
};

/** Throws UsageError for what is no feed of steps, and for options of the function `what` that it has not. */
export function requireRecording<O extends Pick<RecordOptions, 'parameters'>>(
  what: string,
  feed: unknown,
  options: O,
  names: OptionNames<O>,
): void {
  const isFeed = isOfKind('function', (feed as Partial<Feed> | null | undefined)?.tensorsAt);
  requireArgument(what, isFeed, 'a feed with tensorsAt(step)', feed, '{ tensorsAt: (step) => ({ x, y }) }');
  checkOptions(what, options, names);
  if (options.parameters !== undefined) requireTensorMap(`${what}: parameters`, options.parameters);
}

/** Throws UsageError for what are no recorded steps. */
export function requireRecorded(what: string, recorded: unknown): asserts recorded is RecordedSteps {
  const { plan, program, instructions } = (recorded ?? {}) as { readonly [K in keyof RecordedSteps]?: unknown };
  const isRecorded = isOfKind('text', program) && isOfKind('list', instructions);
  requireArgument(what, isRecorded, 'recorded steps', recorded, `${what}(await recordSteps(plan, feed))`);
  requirePlan(what, plan);
}

/** Throws UsageError for what are no constants of a machine. */
export function requireMachine(what: string, machine: unknown): asserts machine is MachineCosts {
  requireKinds(what, { machine: ['record', machine] });
  const { device, identity } = machine as Partial<MachineCosts>;
  const isMachine = isOfKind('record', device) && isOfKind('record', identity);
  requireArgument(what, isMachine, 'the constants of a machine', machine, 'await measureMachine()');
}
