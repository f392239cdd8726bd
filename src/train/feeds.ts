import { UsageError } from '../core/errors.ts';
import { formatType, type HostTensor, sameType } from '../core/types.ts';
import { toReference } from '../graph/evaluate.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import type { RefTensor } from '../graph/op-record.ts';
import type { Source } from '../graph/source.ts';
import { initialValue } from './fill.ts';

/** What a step knows when it fills the graph's inputs. */
export interface FeedContext {
  /** The user's tensors, whole batch. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  /** Samples of `tensors`. */
  readonly samples: number;
  /** The larger batch that `tensors` are a part of; default: they are the whole. */
  readonly whole?: WholeBatch;
  readonly seed: number;
  readonly step: number;
  /** Scalars of the update. */
  readonly hyper: () => Float32Array;
}

/**
 * The batch that a run takes a part of. The scalars that make sums means are those of the whole, so that the shares of all
 * parts add up to its objective, and samples are known by their places in it.
 */
export interface WholeBatch {
  /** The targets at least, whole. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly samples: number;
  /** Place of the part's first sample. */
  readonly first: number;
}

/**
 * The value of an input for one step, of the whole batch. Throws UsageError where the user's tensor is missing, or the rate
 * is none that f32 can hold.
 */
export function feedValue({ name, feed }: Source, context: FeedContext): HostTensor {
  const rule = feed!;
  const { tensors, samples, seed, step, hyper } = context;
  const whole = context.whole ?? { tensors, samples, first: 0 };
  const scalar = (value: number): HostTensor => ({ type: { dtype: 'f32', shape: [] }, data: Float32Array.of(value) });
  const given = (wanted: string, among = tensors): HostTensor => {
    const tensor = among[wanted];
    if (tensor) return tensor;
    throw new UsageError('missing-input', `the batch has no tensor ${wanted}`, {
      fields: { input: wanted, given: Object.keys(among) },
      remedy: `add ${wanted} to the data; it holds ${Object.keys(among).join(', ') || 'nothing'}`,
    });
  };
  switch (rule.kind) {
    case 'data':
      return given(name);
    case 'inverseCount': {
      let count = 0;
      const { data } = given(rule.target, whole.tensors);
      // What is no tensor is refused where it is fed itself.
      for (const t of ArrayBuffer.isView(data) ? data : []) if (t !== rule.ignoreIndex) count++;
      return scalar(1 / count);
    }
    case 'inverseElements':
      return scalar(1 / (rule.perSample * whole.samples));
    case 'sampleIndices':
      return {
        type: { dtype: 'i32', shape: [samples] },
        data: Int32Array.from({ length: samples }, (_, i) => whole.first + i),
      };
    case 'randomKey':
      return {
        type: { dtype: 'i32', shape: [4] },
        data: Int32Array.of(seed | 0, Math.floor(seed / 2 ** 32), step, 0),
      };
    case 'hyper': {
      const data = hyper();
      const wrong = data.find((scalar) => !Number.isFinite(scalar));
      if (wrong !== undefined) {
        throw new UsageError(
          'rate-not-finite',
          `step ${step}: the update's scalars hold ${wrong}, which would make every parameter NaN`,
          {
            fields: { step, scalars: [...data].map(String) },
            remedy: 'give a learning rate and a momentum that are finite in f32 (up to 3.4e38)',
          },
        );
      }
      return { type: { dtype: 'f32', shape: [data.length] }, data };
    }
  }
}

/**
 * Values of all sources for the f64 reference: inputs by the feeds' rules, parameters from `parameters` or their
 * initialisation. `given` comes first: values of inputs and parameters by name.
 */
export function referenceFeeds(
  graph: Graph,
  context: FeedContext,
  parameters: ReadonlyMap<string, HostTensor> | undefined,
  given: ReadonlyMap<string, HostTensor> = new Map(),
): Map<Tensor, RefTensor> {
  const feeds = new Map<Tensor, RefTensor>();
  const tensors = { ...context.tensors, ...Object.fromEntries(given) };
  for (const node of graph.nodes) {
    const { source } = node;
    if (!source || source.kind === 'constant') continue;
    const out = node.outputs[0]!;
    const value =
      given.get(source.name) ??
      (source.kind === 'input'
        ? feedValue(source, { ...context, tensors })
        : (parameters?.get(source.name) ?? initialValue(out.type, source.init!, context.seed, source.name)));
    if (!sameType(value.type, out.type)) {
      throw new UsageError(
        'feed-type',
        `${source.kind} ${source.name} is ${formatType(out.type)} and was given ${formatType(value.type)}`,
        {
          fields: { name: source.name, expected: formatType(out.type), got: formatType(value.type) },
          remedy: `give ${formatType(out.type)}`,
        },
      );
    }
    feeds.set(out, toReference(value));
  }
  return feeds;
}
