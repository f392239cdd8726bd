import { type Blocks, blocksOf } from './blocks.ts';
import { BackwardTable, type ForwardPlan, forwardPlans, type RecomputeChain } from './chain.ts';
import type { StageRecompute } from './choice.ts';
import type { StageForward } from './stage-forward.ts';

/** A way to go back through a stage. */
export interface StageOption {
  /** Bytes that it takes by the blocks' sizes: of all microbatches in flight, and of the one that is gone back through. */
  readonly bytes: number;
  /** Seconds of what a microbatch computes again. */
  readonly seconds: number;
  /** undefined: nothing is computed again. */
  readonly recompute: StageRecompute | undefined;
}

/** Units that the bytes of a stage are counted in. */
const UNITS = 160;
/** Sizes of the backward pass's memory that are tried. */
const SIZES = 40;
/** Options of a stage at most. */
const MOST_OPTIONS = 32;

/**
 * The ways that no other beats in bytes and time, from the one that keeps everything to the one that needs least, with so many
 * microbatches in flight.
 */
export function stageOptions(forward: StageForward, inFlight: number): StageOption[] {
  const blocks = blocksOf(forward);
  const everything: StageOption = { bytes: inFlight * blocks.bytes, seconds: 0, recompute: undefined };
  if (blocks.bytes === 0) return [everything];
  const unit = Math.ceil((1.25 * blocks.bytes) / UNITS);
  const chain = blocks.chain(unit);
  const table = new BackwardTable(chain, UNITS);
  const found: { readonly bytes: number; readonly plan: ForwardPlan }[] = [];
  for (let size = 1; size <= SIZES; size++) {
    for (const plan of forwardPlans(chain, table, Math.ceil((size * UNITS) / SIZES))) {
      if (plan.seconds < Number.POSITIVE_INFINITY)
        found.push({ bytes: unit * ((inFlight - 1) * plan.kept + plan.units), plan });
    }
  }
  const front: typeof found = [];
  for (const option of found.sort((a, b) => a.plan.seconds - b.plan.seconds || a.bytes - b.bytes)) {
    if (option.plan.seconds > 0 && option.bytes < Math.min(everything.bytes, front.at(-1)?.bytes ?? Infinity))
      front.push(option);
  }
  const step = Math.max(1, (front.length - 1) / (MOST_OPTIONS - 2));
  const some = front.filter((_, i) => i === front.length - 1 || Math.floor(i / step) !== Math.floor((i - 1) / step));
  return [
    everything,
    ...some.map(({ bytes, plan }) => ({
      bytes,
      seconds: plan.seconds,
      recompute: recomputeOf(blocks, chain, table, plan),
    })),
  ];
}

/** A plan of the dynamic programme as names: what the forward pass keeps, and what is there when each block is gone back through. */
function recomputeOf(blocks: Blocks, chain: RecomputeChain, table: BackwardTable, plan: ForwardPlan): StageRecompute {
  const kept = new Set<string>();
  const retained: Set<string>[] = Array.from({ length: blocks.count }, () => new Set());
  const keep = (names: readonly string[]): void => {
    for (const name of names) kept.add(name);
  };
  /** Back through [s, t] with what `there` names. */
  const back = (s: number, t: number, units: number, there: ReadonlySet<string>): void => {
    if (s === t) {
      retained[s] = new Set(there);
      return;
    }
    const step = table.step(s, t, units);
    if (step.kind === 'all') {
      const more = new Set([...there, ...blocks.kept(s)]);
      back(s + 1, t, units - chain.saved(s), more);
      retained[s] = more;
    } else {
      back(step.at, t, units - chain.checkpoint(s, step.at), new Set([...there, ...blocks.passing(step.at)]));
      back(s, step.at - 1, units, there);
    }
  };
  let [s, used] = [0, 0];
  for (const step of plan.steps) {
    const left = plan.units - used;
    if (step.kind === 'all') {
      keep(blocks.kept(s));
      used += s === blocks.count - 1 ? chain.inner(s) : chain.saved(s);
      s++;
    } else {
      const end = step.kind === 'end' ? blocks.count : step.at;
      // What the forward pass keeps needs no clone.
      back(s, end - 1, left, new Set());
      if (step.kind === 'checkpoint') {
        keep(blocks.passing(step.at));
        used += chain.checkpoint(s, step.at);
      }
      s = end;
    }
  }
  return { kept, blockOf: blocks.blockOf, retained };
}
