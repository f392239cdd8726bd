import { renamed, type StageNames, shapeOf } from './alike.ts';
import type { ForwardPlan } from './chain.ts';
import { type ChainWays, chainWays } from './chain-ways.ts';
import type { StageRecompute } from './choice.ts';
import { cutRecompute } from './cut.ts';
import { selectiveRecompute } from './selective.ts';
import { sqrtRecompute } from './sqrt.ts';
import type { StageForward } from './stage-forward.ts';
import { type Weight, weigh } from './weigh.ts';

/** A way to go back through a stage. */
export interface StageOption {
  /** Bytes of all microbatches in flight while one is gone back through, by the order of the stage's nodes. */
  readonly bytes: number;
  /** Seconds of what a microbatch computes again. */
  readonly seconds: number;
  /** undefined: nothing is computed again. */
  readonly recompute: StageRecompute | undefined;
}

/** Plans of the dynamic programme that are weighed, at most. */
const MOST_PLANS = 32;
/** Bytes that a second of computing is worth, as factors on those that the stage keeps a second of its forward pass. */
const PRICES = [64, 16, 8, 4, 2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 32];

/**
 * The options of a plan's stages. Most stages of a deep model are alike, and are looked at once.
 */
export class StageOptions {
  readonly #known = new Map<string, { readonly ways: StageWays; readonly names: StageNames }>();

  /** As `stageOptions`. */
  of(forward: StageForward, inFlight: number): readonly StageOption[] {
    return this.#named(forward, (ways) => ways.options(inFlight));
  }

  /** What others do: everything again, the cheap again, √n checkpoints. */
  rules(forward: StageForward): readonly RuledStage[] {
    return this.#named(forward, (ways) => ways.rules);
  }

  /** What is found for the first stage of this shape, under the names of this one. */
  #named<O extends { readonly recompute: StageRecompute | undefined }>(
    forward: StageForward,
    find: (ways: StageWays) => readonly O[],
  ): readonly O[] {
    const { key, names } = shapeOf(forward);
    const { ways, names: own } = this.#waysOf(forward, key, names);
    const found = find(ways);
    if (names.values.every((name, i) => name === own.values[i])) return found;
    return found.map((o) => (o.recompute ? { ...o, recompute: renamed(o.recompute, own, names) } : o));
  }

  #waysOf(forward: StageForward, key: string, names: StageNames): { ways: StageWays; names: StageNames } {
    let known = this.#known.get(key);
    if (!known) this.#known.set(key, (known = { ways: new StageWays(forward), names }));
    return known;
  }
}

/**
 * The ways that no other beats in bytes and time, from the one that keeps everything to the one that needs least, with so many
 * microbatches in flight: cuts of the stage's graph, which make each value again once at most, and what the dynamic programme
 * finds for the stage as a chain of blocks, with all that is worth keeping or with what the cheap cannot be made from; of a
 * stage with few values every set of them. Each is weighed node by node.
 */
export const stageOptions = (forward: StageForward, inFlight: number): readonly StageOption[] =>
  new StageWays(forward).options(inFlight);

/** A rule's choice, and the seconds of what a microbatch computes again. */
export interface RuledStage {
  readonly recompute: StageRecompute;
  readonly seconds: number;
}

/** A choice with its weight; `recompute` undefined: nothing is computed again. */
interface Weighed extends Weight, Pick<StageOption, 'recompute'> {}

/** Every way that is looked at for one stage. What does not depend on the number in flight is found once. */
class StageWays {
  readonly #forward: StageForward;
  readonly #everything: Weighed;
  readonly #chains: readonly ChainWays[];
  /** Those plans of the chains that were weighed. */
  readonly #plans = new Map<ForwardPlan, Weighed>();
  readonly #others: readonly Weighed[];
  readonly rules: readonly RuledStage[];
  readonly #options = new Map<number, readonly StageOption[]>();

  constructor(forward: StageForward) {
    this.#forward = forward;
    const names = [...forward.values.values()].map((v) => v.root.name);
    this.#everything = { ...this.#weighed({ kept: new Set(names) }), recompute: undefined };
    if (this.#everything.peakBytes === 0) {
      this.rules = this.#others = this.#chains = [];
      return;
    }
    const selective = selectiveRecompute(forward);
    const rules = [{ kept: new Set<string>() }, selective, sqrtRecompute(forward)].map(this.#weighed);
    this.rules = rules;
    this.#others = [...rules, ...[...everyWay(forward), ...cuts(forward)].map(this.#weighed)];
    this.#chains = [undefined, selective.kept].map((worth) => chainWays(forward, worth));
  }

  options(inFlight: number): readonly StageOption[] {
    let known = this.#options.get(inFlight);
    if (!known) {
      const optionOf = ({ keptBytes, peakBytes, seconds, recompute }: Weighed): StageOption => {
        return { bytes: (inFlight - 1) * keptBytes + peakBytes, seconds, recompute };
      };
      const ways = [this.#everything, ...this.#others, ...this.#chains.flatMap((c) => this.#ofChain(c, inFlight))];
      this.#options.set(inFlight, (known = paretoFront(ways.map(optionOf))));
    }
    return known;
  }

  /** The best of the chain by its blocks' sizes. */
  #ofChain({ plans, choiceOf }: ChainWays, inFlight: number): Weighed[] {
    const byTime = plans
      .map((plan) => ({ bytes: (inFlight - 1) * plan.kept + plan.units, plan }))
      .sort((a, b) => a.plan.seconds - b.plan.seconds || a.bytes - b.bytes);
    const front: ForwardPlan[] = [];
    let least = Number.POSITIVE_INFINITY;
    for (const { bytes, plan } of byTime) {
      if (bytes < least) front.push(plan);
      least = Math.min(least, bytes);
    }
    const step = Math.max(1, front.length / MOST_PLANS);
    const chosen = front.filter(
      (_, i) => i === front.length - 1 || Math.floor(i / step) !== Math.floor((i - 1) / step),
    );
    return chosen.map((plan) => {
      let known = this.#plans.get(plan);
      if (!known) this.#plans.set(plan, (known = this.#weighed(choiceOf(plan))));
      return known;
    });
  }

  readonly #weighed = (recompute: StageRecompute) => ({ ...weigh(this.#forward, recompute), recompute });
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
