/**
 * Cuts a chain of units into contiguous stages of which several share a device. What decides a pipeline's pace is then the
 * load of a device, the sum over its stages, and a cut between two stages of one device sends nothing:
 *
 *     placement 0 1 1 0:   load of device 0 = stage 0 + stage 3,   of device 1 = stage 1 + stage 2,   middle cut free
 *
 * Filling and draining take a stage's time for each further device, once for M microbatches (Narayanan et al., "Efficient
 * Large-Scale Language Model Training on GPU Clusters", SC 2021, §2.2). So least is
 *
 *     largest load of a device  +  (devices − 1) / M · largest load of a stage
 *
 * which for one stage a device is what `cutChain` makes least; and of the cuts that come to no more, the sum of their
 * costs. Each is one dynamic programme over (stages so far, units so far) whose states are vectors: the loads of the devices
 * that have stages to come, and what is minimised. A state goes where another is no worse in any of them, or where it cannot
 * come to less than the best cut known. Of each place a number of states is kept, more in each round; a round that dropped
 * none for that number proves its cut.
 */
import { type Chain, type ChainCut, cutChain, type Room, type StageFactors, StageLoad, stageFactors } from './chain.ts';

export interface SharedChainCut extends ChainCut {
  /** Load of each device of the placement, by its number; 0 where it has no stage. */
  readonly deviceLoads: readonly number[];
  /** No cut into these stages has a smaller objective; equal to it where the search came to its end. */
  readonly lowerBound: number;
}

export interface SharedChainOptions {
  /** What the largest load of a stage counts beside that of a device. Default 0. */
  readonly stageShare?: number;
  /** Steps of the search, some tenths of a second: counted, so that a cut depends on nothing but its chain. */
  readonly effort?: number;
}

/**
 * Into exactly one stage for each entry of `deviceOf`, each with a unit at least; the units must suffice. Capacities of
 * `chain.room` are those of the stage's device, whose stages must fit together. The objective is Infinity where no cut was
 * found that has room.
 */
export function cutSharedChain(
  chain: Chain,
  deviceOf: readonly number[],
  { stageShare = 0, effort = 1_000_000 }: SharedChainOptions = {},
): SharedChainCut {
  const search = new SharedSearch(chain, deviceOf, stageShare);
  if (!search.best && chain.room) search.startFrom(leastFilled(chain.room, deviceOf, effort / 2));
  const proved = search.improve('pace', (effort * 3) / 4);
  if (!search.best) return { cuts: [], loads: [], deviceLoads: [], objective: Number.POSITIVE_INFINITY, lowerBound: 0 };
  search.improve('cost', effort / 4);
  const objective = search.best.pace;
  const lowerBound = proved ? objective : Math.min(objective, search.bound);
  return { ...search.describe(search.best), objective, lowerBound };
}

/** The cut whose fullest device is least full. */
function leastFilled(room: Room, deviceOf: readonly number[], effort: number): readonly number[] {
  const capacity = room.capacity.map((bytes) => Math.min(bytes, UNLIMITED));
  const filled: Chain = {
    weight: room.bytes,
    speeds: capacity,
    held: room.held,
    inFlight: (stage, stages) => room.inFlight(stage, stages) / capacity[stage]!,
  };
  return cutSharedChain(filled, deviceOf, { effort }).cuts;
}

/** Stands for Infinity where it is multiplied. */
const UNLIMITED = 1e100;

/** Units of a chain that is long, and how far from the best cuts a round looks. */
const LONG = 192;
const NEAR = 12;

/** Where a round may cut. */
interface Places {
  readonly allowed: Uint8Array;
  /** About the best cuts. */
  readonly near: boolean;
}

/** What is made least, one behind the other. */
type Goal = 'pace' | 'cost';

/** A cut of the first units. */
interface State {
  /** Of each device, so far, and where the chain has room to keep to its bytes. */
  readonly loads: Float64Array;
  readonly bytes: Float64Array | undefined;
  /** Largest load of a device and of a stage, what they come to together, and the cost of the cuts. */
  readonly device: number;
  readonly stage: number;
  readonly pace: number;
  readonly cost: number;
  /** Where its last stage begins, and the cut before that. */
  readonly start: number;
  readonly before: State | undefined;
  /** No cut that begins like this has a smaller pace. */
  readonly bound: number;
}

class SharedSearch {
  best: State | undefined;
  /** No cut has a smaller pace. */
  readonly bound: number;
  readonly #chain: Chain;
  readonly #n: number;
  readonly #stages: number;
  readonly #stageShare: number;
  /** Of each stage, its device's place in the lists of loads. */
  readonly #place: readonly number[];
  readonly #deviceOf: readonly number[];
  readonly #factors: StageFactors;
  /** Σ of the weights in front of a unit. */
  readonly #prefix: Float64Array;
  /** Speed of each place, and places that have a stage behind stage s. */
  readonly #speed: readonly number[];
  readonly #open: readonly (readonly number[])[];
  /** Σ of the speeds of stages behind stage s. */
  readonly #speedBehind: readonly number[];
  /** The least work that transfers add to stages behind stage s, where that ends in front of unit j: [s][j]. */
  readonly #sentBehind: readonly Float64Array[];
  #effort = 0;

  constructor(chain: Chain, deviceOf: readonly number[], stageShare: number) {
    const devices = [...new Set(deviceOf)];
    this.#chain = chain;
    this.#n = chain.weight.length;
    this.#stages = deviceOf.length;
    this.#stageShare = stageShare;
    this.#deviceOf = deviceOf;
    this.#place = deviceOf.map((d) => devices.indexOf(d));
    this.#factors = stageFactors(chain, this.#stages);
    const { speeds } = this.#factors;
    this.#speed = devices.map((d) => speeds[deviceOf.indexOf(d)]!);
    this.#open = deviceOf.map((_, s) => [...new Set(this.#place.slice(s + 1))]);
    this.#speedBehind = deviceOf.map((_, s) => sum(speeds.slice(s + 1)));
    this.#prefix = new Float64Array(this.#n + 1);
    chain.weight.forEach((w, i) => {
      this.#prefix[i + 1] = this.#prefix[i]! + w;
    });
    this.#sentBehind = this.#leastSent();
    const sent = this.#sentBehind[0]!.reduce((least, work) => Math.min(least, work), Number.POSITIVE_INFINITY);
    const work = this.#prefix[this.#n]! + (this.#stages > 1 ? sent : 0);
    this.bound = work / sum(this.#speed) + (stageShare * work) / sum(speeds);
    // Stages that are balanced, whoever owns them.
    const { room: _, ...free } = chain;
    this.startFrom(cutChain(free, { exactly: this.#stages }).cuts);
  }

  /** Takes a cut for the best unless it has no room. */
  startFrom(cuts: readonly number[]): void {
    const bounds = [0, ...cuts, this.#n];
    let state: State | undefined = this.#start();
    for (let s = 0; s < this.#stages && state; s++) {
      const [from, to] = [bounds[s]!, bounds[s + 1]!];
      state = this.#extend(state, this.#stageBetween(from, to), from, to, s, undefined);
    }
    this.best = state;
  }

  /**
   * Betters the goal in rounds of more and more states; true where nothing better is left. Of a long chain, rounds over a
   * few of its places, and then over those about the best cuts, come first: they take half of the effort at most.
   */
  improve(goal: Goal, effort: number): boolean {
    if (goal === 'pace' && this.#n > LONG) {
      this.#effort = effort / 2;
      for (let places = this.#fewPlaces(); ; places = this.#placesNear(this.best)) {
        const round = this.#round(goal, 16, places);
        if (round === 'spent') break;
        if (round.best) this.best = round.best;
        else if (places.near) break;
      }
    }
    this.#effort = goal === 'pace' && this.#n > LONG ? Math.max(this.#effort, 0) + effort / 2 : effort;
    for (let width = 4; ; width *= 4) {
      const round = this.#round(goal, width, undefined);
      if (round === 'spent') return false;
      if (round.best) this.best = round.best;
      if (!round.dropped) return true;
    }
  }

  /** Of as many equal shares of the work the places that send least. */
  #fewPlaces(): Places {
    const allowed = new Uint8Array(this.#n + 1);
    const shares = LONG / 2;
    const crossing = this.#chain.crossing;
    for (let i = 1, share = 0; share < shares && i < this.#n; share++) {
      const end = ((share + 1) / shares) * this.#prefix[this.#n]!;
      let least = i;
      for (; i < this.#n && (this.#prefix[i]! <= end || share === shares - 1); i++) {
        if (crossing && crossing[i]! < crossing[least]!) least = i;
      }
      if (least < this.#n) allowed[least] = 1;
    }
    return { allowed, near: false };
  }

  #placesNear(best: State | undefined): Places {
    const allowed = new Uint8Array(this.#n + 1);
    for (let s = best; s; s = s.before) {
      for (let i = Math.max(1, s.start - NEAR); i <= Math.min(this.#n - 1, s.start + NEAR); i++) allowed[i] = 1;
    }
    return { allowed, near: true };
  }

  describe(state: State): { cuts: number[]; loads: number[]; deviceLoads: number[] } {
    const cuts: number[] = [];
    for (let s: State | undefined = state; s; s = s.before) if (s.start > 0) cuts.unshift(s.start);
    const bounds = [0, ...cuts, this.#n];
    const loads = this.#place.map((_, s) => this.#load(this.#stageBetween(bounds[s]!, bounds[s + 1]!), bounds, s));
    const deviceLoads = new Array<number>(Math.max(...this.#deviceOf) + 1).fill(0);
    this.#deviceOf.forEach((d, s) => {
      deviceLoads[d]! += loads[s]!;
    });
    return { cuts, loads, deviceLoads };
  }

  #stageBetween(start: number, end: number): StageLoad {
    const stage = new StageLoad(this.#chain, end, this.#factors);
    for (let i = end - 1; i >= start; i--) stage.prepend(i);
    return stage;
  }

  #load(stage: StageLoad, bounds: readonly number[], s: number): number {
    return stage.own(s) + this.#crossing(bounds[s]!, s) + this.#crossing(bounds[s + 1]!, s + 1);
  }

  /** Load of a cut in front of unit i, and in front of stage s, on each of its neighbours. */
  #crossing(i: number, s: number): number {
    if (s === 0 || s === this.#stages || this.#place[s] === this.#place[s - 1]) return 0;
    return this.#chain.crossing?.[i] ?? 0;
  }

  #leastSent(): Float64Array[] {
    const [n, K] = [this.#n, this.#stages];
    const { speeds } = this.#factors;
    const behind = Array.from({ length: K }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
    behind[K - 1]![n] = 0;
    for (let s = K - 2; s >= 0; s--) {
      let least = Number.POSITIVE_INFINITY;
      for (let j = n - (K - 1 - s); j > s; j--) {
        // Stage s + 1 ends behind j: at j + 1 or later.
        least = Math.min(least, behind[s + 1]![j + 1]! + this.#crossing(j + 1, s + 2) * speeds[s + 1]!);
        behind[s]![j] = this.#crossing(j, s + 1) * speeds[s + 1]! + least;
      }
    }
    return behind;
  }

  #start(): State {
    const zeros = () => new Float64Array(this.#speed.length);
    const bytes = this.#chain.room ? zeros() : undefined;
    return {
      loads: zeros(),
      bytes,
      device: 0,
      stage: 0,
      pace: 0,
      cost: 0,
      start: 0,
      before: undefined,
      bound: this.bound,
    };
  }

  /** One dynamic programme that keeps `width` states of each place; `best` is undefined where none is better. */
  #round(
    goal: Goal,
    width: number,
    places: Places | undefined,
  ): { best: State | undefined; dropped: boolean } | 'spent' {
    const [n, K] = [this.#n, this.#stages];
    // A device's load is no less than that of each of its stages. Prefix sums round.
    const most = ((this.best?.pace ?? Number.POSITIVE_INFINITY) / (1 + this.#stageShare)) * (1 + 1e-9);
    let dropped = false;
    let reached: State[][] = Array.from({ length: n + 1 }, (_, i) => (i === 0 ? [this.#start()] : []));
    for (let s = 0; s < K; s++) {
      const next: State[][] = Array.from({ length: n + 1 }, () => []);
      // Every stage has a unit: those in front and those behind.
      for (let j = s === K - 1 ? n : s + 1; j <= n - (K - 1 - s); j++) {
        if (places && j < n && !places.allowed[j]) continue;
        const stage = new StageLoad(this.#chain, j, this.#factors);
        const found: State[] = [];
        for (let i = j - 1; i >= s; i--) {
          stage.prepend(i);
          this.#effort -= 0.25 + reached[i]!.length;
          if (this.#effort < 0) return 'spent';
          if ((this.#prefix[j]! - this.#prefix[i]!) / this.#factors.speeds[s]! > most) break;
          for (const state of reached[i]!) {
            const longer = this.#extend(state, stage, i, j, s, goal);
            if (longer) found.push(longer);
          }
        }
        const kept = this.#undominated(found, goal, s, width);
        if (kept === 'spent') return kept;
        next[j] = kept.states;
        dropped ||= kept.dropped;
      }
      reached = next;
    }
    return { best: reached[n]![0], dropped };
  }

  /** The state with the units start … end − 1 as stage s; undefined without room for them, or where it promises nothing. */
  #extend(
    state: State,
    stage: StageLoad,
    start: number,
    end: number,
    s: number,
    goal: Goal | undefined,
  ): State | undefined {
    const place = this.#place[s]!;
    const load = stage.own(s) + this.#crossing(start, s) + this.#crossing(end, s + 1);
    const longest = Math.max(state.stage, load);
    const total = state.loads[place]! + load;
    const device = Math.max(state.device, total);
    const pace = device + this.#stageShare * longest;
    const isSent = start > 0 && this.#place[s] !== this.#place[s - 1];
    const cost = state.cost + (isSent ? (this.#chain.cutCost?.[start] ?? 0) : 0);
    const bound = Math.max(pace, this.#boundBehind(state, place, total, longest, device, end, s));
    const { best } = this;
    if (goal === 'pace' && best && bound * (1 - 1e-12) >= best.pace) return undefined;
    if (goal === 'cost' && best && (bound * (1 - 1e-12) > best.pace || pace > best.pace || cost >= best.cost))
      return undefined;
    let { bytes } = state;
    if (bytes) {
      bytes = bytes.slice();
      bytes[place]! += stage.bytes(s);
      if (bytes[place]! > this.#factors.capacity[s]!) return undefined;
    }
    const loads = state.loads.slice();
    loads[place] = total;
    return { loads, bytes, device, stage: longest, pace, cost, start, before: state, bound };
  }

  /** What is left goes to devices with stages to come, and to as many stages. */
  #boundBehind(
    state: State,
    place: number,
    total: number,
    longest: number,
    device: number,
    end: number,
    s: number,
  ): number {
    const open = this.#open[s]!;
    if (open.length === 0) return 0;
    const left = this.#prefix[this.#n]! - this.#prefix[end]! + this.#sentBehind[s]![end]!;
    let [work, speed] = [left, 0];
    for (const p of open) {
      work += (p === place ? total : state.loads[p]!) * this.#speed[p]!;
      speed += this.#speed[p]!;
    }
    return Math.max(device, work / speed) + this.#stageShare * Math.max(longest, left / this.#speedBehind[s]!);
  }

  #undominated(found: State[], goal: Goal, s: number, width: number): { states: State[]; dropped: boolean } | 'spent' {
    if (goal === 'pace') found.sort((a, b) => a.bound - b.bound || a.pace - b.pace);
    else found.sort((a, b) => a.cost - b.cost || a.bound - b.bound);
    const states: State[] = [];
    for (const state of found) {
      this.#effort -= states.length / 4;
      if (this.#effort < 0) return 'spent';
      if (states.some((kept) => this.#isNoBetter(state, kept, goal, s))) continue;
      if (states.length === width) return { states, dropped: true };
      states.push(state);
    }
    return { states, dropped: false };
  }

  #isNoBetter(state: State, than: State, goal: Goal, s: number): boolean {
    if (than.device > state.device || (this.#stageShare > 0 && than.stage > state.stage)) return false;
    if (goal === 'cost' && than.cost > state.cost) return false;
    for (const p of this.#open[s]!) {
      if (than.loads[p]! > state.loads[p]!) return false;
      if (than.bytes && than.bytes[p]! > state.bytes![p]!) return false;
    }
    return true;
  }
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
