/** An experiment's ONNX file as a model. */
import { basename } from 'node:path';
import { FormatError, GraphError, UsageError } from '../../core/errors.ts';
import type { Shape } from '../../core/types.ts';
import { prepareImport } from '../../formats/onnx/importer.ts';
import { fedInputs, inputBatchAxis } from '../../formats/onnx/interface.ts';
import type { OnnxModel } from '../../formats/onnx/model.ts';
import { readOnnx } from '../../formats/onnx/read.ts';
import type { Model } from '../../optim/model.ts';
import { objectiveOf } from './model.ts';
import type { Experiment, ModelChoice } from './schema.ts';

export type OnnxChoice = Extract<ModelChoice, { kind: 'onnx' }>;

/** The shape of a step's tensor in the data, batch included; undefined where the data have none of this name. */
export type DataShapes = (name: string) => Shape | undefined;

/**
 * Imports the file. Symbols that the experiment gives no size (`model.dims`) have the data's. Every layout and microbatch
 * size builds its graphs from this one model.
 */
export function onnxModel(choice: OnnxChoice, experiment: Experiment, dataShapes: DataShapes = () => undefined): Model {
  const file = readOnnx(choice.file);
  const { batchAxis, frozen } = experiment;
  // Targets are no tensors of the file.
  const own = new Set([...file.graph.inputs, ...file.graph.outputs].map((v) => v.name));
  const batchAxes = Object.fromEntries(Object.entries(batchAxis).filter(([name]) => own.has(name)));
  const { constants } = choice;
  const dims = { ...dimsOfData(file, batchAxes, dataShapes), ...choice.dims };
  const name = basename(choice.file, '.onnx');
  const importer = inFile(choice.file, () =>
    prepareImport(file, { batchAxes, dims, constants, frozen, ...dataBatch(file, batchAxes, dataShapes) }),
  );
  checkDims(file, choice);
  return {
    name,
    ...(importer.fileBatch === undefined ? {} : { ownBatch: importer.fileBatch }),
    build: (batch, mode) => {
      const graph = inFile(choice.file, () => importer.build(batch, mode));
      return { graph, objective: objectiveOf(graph, experiment.objective ?? [], { samples: batch, batchAxis }) };
    },
  };
}

/** Errors of an import say the file. */
function inFile<T>(file: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof GraphError || error instanceof FormatError)) throw error;
    const Kind = error instanceof GraphError ? GraphError : FormatError;
    throw new Kind(error.code, `${file}: ${error.message.split('\n  at ')[0]}`, {
      fields: { file, ...error.fields },
      remedy: error.remedy,
      cause: error,
    });
  }
}

/** Sizes that the data give the file's symbols. */
function dimsOfData(
  model: OnnxModel,
  batchAxes: Experiment['batchAxis'],
  dataShapes: DataShapes,
): Record<string, number> {
  const dims: Record<string, number> = {};
  for (const input of fedInputs(model, {})) {
    const shape = dataShapes(input.name);
    if (!shape || shape.length !== input.shape?.length) continue;
    const batch = inputBatchAxis(input, batchAxes);
    input.shape.forEach((dim, axis) => {
      if (typeof dim !== 'number' && axis !== batch) dims[dim ?? `${input.name}.${axis}`] ??= shape[axis]!;
    });
  }
  return dims;
}

/** The batch size that the data give the first batched input. */
function dataBatch(
  model: OnnxModel,
  batchAxes: Experiment['batchAxis'],
  dataShapes: DataShapes,
): { readonly dataBatch?: number } {
  for (const input of fedInputs(model, {})) {
    const axis = inputBatchAxis(input, batchAxes);
    const batch = axis === null ? undefined : dataShapes(input.name)?.at(axis);
    if (batch !== undefined) return { dataBatch: batch };
  }
  return {};
}

/** Every size must be one of a symbol of the file. */
function checkDims(model: OnnxModel, { dims }: OnnxChoice): void {
  const symbols = new Set(
    fedInputs(model, {}).flatMap(({ name, shape }) => (shape ?? []).map((dim, axis) => dim ?? `${name}.${axis}`)),
  );
  const unknown = Object.keys(dims).find((symbol) => !symbols.has(symbol));
  if (unknown === undefined) return;
  const names = [...symbols].filter((symbol) => typeof symbol === 'string');
  throw new UsageError('onnx-dim', `model.dims.${unknown}: no input of the file has a size of this name`, {
    fields: { key: `model.dims.${unknown}`, symbols: names },
    remedy: names.length > 0 ? `the file has ${names.join(', ')}` : 'leave it out: all sizes are in the file',
  });
}
