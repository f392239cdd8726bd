/**
 * Plans kept between runs, by all that they follow from (`plan/content.ts`): a file each, in the folder `plans` of the user's
 * cache. An entry that is damaged, of another version or of another planner is taken for missing, and written anew. Several
 * processes may read and write at once: files are whole or absent. Node only.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { requireKinds } from '../core/options.ts';
import { removeLeftovers, writeFileAtomic } from '../formats/atomic.ts';
import { makeFolder } from '../formats/make-folder.ts';
import { contentOf } from '../plan/content.ts';
import { draftPlan, type Plan, PlanCache, type PlanRequest, refuseWhatDoesNotFit } from '../plan/plan.ts';
import type { EvaluatedCandidate, SearchOptions, SearchResult } from '../plan/search.ts';
import { planOfStored, type StoredPlan, storedPlanOf } from '../plan/stored-plan.ts';
import { plannerIdentity } from './identity.ts';

const VERSION = 2;

type Computing = <T>(compute: () => T) => Promise<T>;

export interface PlanStoreOptions {
  readonly warn?: (message: string) => void;
  /**
   * Plans that were made in less are not kept. Default a quarter of a second: below it a plan is hardly searched for, and what
   * its graphs and programs take to build it takes from an entry as well.
   */
  readonly worthSeconds?: number;
  /** The code that makes the plans. Default `plannerIdentity()`; where that is not known, nothing is kept. */
  readonly planner?: string | undefined;
  /** Of all entries together: beyond it those that were not used for longest go. Default 64 MiB. */
  readonly mostBytes?: number;
  /** Calls what it is given, a long computation of this thread. */
  readonly computing?: Computing;
}

interface Entry extends StoredPlan {
  /** Of a search: what it has found beside its plan, and what that was asked for in place of the request's own. */
  readonly search?: {
    readonly findings: Findings;
    readonly asked: Pick<PlanRequest, (typeof searched)[number]>;
  };
}

/** What a search has found: candidates are told by their place among those that were evaluated, so that each is one again. */
interface Findings extends Omit<SearchResult, 'plan' | 'best' | 'pareto' | 'trials'> {
  readonly best: number;
  readonly pareto: readonly number[];
}

const searched = ['microbatches', 'partition', 'placement', 'schedule', 'recompute'] as const;

export class PlanStore {
  readonly folder: string | undefined;
  readonly #warn: (message: string) => void;
  readonly #worthSeconds: number;
  readonly #mostBytes: number;
  readonly #planner: string | undefined;
  readonly #computing: Computing;

  /** `folder` is the user's cache; undefined: nothing is found, nothing kept. */
  constructor(folder: string | undefined, options: PlanStoreOptions = {}) {
    requireKinds('PlanStore', { options: ['record', options] });
    if (folder !== undefined) requireKinds('PlanStore', { folder: ['text', folder] });
    const { warn = () => {}, worthSeconds = 0.25, mostBytes = 64 * 1024 ** 2 } = options;
    this.folder = folder === undefined ? undefined : join(folder, 'plans');
    this.#warn = warn;
    this.#worthSeconds = worthSeconds;
    this.#mostBytes = mostBytes;
    this.#computing = options.computing ?? (async (compute) => compute());
    this.#planner = folder === undefined ? undefined : (options.planner ?? plannerIdentity());
  }

  /** `draftPlan`, or the same plan from an earlier run. */
  async draft(request: PlanRequest): Promise<{ readonly plan: Plan; readonly cached: boolean }> {
    const { plan, fresh } = await this.#computing(() => {
      const cache = new PlanCache();
      const key = this.#keyOf(request, cache, 'draft');
      const entry = this.#read(key);
      const known = entry && remade(request, entry, cache);
      if (known) return { plan: known };
      const begin = performance.now();
      return { plan: draftPlan(request, cache), fresh: { key, begin } };
    });
    if (fresh) await this.#keep(fresh.key, fresh.begin, () => storedPlanOf(plan));
    return { plan, cached: fresh === undefined };
  }

  /** `makePlan`, or the same plan from an earlier run. Throws PlanError where a device's memory does not suffice. */
  async make(request: PlanRequest): Promise<Plan> {
    return refuseWhatDoesNotFit((await this.draft(request)).plan);
  }

  /**
   * `searchPlan`, or what it has found in an earlier run with the same limits. One that was interrupted is not kept; one that
   * its time limit has ended is. One that has plans tried is made anew, and not kept: what steps take is this machine's, now.
   */
  async search(
    request: PlanRequest,
    options: SearchOptions = {},
  ): Promise<{ readonly found: SearchResult; readonly cached: boolean }> {
    // Plans that are only made again need none of its code.
    const { checkSearch, searchedMicrobatches, searchPlan } = await import('../plan/search.ts');
    checkSearch(request, options);
    const cache = new PlanCache();
    const { signal: _, onEvaluated: __, ...limits } = options;
    const how = `search ${JSON.stringify(limits)}`;
    const key = options.trials ? undefined : this.#keyOf(request, cache, how, searchedMicrobatches(request, options));
    const entry = this.#read(key);
    if (entry?.search) {
      const { findings, asked } = entry.search;
      const plan = remade({ ...request, ...asked, stagesPerDevice: undefined }, entry, cache);
      if (plan) return { found: { plan, ...foundOf(findings) }, cached: true };
    }
    const begin = performance.now();
    const found = await searchPlan(request, options, cache);
    const { plan } = found;
    if (!found.interrupted) {
      const asked = Object.fromEntries(searched.map((name) => [name, plan.request[name]]));
      const search = { findings: findingsOf(found), asked } as Entry['search'];
      await this.#keep(key, begin, () => ({ ...storedPlanOf(plan), search }));
    }
    return { found, cached: false };
  }

  #keyOf(request: PlanRequest, cache: PlanCache, how: string, microbatches?: readonly number[]): string | undefined {
    const planner = this.#planner;
    const content = planner && contentOf(request, cache, microbatches);
    if (!content) return undefined;
    const hash = createHash('sha256');
    // Parts have their lengths in front of them, so that no two lists of parts read the same.
    for (const part of [planner, how, ...content]) {
      hash.update(`${typeof part === 'string' ? part.length : `bytes ${part.byteLength}`}\n`).update(part);
    }
    return hash.digest('hex').slice(0, 40);
  }

  #read(key: string | undefined): Entry | undefined {
    if (key === undefined) return undefined;
    const file = this.#fileOf(key);
    try {
      const text = readFileSync(file, 'utf8');
      const split = text.indexOf('\n');
      const { format, version, sha256 } = JSON.parse(text.slice(0, split)) as Record<string, unknown>;
      const body = text.slice(split + 1);
      if (format !== 'partita-stored-plan' || version !== VERSION || sha256 !== hashOf(body)) return undefined;
      const now = new Date();
      utimesSync(file, now, now); // used now: the last to go
      return JSON.parse(body) as Entry;
    } catch {
      return undefined; // missing, or damaged: it is made and written anew
    }
  }

  async #keep(key: string | undefined, begin: number, entry: () => Entry): Promise<void> {
    if (key === undefined || performance.now() - begin < 1000 * this.#worthSeconds) return;
    const body = JSON.stringify(entry());
    if (body.length > this.#mostBytes) return;
    const head = JSON.stringify({ format: 'partita-stored-plan', version: VERSION, sha256: hashOf(body) });
    try {
      makeFolder(this.folder!);
      await writeFileAtomic(this.#fileOf(key), `${head}\n${body}`);
      await removeLeftovers(this.folder!);
      this.#evict();
    } catch (error) {
      this.#warn(`cannot keep the plan: ${(error as Error).message}`);
    }
  }

  #fileOf = (key: string): string => join(this.folder!, `${key}.json`);

  /** Another process may take an entry away meanwhile. */
  #evict(): void {
    const entries = readdirSync(this.folder!)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        const file = join(this.folder!, name);
        const found = statSync(file, { throwIfNoEntry: false });
        return found ? [{ file, bytes: found.size, used: found.mtimeMs }] : [];
      })
      .sort((a, b) => b.used - a.used);
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.bytes;
      if (bytes > this.#mostBytes) removeIfThere(entry.file);
    }
  }
}

function findingsOf({ plan: _, trials: __, best, pareto, ...rest }: SearchResult): Findings {
  const placeOf = (c: EvaluatedCandidate): number => rest.evaluated.indexOf(c);
  return { ...rest, best: placeOf(best), pareto: pareto.map(placeOf) };
}

function foundOf({ best, pareto, ...rest }: Findings): Omit<SearchResult, 'plan'> {
  const at = (place: number): EvaluatedCandidate => rest.evaluated[place]!;
  return { ...rest, best: at(best), pareto: pareto.map(at) };
}

function removeIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** undefined where the entry makes no plan of the request: planning anew says what is wrong, if anything is. */
function remade(request: PlanRequest, entry: Entry, cache: PlanCache): Plan | undefined {
  try {
    return planOfStored(request, entry, cache);
  } catch {
    return undefined;
  }
}
