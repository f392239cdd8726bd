import { shown } from '../core/options.ts';
import type { TensorData } from '../core/types.ts';

/**
 * Sources have no inputs and no kernel: their values come from outside the graph. A `buffer` belongs to the model and is
 * no parameter (running statistics of batch normalisation): it gets no gradient and is no optimizer's.
 */
export type SourceKind = 'input' | 'parameter' | 'constant' | 'state' | 'buffer';

/** Who fills an input each step. */
export type Feed =
  /** The user's tensor of this name; `batchAxis` null: not batched, whole to every microbatch. */
  | { readonly kind: 'data'; readonly batchAxis: number | null }
  /** 1 / (targets of the whole batch that are not `ignoreIndex`): makes a sum a mean over the whole batch. */
  | { readonly kind: 'inverseCount'; readonly target: string; readonly ignoreIndex: number | null }
  /** 1 / (`perSample` × samples of the whole batch). */
  | { readonly kind: 'inverseElements'; readonly perSample: number }
  /** i32 [batch]: place of each sample in the whole batch of the step, cut into microbatches like the data. */
  | { readonly kind: 'sampleIndices' }
  /** i32 [4]: low and high word of the seed, the step, 0. With the sample and the node it keys random numbers. */
  | { readonly kind: 'randomKey' }
  /** Scalars of the update that change from step to step (rate, bias corrections), by the optimizer's own rule. */
  | { readonly kind: 'hyper'; readonly rule: string };

/** The axis along which a fed tensor is cut into microbatches; null: it goes whole to every one. */
export const feedBatchAxis = (feed: Feed): number | null =>
  feed.kind === 'data' ? feed.batchAxis : feed.kind === 'sampleIndices' ? 0 : null;

export type ParameterInit =
  | { readonly kind: 'zeros' }
  | { readonly kind: 'ones' }
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number }
  | { readonly kind: 'normal'; readonly mean: number; readonly std: number }
  | { readonly kind: 'data'; readonly data: TensorData }
  /** As `of`, but row `row` of the first axis is 0. */
  | { readonly kind: 'zeroRow'; readonly of: ParameterInit; readonly row: number };

export interface Source {
  readonly kind: SourceKind;
  /** Name outside the graph: of the input, of the parameter. */
  readonly name: string;
  readonly feed?: Feed;
  readonly init?: ParameterInit;
  /** Gets no gradient. */
  readonly frozen?: boolean;
  readonly value?: TensorData;
}

/** What keeps first values from being drawn; undefined where nothing does. */
export function initProblem(init: ParameterInit): string | undefined {
  const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
  switch (init.kind) {
    case 'zeros':
    case 'ones':
    case 'data':
      return undefined;
    case 'constant':
      return typeof init.value === 'number' && !Number.isNaN(init.value)
        ? undefined
        : `the constant ${shown(init.value)} is no number`;
    case 'uniform':
      return isNumber(init.low) && isNumber(init.high) && init.low <= init.high
        ? undefined
        : `there is nothing uniform from ${shown(init.low)} to ${shown(init.high)}`;
    case 'normal':
      return isNumber(init.mean) && isNumber(init.std) && init.std >= 0
        ? undefined
        : `there is no normal distribution with mean ${shown(init.mean)} and standard deviation ${shown(init.std)}`;
    case 'zeroRow':
      return initProblem(init.of);
    default:
      return `there is no initialisation ${shown((init as { kind: unknown }).kind)}`;
  }
}

/** An input that is cut into microbatches; every other source exists once a step. */
export const isBatched = (source: Source): boolean => source.feed !== undefined && feedBatchAxis(source.feed) !== null;
