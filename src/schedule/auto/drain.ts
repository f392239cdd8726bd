import { PlanError } from '../../core/errors.ts';
import { B, F, type Instance } from './instance.ts';
import { within } from './rows.ts';

/**
 * Why no schedule made here deadlocks under a budget. From a state in which every device can *drain* — run its pending
 * W, then finish the microbatches one after the other — some task can always start. A forward starts only where the
 * devices can drain after it as well; backwards and W only free. What draining takes:
 *
 *   one microbatch   all F, then each B with its W. Where every stage leads to one last stage, no B can come before all
 *                    F, so no schedule needs less. With several last stages the F of one wait until the others are done.
 *   microbatch m     device d holds Σ over its stages of (max(f, m+1) − max(b, m)) · hold, f and b counting its F and B
 *                    so far; largest at the m that some stage of d runs next while its other stages are ahead
 */
export interface Drain {
  /** Whether backwards are split into B and W. */
  readonly split: boolean;
  /** The least budget of each device under which draining one microbatch works. */
  readonly need: readonly number[];
  /** F may start on stage s without endangering the end, given every stage's counts of F and B. */
  readonly safe: (s: number, f: Int32Array, b: Int32Array) => boolean;
}

interface Step {
  readonly kind: typeof F | typeof B;
  readonly stage: number;
}

export interface Drains {
  /** Undefined where backwards may not be split, or the budgets have no room for what every B leaves to its W. */
  readonly split: Drain | undefined;
  readonly whole: Drain;
}

/** Throws PlanError where not even whole backwards have room: nothing needs less. */
export function drainsOf(instance: Instance): Drains {
  const whole = drainOf(instance, false);
  if (!('safe' in whole)) throw budgetError(instance, whole.need, whole.short);
  const split = instance.split ? drainOf(instance, true) : undefined;
  return { split: split && 'safe' in split ? split : undefined, whole };
}

/** Of no room: the first device that is short of its need. */
interface Short {
  readonly need: readonly number[];
  readonly short: number;
}

function drainOf(instance: Instance, split: boolean): Drain | Short {
  const { devices, budget, stagesOf, hold, keep } = instance;
  /** A B that leaves more than its F did needs that beside what is held. */
  const surplus = keep.map((k, s) => (split ? Math.max(0, k - hold[s]!) : 0));
  const orders = microbatchOrders(instance).map((steps) => ({ steps, need: needOf(instance, steps, surplus) }));
  const worst = (need: readonly number[]): number =>
    need.reduce((w, n, d) => Math.max(w, n === 0 ? 0 : n / budget[d]!), 0);
  const best = orders.reduce((a, b) => (worst(b.need) < worst(a.need) ? b : a));
  const short = best.need.findIndex((n, d) => !within(n, budget[d]!));
  if (short >= 0) return { need: best.need, short };

  const atOnce = Array.from({ length: devices }, (_, d) => {
    const own = stagesOf[d]!;
    return own.reduce((sum, s) => sum + hold[s]!, 0) + own.reduce((most, s) => Math.max(most, surplus[s]!), 0);
  });
  const roomy = atOnce.every((n, d) => within(n, budget[d]!));
  return {
    split,
    need: best.need,
    safe: roomy ? byFormula(instance, surplus) : bySteps(instance, best.steps, surplus),
  };
}

function byFormula(
  { placement, stagesOf, hold, budget, microbatches }: Instance,
  surplus: readonly number[],
): Drain['safe'] {
  const extra = stagesOf.map((own) => own.reduce((most, s) => Math.max(most, surplus[s]!), 0));
  return (s, f, b) => {
    const d = placement[s]!;
    const own = stagesOf[d]!;
    const fits = (m: number): boolean => {
      let held = extra[d]!;
      for (const x of own) {
        const done = x === s ? f[x]! + 1 : f[x]!;
        held += (Math.max(done, m + 1) - Math.max(b[x]!, m)) * hold[x]!;
      }
      return within(held, budget[d]!);
    };
    let first = microbatches;
    for (const x of own) first = Math.min(first, b[x]!);
    if (first < microbatches && !fits(first)) return false;
    for (const x of own) {
      const next = b[x]!;
      if (x !== s && f[x] === next && next > first && next < microbatches && !fits(next)) return false;
    }
    return true;
  };
}

/** The same by playing the drain: for budgets so small that a microbatch's F may not all be held at once. */
function bySteps(instance: Instance, steps: readonly Step[], surplus: readonly number[]): Drain['safe'] {
  const { stages, devices, placement, hold, budget, microbatches } = instance;
  const held = new Float64Array(devices);
  return (s, f, b) => {
    held.fill(0);
    let first = microbatches;
    let last = 0;
    for (let x = 0; x < stages; x++) {
      const done = x === s ? f[x]! + 1 : f[x]!;
      held[placement[x]!]! += (done - b[x]!) * hold[x]!;
      first = Math.min(first, b[x]!);
      last = Math.max(last, done);
    }
    for (let d = 0; d < devices; d++) if (!within(held[d]!, budget[d]!)) return false;
    // Behind the last microbatch begun, the devices are empty and one microbatch fits.
    for (let m = first; m < last; m++) {
      for (const { kind, stage } of steps) {
        const d = placement[stage]!;
        if (kind === F) {
          if (m < (stage === s ? f[stage]! + 1 : f[stage]!)) continue;
          held[d]! += hold[stage]!;
          if (!within(held[d]!, budget[d]!)) return false;
        } else if (m >= b[stage]!) {
          if (!within(held[d]! + surplus[stage]!, budget[d]!)) return false;
          held[d]! -= hold[stage]!;
        }
      }
    }
    return true;
  };
}

/** The tasks of one microbatch, for each order of the last stages worth trying (all, up to five of them). */
function microbatchOrders(instance: Instance): Step[][] {
  const { stages, after } = instance;
  const sinks = Array.from({ length: stages }, (_, s) => s).filter((s) => after[s]!.length === 0);
  const orders = sinks.length <= 5 ? permutations(sinks) : [sinks, sinks.toReversed()];
  return orders.map((order) => stepsBySinks(instance, order));
}

function stepsBySinks({ stages, before, after, order }: Instance, sinks: readonly number[]): Step[] {
  const steps: Step[] = [];
  const [forward, backward] = [new Set<number>(), new Set<number>()];
  for (const sink of sinks) {
    const wanted = new Set([sink]);
    for (const s of order.toReversed()) {
      if (wanted.has(s)) for (const { stage } of before[s]!) wanted.add(stage);
    }
    for (const s of order) {
      if (!wanted.has(s) || forward.has(s)) continue;
      forward.add(s);
      steps.push({ kind: F, stage: s });
    }
    for (const s of order.toReversed()) {
      const due = forward.has(s) && !backward.has(s) && after[s]!.every(({ stage }) => backward.has(stage));
      if (!due) continue;
      backward.add(s);
      steps.push({ kind: B, stage: s });
    }
  }
  return backward.size === stages ? steps : [];
}

function permutations(list: readonly number[]): number[][] {
  if (list.length <= 1) return [[...list]];
  return list.flatMap((x, i) => permutations(list.toSpliced(i, 1)).map((rest) => [x, ...rest]));
}

function needOf({ devices, placement, hold }: Instance, steps: readonly Step[], surplus: readonly number[]): number[] {
  const held = new Array<number>(devices).fill(0);
  const need = new Array<number>(devices).fill(0);
  for (const { kind, stage } of steps) {
    const d = placement[stage]!;
    if (kind === F) held[d]! += hold[stage]!;
    need[d] = Math.max(need[d]!, held[d]! + (kind === F ? 0 : surplus[stage]!));
    if (kind !== F) held[d]! -= hold[stage]!;
  }
  return need;
}

function budgetError({ stagesOf, budget }: Instance, need: readonly number[], device: number): PlanError {
  const own = stagesOf[device]!;
  const which = `stage${own.length === 1 ? '' : 's'} ${own.join(', ')}`;
  return new PlanError(
    'schedule-memory-budget',
    `device ${device} has a budget of ${budget[device]}, but one microbatch in flight on its ${which} takes ${need[device]}`,
    {
      fields: { device, stages: [...own], budget: budget[device], need: need[device], smallestBudget: [...need] },
      remedy: `Raise the budget of device ${device} to at least ${need[device]} (all devices: ${need.join(', ')}), use more microbatches of fewer samples, or place fewer stages on it.`,
    },
  );
}
