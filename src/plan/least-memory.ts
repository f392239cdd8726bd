/**
 * The smallest capacity, the same for every device, at which a model trains: by bisection over pages of 64 KiB, with plans
 * that are compiled and laid out like any other.
 *
 * More memory need not make a plan fit: partitions and schedules are made for the capacities. What is reported is the
 * smallest capacity found whose own plan fits; that the next smaller page was refused does not prove all below it so.
 */
import { PlanError, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames, requireArgument } from '../core/options.ts';
import type { PartitionSpec } from '../partition/index.ts';
import { pauses } from '../partition/pause.ts';
import { limitOf } from './capacity.ts';
import { checkRequestKeys } from './check-request.ts';
import { keptBytes } from './kept-bytes.ts';
import {
  laidOutThoroughly,
  type Plan,
  PlanCache,
  type PlannedDevice,
  type PlanRequest,
  roughPlan,
  shortages,
} from './plan.ts';

const PAGE_BYTES = 65536;

export interface LeastMemoryOptions {
  /** How many devices like the request's. Default: as many as there are. */
  readonly devices?: number;
  /** Plans that are made at most; where they do not suffice, the answer is the best so far. Default 40. */
  readonly evaluations?: number;
  /** No further plan is begun after this time. Default 60. */
  readonly timeLimitSeconds?: number;
  /** What calls for the same model and programs share. */
  readonly cache?: PlanCache;
  /** Ends it, with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

const leastMemoryNames: OptionNames<LeastMemoryOptions> = {
  devices: 'count',
  evaluations: 'count',
  timeLimitSeconds: 'notNegative',
  cache: 'object',
  signal: 'signal',
};

export interface LeastMemory {
  readonly devices: number;
  readonly microbatches: number;
  /** Of every device: whole pages. */
  readonly capacityBytes: number;
  /** The plan at this capacity. It fits. */
  readonly plan: Plan;
  /** No plan on so many devices does with less a device: parameters, gradients and optimizer state lie somewhere. */
  readonly lowerBound: number;
  /** The largest smaller capacity that was tried and refused, and what the fullest device needed there. */
  readonly refused: { readonly capacityBytes: number; readonly needBytes: number } | undefined;
  /** The bisection came to its end: nothing more to try, or one page between refused and fitting. */
  readonly complete: boolean;
  /** Plans made. */
  readonly evaluated: number;
}

/**
 * Capacities of the request's devices do not count. Throws UsageError where the devices differ, PlanError where nothing
 * fits what a device can address.
 */
export async function leastMemory(request: PlanRequest, options: LeastMemoryOptions = {}): Promise<LeastMemory> {
  checkOptions('leastMemory', options, leastMemoryNames);
  const { cache } = options;
  const isCache = cache === undefined || cache instanceof PlanCache;
  requireArgument('leastMemory', isCache, 'a PlanCache', cache, 'leave cache out');
  checkRequestKeys(request, 'leastMemory');
  const count = options.devices ?? request.devices.length;
  const search = new CapacitySearch(request, count, options);
  // An automatic partition is the fastest with room; that of the most even memory may fit where no such one was found.
  const partitions: readonly PartitionSpec[] =
    request.partition === 'auto' ? ['auto', { balance: 'memory' }] : [request.partition];
  for (const partition of partitions) await search.bisect(partition);
  const { best, refusals, lowerBound, complete, evaluated } = search;
  if (!best) throw nothingFits(count, search.needed);
  const under = Math.max(...[...refusals.keys()].filter((pages) => pages < best.pages));
  return {
    devices: count,
    microbatches: Object.values(best.plan.programs)[0]!.microbatches,
    capacityBytes: best.pages * PAGE_BYTES,
    plan: laidOutThoroughly(best.plan),
    lowerBound,
    refused: refusals.has(under) ? { capacityBytes: under * PAGE_BYTES, needBytes: refusals.get(under)! } : undefined,
    complete,
    evaluated,
  };
}

/** Plans at one capacity after another, and what has come of them. */
class CapacitySearch {
  best: { readonly pages: number; readonly plan: Plan } | undefined;
  /** Of the capacities that were refused, in pages: what the fullest device needed. */
  readonly refusals = new Map<number, number>();
  /** The least that any refused plan needed. */
  needed = Number.POSITIVE_INFINITY;
  lowerBound = 0;
  complete = true;
  evaluated = 0;
  readonly #request: PlanRequest;
  readonly #count: number;
  readonly #device: PlannedDevice;
  readonly #mostPages: number;
  readonly #evaluations: number;
  readonly #deadline: number;
  readonly #cache: PlanCache;
  readonly #signal: AbortSignal | undefined;
  readonly #pause = pauses();

  constructor(request: PlanRequest, count: number, options: LeastMemoryOptions) {
    const { evaluations = 40, timeLimitSeconds = 60, cache = new PlanCache(), signal } = options;
    this.#request = request;
    this.#count = count;
    this.#device = oneOf(request.devices);
    this.#mostPages = Math.floor(limitOf({ ...this.#device, memory: null }) / PAGE_BYTES);
    this.#evaluations = evaluations;
    this.#deadline = performance.now() + 1000 * timeLimitSeconds;
    this.#cache = cache;
    this.#signal = signal;
  }

  /** Bisects what a partition does with, below the best that is known. */
  async bisect(partition: PartitionSpec): Promise<void> {
    if (this.#isOver()) return;
    const free = await this.#planAt(null, partition);
    this.lowerBound = keptBytes(free) / this.#count;
    let low = Math.ceil(this.lowerBound / PAGE_BYTES) - 1;
    let high = Math.min(pagesOf(free), this.#mostPages);
    const tried = new Set<number>();
    /** Capacities from here on are no better than what is known. */
    const end = (): number => (this.best ? Math.min(this.best.pages, high) : high);
    let next = this.best ? Math.min(high, this.best.pages - 1) : high;
    while (next > low && !tried.has(next)) {
      if (this.#isOver()) return;
      const plan = await this.#planAt(next * PAGE_BYTES, partition);
      const need = pagesOf(plan);
      tried.add(next);
      if (shortages(plan).length === 0) {
        if (!this.best || next < this.best.pages) this.best = { pages: next, plan };
        high = Math.min(high, next);
        // What needs less than it might have: perhaps it is also what is made for that.
        next = need < next && need > low ? need : middle(low, end());
        continue;
      }
      this.needed = Math.min(this.needed, peakOf(plan));
      this.refusals.set(next, peakOf(plan));
      if (next === high && !this.best) {
        // Made for less than it turned out to need.
        if (high === this.#mostPages) return;
        low = next;
        next = high = Math.min(this.#mostPages, Math.max(need, 2 * high));
        continue;
      }
      low = next;
      // The same plan also where it has too little: it knows no capacities, and has no other to offer.
      if (partition !== 'auto' && peakOf(plan) === peakOf(free)) return;
      next = need > low && need < end() && !tried.has(need) ? need : middle(low, end());
    }
  }

  /** Whether to stop with the best so far; then the answer is not complete. */
  #isOver(): boolean {
    const isOver =
      this.best !== undefined && (this.evaluated >= this.#evaluations || performance.now() > this.#deadline);
    if (isOver) this.complete = false;
    return isOver;
  }

  async #planAt(memory: number | null, partition: PartitionSpec): Promise<Plan> {
    await this.#pause();
    this.#signal?.throwIfAborted();
    this.evaluated++;
    const { cluster } = this.#request;
    const played = this.#count === cluster?.devices.length ? { cluster } : { cluster: undefined };
    const devices = Array.from({ length: this.#count }, () => ({ ...this.#device, memory }));
    return roughPlan({ ...this.#request, partition, devices, ...played }, this.#cache);
  }
}

const middle = (low: number, high: number): number => Math.floor((low + high) / 2);

const peakOf = ({ memory }: Plan): number => Math.max(...memory.map((m) => m.peakBytes));

const pagesOf = (plan: Plan): number => Math.max(1, Math.ceil(peakOf(plan) / PAGE_BYTES));

function oneOf(devices: readonly PlannedDevice[]): PlannedDevice {
  const [first, ...rest] = devices;
  if (!first) throw new UsageError('no-devices', 'a plan needs at least one device', { remedy: '--devices 1' });
  const other = rest.findIndex(
    (d) => d.backend !== first.backend || d.speed !== first.speed || d.simulated !== first.simulated,
  );
  if (other < 0) return first;
  throw new UsageError(
    'least-memory-devices',
    `the smallest equal capacity is looked for on equal devices, and device ${other + 1} is not like device 0`,
    { fields: { device: other + 1, devices: devices.length }, remedy: `--devices ${devices.length}` },
  );
}

const nothingFits = (devices: number, needBytes: number): PlanError =>
  new PlanError(
    'least-memory-none',
    `on ${devices} ${devices === 1 ? 'device' : 'devices'} no plan was found that each of them can address; the smallest needs ${needBytes} bytes on its fullest`,
    { fields: { devices, needBytes }, remedy: `--devices ${2 * devices}, or more microbatches, or a smaller batch` },
  );
