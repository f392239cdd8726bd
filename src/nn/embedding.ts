import { GraphError } from '../core/errors.ts';
import { type OptionNames, optionProblem, shown } from '../core/options.ts';
import { Graph, type Tensor } from '../graph/graph.ts';
import type { ParameterInit } from '../graph/source.ts';
import { callerLine } from '../graph/source-line.ts';
import { normal } from '../init/index.ts';
import { equal, where } from '../ops/compare.ts';
import { detach } from '../ops/detach.ts';
import { gather } from '../ops/gather.ts';
import { unsqueeze } from '../ops/shape.ts';
import { refuse, requireTensor } from './refuse.ts';
import { kindOfOptionProblem, type LayerOptions, scoped } from './scope.ts';

export interface EmbeddingTable extends LayerOptions {
  readonly rows: number;
  readonly dim: number;
  /** default N(0, 1), as PyTorch */
  readonly init?: ParameterInit;
  /** A row that begins as zeros and gets no gradient from the embedding (negative: from the end). */
  readonly paddingIdx?: number;
}

export interface EmbeddingWeight {
  /** A weight [rows, dim] to share. */
  readonly weight: Tensor;
  readonly paddingIdx?: number;
  readonly name?: string;
}

const tableOptions = { name: true, rows: 'required', dim: 'required', init: true, paddingIdx: true } as const;
const sharedOptions = { name: true, weight: 'required', paddingIdx: true } as const;

const rowOf = (paddingIdx: number, rows: number): number => (paddingIdx < 0 ? paddingIdx + rows : paddingIdx);

/** The weight [rows, dim] of an embedding, by itself: to be passed to `embedding` and, tied, to `linear`. */
export function embeddingWeight(graph: Graph, options: EmbeddingTable): Tensor {
  if (!(graph instanceof Graph)) {
    throw new GraphError('layer-options', `embeddingWeight: takes a graph, got ${shown(graph)}${callerLine()}`, {
      fields: { layer: 'embeddingWeight' },
      remedy: 'embeddingWeight(x.graph, { rows, dim })',
    });
  }
  const problem =
    optionProblem(options, tableOptions satisfies OptionNames<EmbeddingTable>) ?? kindOfOptionProblem(options);
  if (problem) {
    throw new GraphError('layer-options', `embeddingWeight: ${problem.text}${callerLine()}`, {
      fields: { layer: 'embeddingWeight', unknown: 'unknown' in problem ? problem.unknown : [] },
      remedy: problem.remedy,
    });
  }
  const { rows, dim, name, init = normal(), paddingIdx } = options;
  const first: ParameterInit =
    paddingIdx === undefined ? init : { kind: 'zeroRow', of: init, row: rowOf(paddingIdx, rows) };
  const build = (): Tensor => graph.parameter('weight', [rows, dim], first);
  return name === undefined ? build() : graph.scope(name, build);
}

/**
 * Rows of a table by i32 index (PyTorch Embedding): indices […] → […, dim]. Takes a weight, or makes one. Where an index is
 * `paddingIdx`, the row is read but gets no gradient. Unlike PyTorch's, a negative index counts from the end, as `gather`'s
 * does: marks of −1 are to be mapped to `paddingIdx` before.
 */
export function embedding(indices: Tensor, options: EmbeddingTable | EmbeddingWeight): Tensor {
  const isShared = typeof options === 'object' && options !== null && 'weight' in options;
  return scoped('embedding', indices, options, isShared ? sharedOptions : tableOptions, () => {
    const { paddingIdx } = options;
    if ('weight' in options)
      requireTensor('embedding: weight', options.weight, 'weight: embeddingWeight(x.graph, { rows, dim })');
    const rows = 'weight' in options ? options.weight.shape[0]! : options.rows;
    if (paddingIdx !== undefined && !(Number.isInteger(paddingIdx) && paddingIdx >= -rows && paddingIdx < rows)) {
      refuse('embedding', indices, `paddingIdx ${paddingIdx} is no row of a table of ${rows}`);
    }
    const weight =
      'weight' in options ? options.weight : embeddingWeight(indices.graph, { ...options, name: undefined });
    const found = gather(weight, indices);
    if (paddingIdx === undefined) return found;
    const isPadding = unsqueeze(equal(indices, rowOf(paddingIdx, rows)), { axes: -1 });
    return where(isPadding, detach(found), found);
  });
}
