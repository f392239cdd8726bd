/**
 * ONNX models as graphs of any batch size: a file is built for two of them, which shows where the batch is in every value,
 * or where a batch size is baked in. `graph-importer.ts` builds one graph.
 */

import { FormatError, GraphError, nearest, UsageError } from '../../core/errors.ts';
import { requireArgument, requireKinds } from '../../core/options.ts';
import type { Graph } from '../../graph/graph.ts';
import type { ModelMode } from '../../optim/model.ts';
import { compareBatches } from './batch-axes.ts';
import { Importer, type ImportOptions, opsetRange } from './graph-importer.ts';
import { fileBatch } from './interface.ts';
import type { OnnxGraph, OnnxModel } from './model.ts';

export type { ImportOptions } from './graph-importer.ts';

/** A model whose sizes are settled but for the batch. */
export interface OnnxImporter {
  /** The batch size that the file was made for; undefined where it says a symbol. */
  readonly fileBatch: number | undefined;
  /** The graph for a batch size; its outputs know the axis of their batch. */
  readonly build: (batch: number, mode?: ModelMode) => Graph;
}

/** The graph of a model for one batch size. See `prepareImport` for several. */
export const importModel = (
  model: OnnxModel,
  options: ImportOptions & { readonly batch: number; readonly mode?: ModelMode },
): Graph => {
  requireKinds('importModel', { options: ['record', options], 'options.batch': ['count', options?.batch] });
  return prepareImport(model, options).build(options.batch, options.mode);
};

/**
 * Checks a model by building it twice, for its own batch size and another: that shows where the batch is in every value,
 * and whether the file has its batch size baked in. Throws FormatError for what the file does wrong, GraphError naming all
 * nodes that are not supported, UsageError where options contradict the file.
 */
export function prepareImport(model: OnnxModel, options: ImportOptions = {}): OnnxImporter {
  requireArgument(
    'prepareImport',
    model?.opsets instanceof Map && Array.isArray(model.graph?.nodes),
    'a model',
    model,
    "readOnnx('model.onnx')",
  );
  requireKinds('prepareImport', { options: ['record', options], frozen: ['texts', options?.frozen ?? []] });
  const opset = model.opsets.get('');
  if (opset !== undefined && (opset < opsetRange.first || opset > opsetRange.last)) {
    throw new GraphError(
      'onnx-opset',
      `the file uses version ${opset} of the ONNX operators; ${opsetRange.first} to ${opsetRange.last} are supported`,
      { fields: { opset, ...opsetRange }, remedy: 'onnx.version_converter.convert_version(model, 17)' },
    );
  }
  checkNames(model, options);
  const own = fileBatch(model, options);
  const first = own ?? 2;
  const importFor = (batch: number): Graph => new Importer(model, options, batch, 'training', undefined).import();
  const a = attempt(() => importFor(first));
  if (own !== undefined && a instanceof Error) throw a;
  const b = attempt(() => importFor(first + 1));
  const axes = a instanceof Error ? a : b instanceof Error ? b : attempt(() => compareBatches(a, first, b, first + 1));
  const build = (batch: number, mode: ModelMode = 'training'): Graph =>
    new Importer(model, options, batch, mode, axes instanceof Error ? undefined : axes).import();
  if (!(axes instanceof Error)) return { fileBatch: own, build };
  // A batch of 1 broadcasts with every other size, and what builds for all of them (though it mixes samples) shows none.
  const mayFit = own === undefined && (a instanceof Error || b instanceof Error) && options.dataBatch !== 1;
  const tried = mayFit ? options.dataBatch : undefined;
  const trial = tried === undefined ? axes : attempt(() => importFor(tried));
  // What is wrong at every size has nothing to do with the batch.
  if (a instanceof Error && trial instanceof Error) throw trial;
  const made = trial instanceof Error ? own : tried;
  return {
    fileBatch: made,
    build: (batch, mode) => {
      if (batch === made) return build(batch, mode);
      throw bakedIn(axes, batch, made);
    },
  };
}

/** The result, or the error of a model that does not suit the size it is built for. */
function attempt<T>(run: () => T): T | GraphError | FormatError {
  try {
    return run();
  } catch (error) {
    if (error instanceof GraphError || error instanceof FormatError) return error;
    throw error;
  }
}

function bakedIn(cause: GraphError | FormatError, batch: number, own: number | undefined): GraphError {
  const why =
    own === undefined
      ? `${cause.message} (the file states a symbol; was it traced with another size, which is baked in there?)`
      : `the file was made for ${own}, and ${cause.message}`;
  const use = own === undefined ? 'use the batch size that it was traced with' : `use batches of ${own}`;
  return new GraphError('onnx-batch-size', `the model cannot be built for a batch of ${batch}: ${why}`, {
    fields: { ...cause.fields, batch, fileBatch: own ?? null },
    remedy: `${use} and one microbatch, or export the model with a symbolic batch in all places (dynamic_axes)`,
    cause,
  });
}

function checkNames(model: OnnxModel, { frozen = [] }: ImportOptions): void {
  const names = initializerNames(model.graph);
  for (const name of frozen) {
    if (names.includes(name)) continue;
    const near = nearest(name, names);
    const hint = near ? `; did you mean "${near}"?` : '';
    throw new UsageError('unknown-parameter', `frozen: no initialiser is named "${name}"${hint}`, {
      fields: { key: 'frozen', parameter: name, nearest: near ?? null, parameters: names },
      remedy: near,
    });
  }
}

/** Names of the initialisers of a graph and of the branches in it. */
function initializerNames(graph: OnnxGraph): string[] {
  const inner = graph.nodes.flatMap((node) => {
    const inside = node.name || node.outputs.find((output) => output !== '');
    const names = [...node.attributes.values()].flatMap((a) => (a.kind === 'graph' ? initializerNames(a.value) : []));
    return names.flatMap((name) => [name, `${inside}/${name}`]);
  });
  return [...graph.initializers.map((t) => t.name), ...inner];
}
