/**
 * A graph → an `.onnx` file of what its outputs depend on. Names stay: inputs, outputs, parameters and nodes have those of
 * the graph, and values those of the file they were imported from.
 */
import { FormatError, GraphError, UsageError } from '../../core/errors.ts';
import { checkOptions, type OptionNames, requireArgument, shown } from '../../core/options.ts';
import { allocate, formatType, type HostTensor, sameType, type TensorType } from '../../core/types.ts';
import type { Graph } from '../../graph/graph.ts';
import { requireGraph } from '../../graph/require-graph.ts';
import { feedBatchAxis, type ParameterInit } from '../../graph/source.ts';
import { buildModel, type Model, requireModel } from '../../optim/model.ts';
import { assemble } from './assemble.ts';
import { compareDrafts, type Draft, fixedSizes } from './draft.ts';
import { draftGraph } from './drafter.ts';
import { encodeOnnx } from './encode.ts';
import { exporters } from './exporters/index.ts';

/** Versions of ONNX's operators that can be asked for. */
const exportOpsets = { first: 17, last: 19 } as const;

export interface ExportOptions {
  /**
   * Values of parameters and buffers by name. Those that are missing are taken from the graph, where its initialisation
   * says them without a draw.
   */
  readonly parameters?: ReadonlyMap<string, HostTensor>;
  /** Version of ONNX's operators, 17 to 19; default 17. */
  readonly opset?: number;
  /** Type of integer inputs and outputs; default INT64, which PyTorch and tokenizers give. Inside all are INT32. */
  readonly integers?: 'INT64' | 'INT32';
  /** Name of the graph in the file; default `main`. */
  readonly name?: string;
  /** Who made the file; default `partita`. */
  readonly producer?: string;
}

/** The file of one graph, all sizes as they are in it. */
export function exportOnnx(graph: Graph, options: ExportOptions = {}): Uint8Array {
  requireGraph('exportOnnx', graph);
  const settings = settingsOf('exportOnnx', options);
  return fileOf(draftGraph(graph, exporters, settings), fixedSizes, graph, settings);
}

export interface ExportedModel {
  readonly bytes: Uint8Array;
  /** `symbolic`: the file takes any batch. */
  readonly batch: 'symbolic' | number;
  /** Why it does not, where nobody asked for one batch only. */
  readonly why: string | undefined;
}

/**
 * The file of a model, built for evaluation. The batch is the symbol `batch` where the model can be built for several and
 * nothing but sizes depends on it. `batch` asks for a file of one batch size.
 */
export function exportModel(
  model: Model,
  options: ExportOptions & { readonly batch?: number | undefined } = {},
): ExportedModel {
  requireModel('exportModel', model);
  checkOptions('exportModel', options, { ...exportNames, batch: 'count' });
  const { batch, ...rest } = options;
  const settings = settingsOf('exportModel', { name: model.name, ...rest });
  const size = batch ?? model.ownBatch ?? 2;
  const build = (n: number) => buildModel(model, n, 'evaluation').graph;
  const graph = build(size);
  const draft = draftGraph(graph, exporters, settings);
  const fixed = (why: string | undefined): ExportedModel => ({
    bytes: fileOf(draft, fixedSizes, graph, settings),
    batch: size,
    why,
  });
  if (batch !== undefined) return fixed(undefined);
  if (!graph.sources('input').some(({ node: { source } }) => feedBatchAxis(source!.feed!) !== null)) {
    return fixed('no input of the model is batched');
  }
  try {
    const sizes = compareDrafts(draft, size, draftGraph(build(size + 1), exporters, settings), size + 1);
    return { bytes: fileOf(draft, sizes, graph, settings), batch: 'symbolic', why: undefined };
  } catch (error) {
    // The model was built for its own batch: what fails now is that it is built for another.
    if (!(error instanceof GraphError || error instanceof FormatError)) throw error;
    return fixed(error.message.split('\n')[0]!);
  }
}

type Settings = Required<Omit<ExportOptions, 'parameters'>> & Pick<ExportOptions, 'parameters'>;

const exportNames: OptionNames<ExportOptions> = {
  parameters: 'map',
  opset: true,
  integers: true,
  name: 'text',
  producer: 'text',
};

function settingsOf(what: string, options: ExportOptions): Settings {
  checkOptions(what, options, exportNames);
  const { opset = 17, integers = 'INT64', name = 'main', producer = 'partita', parameters } = options;
  const { first, last } = exportOpsets;
  if (!Number.isInteger(opset) || opset < first || opset > last) {
    throw new UsageError('onnx-opset', `opset must be one of ${first} to ${last}, got ${shown(opset)}`, {
      fields: { opset, ...exportOpsets },
      remedy: `--opset ${typeof opset === 'number' && opset > last ? last : first}`,
    });
  }
  const isInteger = integers === 'INT64' || integers === 'INT32';
  requireArgument(what, isInteger, "integers 'INT64' or 'INT32'", integers, "integers: 'INT64'");
  return { opset, integers, name, producer, ...(parameters ? { parameters } : {}) };
}

function fileOf(
  draft: ReturnType<typeof draftGraph>,
  sizes: Parameters<typeof assemble>[1],
  graph: Graph,
  settings: Settings,
): Uint8Array {
  return encodeOnnx(assemble(draft, sizes, initialisers(draft, graph, settings.parameters), settings));
}

/** Throws UsageError naming all parameters without a value. */
function initialisers(
  draft: Draft,
  graph: Graph,
  given: ReadonlyMap<string, HostTensor> = new Map(),
): Map<string, HostTensor> {
  const values = new Map<string, HostTensor>();
  const missing: string[] = [];
  for (const { name, type } of draft.initializers) {
    const value = given.get(name) ?? known(type, graph.node(name).source!.init!);
    if (!value) missing.push(name);
    else if (!sameType(value.type, type)) {
      throw new UsageError('parameters-mismatch', `"${name}" is ${formatType(type)}, got ${formatType(value.type)}`, {
        fields: { parameter: name, expected: formatType(type), got: formatType(value.type) },
        remedy: `give ${formatType(type)}`,
      });
    } else values.set(name, value);
  }
  if (missing.length > 0) {
    throw new UsageError('parameters-missing', `no values are given for ${missing.join(', ')}`, {
      fields: { parameters: missing },
      remedy: 'pass them as `parameters`, for instance from session.parameters()',
    });
  }
  return values;
}

/** The value that an initialisation says by itself. */
function known(type: TensorType, init: ParameterInit): HostTensor | undefined {
  switch (init.kind) {
    case 'zeros':
      return { type, data: allocate(type) };
    case 'ones':
      return { type, data: allocate(type).fill(1) };
    case 'constant':
      return { type, data: allocate(type).fill(init.value) };
    case 'data':
      return { type, data: init.data };
    case 'uniform':
    case 'normal':
    case 'zeroRow':
      return undefined;
  }
}
