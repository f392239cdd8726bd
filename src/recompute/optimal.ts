import { type Blocks, blocksOf } from './blocks.ts';
import { BackwardTable, type ForwardPlan, forwardPlans, type RecomputeChain } from './chain.ts';
import type { StageRecompute } from './choice.ts';
import { cutRecompute } from './cut.ts';
import { selectiveRecompute } from './selective.ts';
import { sqrtRecompute } from './sqrt.ts';
import type { StageForward } from './stage-forward.ts';
import { weigh } from './weigh.ts';

/** A way to go back through a stage. */
export interface StageOption {
  /** Bytes of all microbatches in flight while one is gone back through, by the order of the stage's nodes. */
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
/** Plans of the dynamic programme that are weighed, at most. */
const MOST_PLANS = 32;
/** Bytes that a second of computing is worth, as factors on those that the stage keeps a second of its forward pass. */
const PRICES = [64, 16, 8, 4, 2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 32];

/**
 * The ways that no other beats in bytes and time, from the one that keeps everything to the one that needs least, with so many
 * microbatches in flight: cuts of the stage's graph, which make each value again once at most, and what the dynamic programme
 * finds for the stage as a chain of blocks, with all that is worth keeping or with what the cheap cannot be made from; of a
 * stage with few values every set of them. Each is weighed node by node.
 */
export function stageOptions(forward: StageForward, inFlight: number): StageOption[] {
  const optionOf = (recompute: StageRecompute): StageOption => {
    const { keptBytes, peakBytes, seconds } = weigh(forward, recompute);
    return { bytes: (inFlight - 1) * keptBytes + peakBytes, seconds, recompute };
  };
  const names = [...forward.values.values()].map((v) => v.root.name);
  const everything: StageOption = { ...optionOf({ kept: new Set(names) }), recompute: undefined };
  if (everything.bytes === 0) return [everything];
  const selective = selectiveRecompute(forward);
  const options = [
    everything,
    optionOf({ kept: new Set() }),
    optionOf(selective),
    optionOf(sqrtRecompute(forward)),
    ...everyWay(forward).map(optionOf),
    ...cuts(forward).map(optionOf),
    ...chains(forward, inFlight).map(optionOf),
    ...chains(forward, inFlight, selective.kept).map(optionOf),
  ];
  return paretoFront(options);
}

function paretoFront(options: readonly StageOption[]): StageOption[] {
  const front: StageOption[] = [];
  for (const option of [...options].sort((a, b) => a.seconds - b.seconds || a.bytes - b.bytes)) {
    if (option.bytes < (front.at(-1)?.bytes ?? Number.POSITIVE_INFINITY)) front.push(option);
  }
  return front;
}

/** Values of a stage up to which every set of them is tried. */
const FEW = 9;

function everyWay({ values }: StageForward): StageRecompute[] {
  const names = [...values.values()].filter((v) => !v.arrives).map((v) => v.root.name);
  if (names.length > FEW) return [];
  return Array.from({ length: 2 ** names.length }, (_, set) => ({
    kept: new Set(names.filter((_, i) => (set >> i) & 1)),
  }));
}

/** Kept bytes against seconds at several prices: the corners of that curve, as a least cut finds no others. */
function cuts(forward: StageForward): StageRecompute[] {
  const read = [...forward.values.values()].filter((v) => v.backward.length > 0);
  const bytes = read.reduce((sum, v) => sum + v.bytes, 0);
  const total = forward.nodes.reduce((sum, n) => sum + forward.seconds(n), 0);
  return PRICES.map((price) => cutRecompute(forward, (node) => ((price * bytes) / total) * forward.seconds(node)));
}

/** The best of the chain by its blocks' sizes. */
function chains(forward: StageForward, inFlight: number, worth?: ReadonlySet<string>): StageRecompute[] {
  const blocks = blocksOf(forward, worth);
  const unit = Math.ceil((1.25 * blocksOf(forward).bytes) / UNITS);
  const chain = blocks.chain(unit);
  const table = new BackwardTable(chain, UNITS);
  const found: { readonly bytes: number; readonly seconds: number; readonly plan: ForwardPlan }[] = [];
  for (let size = 1; size <= SIZES; size++) {
    for (const plan of forwardPlans(chain, table, Math.ceil((size * UNITS) / SIZES))) {
      const { kept, units, seconds } = plan;
      if (Number.isFinite(seconds)) found.push({ bytes: (inFlight - 1) * kept + units, seconds, plan });
    }
  }
  const front: ForwardPlan[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (const { bytes, plan } of found.sort((a, b) => a.seconds - b.seconds || a.bytes - b.bytes)) {
    if (bytes < least) front.push(plan);
    least = Math.min(least, bytes);
  }
  const step = Math.max(1, front.length / MOST_PLANS);
  return front
    .filter((_, i) => i === front.length - 1 || Math.floor(i / step) !== Math.floor((i - 1) / step))
    .map((plan) => recomputeOf(blocks, chain, table, plan));
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
      used += chain.saved(s);
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
