import type { HostTensor } from '../core/types.ts';
import type { Source } from '../graph/source.ts';
import { hasNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import type { StagedTensor } from '../program/instruction.ts';
import { feedValue } from './feeds.ts';
import type { RunOptions } from './session-options.ts';
import { checkFeed, packFeed } from './staging-area.ts';

type Tensors = Readonly<Record<string, HostTensor>>;

/** Fills the areas that devices are fed from with the values of a program's inputs. */
export class Feeder {
  readonly #plan: Plan;
  readonly #areas: readonly Uint8Array[];
  readonly #seed: number;
  readonly #sources = new Map<string, readonly { readonly feed: StagedTensor; readonly source: Source }[]>();

  constructor(plan: Plan, areas: readonly Uint8Array[], seed: number) {
    this.#plan = plan;
    this.#areas = areas;
    this.#seed = seed;
  }

  /** Everything that is fed but the update's scalars, which the rate decides that a run is given. */
  pack(program: string, area: number, batch: Tensors, options: Pick<RunOptions, 'step' | 'whole'>): void {
    if (hasNullDevices(this.#plan.request.devices)) this.#check(program, batch);
    else this.#fill(program, area, batch, options, (source) => source.feed!.kind !== 'hyper');
  }

  /** The update's scalars. */
  packScalars(program: string, area: number, options: Pick<RunOptions, 'step' | 'lr' | 'momentum'>): void {
    this.#fill(program, area, {}, options, (source) => source.feed!.kind === 'hyper');
  }

  /** Names of the update's scalars among what the program is fed. */
  scalarsOf(program: string): Set<string> {
    return new Set(
      this.#sourcesOf(program).flatMap(({ feed, source }) => (source.feed!.kind === 'hyper' ? [feed.name] : [])),
    );
  }

  /** Null devices are fed nothing; what there is must be what the model takes. */
  #check(program: string, batch: Tensors): void {
    for (const feed of this.#plan.programs[program]!.feeds) {
      const given = batch[feed.name];
      if (given) checkFeed(feed, given);
    }
  }

  #fill(
    program: string,
    area: number,
    tensors: Tensors,
    { step = 0, whole, lr, momentum }: Pick<RunOptions, 'step' | 'whole' | 'lr' | 'momentum'>,
    wanted: (source: Source) => boolean,
  ): void {
    const { optimizer, programs } = this.#plan.request;
    const hyper = () => optimizer!.hyper(lr ?? optimizer!.defaultRate, step, momentum);
    const context = { tensors, samples: programs[program]!.batch, whole, seed: this.#seed, step, hyper };
    for (const { feed, source } of this.#sourcesOf(program)) {
      if (wanted(source)) packFeed(feed, feedValue(source, context), this.#areas[area]!);
    }
  }

  /** A program's feeds, each with the input of the graph that it is the value of. */
  #sourcesOf(program: string): readonly { readonly feed: StagedTensor; readonly source: Source }[] {
    const known = this.#sources.get(program);
    if (known) return known;
    const inputs = new Map(
      this.#plan.graphs[program]!.sources('input').map((t) => [t.node.source!.name, t.node.source!]),
    );
    const sources = this.#plan.programs[program]!.feeds.map((feed) => ({ feed, source: inputs.get(feed.name)! }));
    this.#sources.set(program, sources);
    return sources;
  }
}
