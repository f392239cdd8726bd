/** A graph → a draft of the ONNX graph, node by node, by the table of exporters. */
import { GraphError, joinProblems, UsageError } from '../../core/errors.ts';
import type { HostTensor, TensorType } from '../../core/types.ts';
import { Graph, type Node, type Tensor } from '../../graph/graph.ts';
import type { Attrs } from '../../graph/op-record.ts';
import type { Feed } from '../../graph/source.ts';
import { isOpName } from '../../ops/index.ts';
import { type Draft, type DraftItem, type DraftNode, type DraftSource, Value } from './draft.ts';
import type { ExportContext, Exporter, ExportTable, NodeAttributes, Parts } from './exporters/exporter.ts';
import { type OnnxDType, onnxDTypes } from './model.ts';
import { ownDomain } from './operator.ts';

/** What a dtype of a graph is inside an ONNX file. */
export const innerDTypes = { f32: 'FLOAT', i32: 'INT32', bool: 'BOOL' } as const;

export interface DraftOptions {
  readonly opset: number;
  /** Element type of integer inputs and outputs. */
  readonly integers: 'INT64' | 'INT32';
}

/** A function's nodes: no batch, no initialisers. */
export interface FunctionDraft {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly items: readonly DraftItem[];
}

/** Functions that the draft's nodes call, by name. */
export interface DraftedGraph extends Draft {
  readonly functions: ReadonlyMap<string, FunctionDraft>;
}

/** Thrown by a rule, caught at its node. */
class Refused extends Error {}

interface Problem {
  readonly node: string;
  readonly op: string;
  readonly why: string;
}

/**
 * What the graph's outputs depend on, and no more: losses and what is fed for them stay behind. Inputs that a file has
 * named stay, read or not. Throws GraphError `onnx-export` naming every node that cannot be written.
 */
export function draftGraph(graph: Graph, table: ExportTable, options: DraftOptions): DraftedGraph {
  if (graph.outputs.size === 0) {
    throw new GraphError('onnx-export', 'the graph has no outputs, so there is nothing to export', {
      remedy: "declare one: graph.output('y', y)",
    });
  }
  return new Drafter(table, options).graph(graph);
}

class Drafter {
  readonly #table: ExportTable;
  readonly #options: DraftOptions;
  readonly #functions = new Map<string, FunctionDraft>();
  readonly #problems: Problem[] = [];
  #items: DraftItem[] = [];

  constructor(table: ExportTable, options: DraftOptions) {
    this.#table = table;
    this.#options = options;
  }

  graph(graph: Graph): DraftedGraph {
    const roots = [...graph.outputs.values()];
    const { nodes, read } = needed(roots);
    const labels = new Map([...graph.labels].reverse().map(([name, tensor]) => [tensor, name]));
    const nameOf = (tensor: Tensor): string => labels.get(tensor) ?? tensor.name;
    const values = new Map<Tensor, Value>();
    const inputs: DraftSource[] = [];
    const initializers: DraftSource[] = [];
    for (const node of graph.nodes) {
      const { source } = node;
      const tensor = node.outputs[0]!;
      if (!source || source.kind === 'constant') continue;
      const isData = source.feed?.kind === 'data';
      if (!nodes.has(node) && !(isData && labels.has(tensor))) continue;
      const value = new Value(source.name);
      if (isData) {
        inputs.push({ value, name: source.name, type: tensor.type });
        values.set(tensor, this.#entering(value, tensor, source.name));
      } else if (source.kind === 'input') {
        values.set(tensor, this.#fed(node, source.feed!));
      } else if (source.kind === 'state') {
        this.#problems.push({
          node: node.name,
          op: source.kind,
          why: 'the state of an optimizer is no part of a model',
        });
        values.set(tensor, value);
      } else {
        initializers.push({ value, name: source.name, type: tensor.type });
        values.set(tensor, value);
      }
    }
    for (const node of graph.nodes) {
      if (!nodes.has(node)) continue;
      this.#node(node, values, read, node.name);
      if (node.source && node.source.kind !== 'constant') continue;
      for (const tensor of node.outputs) {
        const value = values.get(tensor);
        if (value) value.name = nameOf(tensor);
      }
    }
    this.#throwProblems();
    const taken = new Set<Value>();
    const outputs = [...graph.outputs].map(([name, tensor]) => {
      const value = this.#leaving(values.get(tensor)!, tensor, name, taken);
      taken.add(value);
      value.name = name;
      return { name, value, type: tensor.type };
    });
    return { inputs, initializers, items: this.#items, outputs, functions: this.#functions };
  }

  /** Integers come in as the interface has them and are 32 bits wide inside. */
  #entering(value: Value, { dtype }: Tensor, name: string): Value {
    if (dtype !== 'i32' || this.#options.integers === 'INT32') return value;
    return this.#emit(`${name}/Cast`, 'Cast', [value], 1, { to: onnxDTypes.INT32 })[0]!;
  }

  /** A value of its own for an output: sources, and what is an output already, are copied. */
  #leaving(value: Value, { dtype }: Tensor, name: string, taken: ReadonlySet<Value>): Value {
    if (dtype === 'i32' && this.#options.integers === 'INT64') {
      return this.#emit(`${name}/Cast`, 'Cast', [value], 1, { to: onnxDTypes.INT64 })[0]!;
    }
    if (value.producer && !taken.has(value)) return value;
    return this.#emit(`${name}/Identity`, 'Identity', [value], 1)[0]!;
  }

  /** What a session feeds besides the data. */
  #fed(node: Node, feed: Feed): Value {
    const { shape } = node.outputs[0]!;
    if (feed.kind === 'sampleIndices') {
      // A runtime gives the whole batch at once: sample i is sample i.
      const context = this.#context(node.name, [], [], [node.outputs[0]!.type], () => true);
      const [batch] = [context.emit('Squeeze', [context.sizes(shape, 'any')])];
      const range = context.emit('Range', [context.integer(0), batch, context.integer(1)]);
      return context.emit('Cast', [range], { to: onnxDTypes.INT32 });
    }
    const why: Readonly<Record<Exclude<Feed['kind'], 'data' | 'sampleIndices'>, string>> = {
      inverseCount: 'it normalises a loss by the whole batch of a training step',
      inverseElements: 'it normalises a loss by the whole batch of a training step',
      randomKey: 'random numbers follow the seed and step of a session: build the model for evaluation',
      hyper: 'it is a number of the optimizer',
    };
    this.#problems.push({ node: node.name, op: 'input', why: why[feed.kind as keyof typeof why] });
    return new Value(node.name);
  }

  /** Values of a node's outputs, from those of its inputs. */
  #node(node: Node, values: Map<Tensor, Value>, read: ReadonlySet<Tensor>, name: string): void {
    if (node.source) {
      if (node.source.kind !== 'constant') return;
      const tensor = node.outputs[0]!;
      values.set(tensor, this.#constant({ type: tensor.type, data: node.source.value! }, name, name));
      return;
    }
    const op = node.op!.name;
    // Problems of a node's inputs are told of already.
    const inputs = node.inputs.map((t) => values.get(t));
    if (inputs.some((value) => value === undefined)) return;
    const start = this.#items.length;
    const made = this.#play(node, inputs as Value[], read, name, op);
    if (!made) return;
    const claimed = new Set<Value>();
    node.outputs.forEach((tensor, i) => {
      const value = made[i];
      if (!read.has(tensor)) return;
      if (!value) throw new TypeError(`the exporter of ${op} does not make output ${i}`);
      const own = value.producer && !claimed.has(value) && this.#items.indexOf(value.producer, start) >= start;
      const result = own ? value : this.#emit(`${name}/Identity`, 'Identity', [value], 1)[0]!;
      claimed.add(result);
      values.set(tensor, result);
      if (i === 0) result.producer!.name = name;
    });
  }

  #play(
    node: Node,
    inputs: readonly Value[],
    read: ReadonlySet<Tensor>,
    name: string,
    op: string,
  ): readonly (Value | undefined)[] | undefined {
    let exporter: Exporter = isOpName(op)
      ? (this.#table[op] as unknown as Exporter)
      : { kind: 'none', why: 'it is no op of the table' };
    const types = (tensors: readonly Tensor[]): TensorType[] => tensors.map((t) => t.type);
    const context = this.#context(name, inputs, types(node.inputs), types(node.outputs), (i) =>
      read.has(node.outputs[i]!),
    );
    while (exporter.kind === 'choice') exporter = exporter.of(context, node.attrs);
    try {
      switch (exporter.kind) {
        case 'nodes':
          return exporter.rule(context, node.attrs);
        case 'parts':
          return this.#parts(exporter.build, context, node.attrs, name);
        case 'function':
          this.#function(exporter.name, exporter.build, context.inputTypes, node.attrs);
          return this.#emit(name, exporter.name, inputs, node.outputs.length, {}, ownDomain);
        case 'none':
          throw new Refused(exporter.why);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#problems.push({ node: name, op, why: error.message });
      return undefined;
    }
  }

  /** The op as a graph of others, which are written in its place. */
  #parts(
    build: Parts<Attrs>,
    { inputs, inputTypes, wants }: Pick<ExportContext, 'inputs' | 'inputTypes' | 'wants'>,
    attrs: Attrs,
    name: string,
  ): readonly (Value | undefined)[] {
    const scratch = new Graph();
    const bound = inputTypes.map((type, i) => scratch.input(`input.${i}`, { ...type, batchAxis: null }));
    const built = build(bound, attrs).map((tensor, i) => (wants(i) ? tensor : undefined));
    const { nodes, read } = needed(built.filter((tensor) => tensor !== undefined));
    const values = new Map(bound.map((tensor, i) => [tensor, inputs[i]!]));
    for (const node of scratch.nodes) {
      if (nodes.has(node)) this.#node(node, values, read, `${name}/${node.name}`);
    }
    return built.map((tensor) => tensor && values.get(tensor));
  }

  #function(name: string, build: Parts<Attrs>, types: readonly TensorType[], attrs: Attrs): void {
    if (this.#functions.has(name)) return;
    const inputs = types.map((_, i) => new Value(`x${i}`));
    const outside = this.#items;
    this.#items = [];
    const made = this.#parts(build, { inputs, inputTypes: types, wants: () => true }, attrs, name) as Value[];
    // What comes out as it went in needs a node that makes it.
    const outputs = made.map((value) => (value.producer ? value : this.#emit(name, 'Identity', [value], 1)[0]!));
    this.#functions.set(name, { name, inputs, outputs, items: this.#items });
    this.#items = outside;
  }

  #context(
    name: string,
    inputs: readonly Value[],
    inputTypes: readonly TensorType[],
    outputTypes: readonly TensorType[],
    wants: (output: number) => boolean,
  ): ExportContext {
    const emitAll: ExportContext['emitAll'] = (opType, operands, outputs, attributes) =>
      this.#emit(`${name}/${opType}`, opType, operands, outputs, attributes);
    const int64 = (values: readonly number[], dims: readonly number[]): Value => {
      const data = BigInt64Array.from(values, BigInt);
      return this.#put(`${name}/integers`, 'INT64', dims, new Uint8Array(data.buffer), name);
    };
    return {
      opset: this.#options.opset,
      inputs,
      inputTypes,
      outputTypes,
      wants,
      emit: (opType, operands, attributes) => emitAll(opType, operands, 1, attributes)[0]!,
      emitAll,
      integers: (values) => int64(values, [values.length]),
      integer: (value) => int64([value], []),
      sizes: (sizes, use) => {
        const value = new Value(`${name}/sizes`);
        this.#items.push({ kind: 'sizes', value, sizes, use, for: name });
        return value;
      },
      constant: (tensor) => this.#constant(tensor, `${name}/constant`, name),
      refuse: (why) => {
        throw new Refused(why);
      },
    };
  }

  #constant({ type, data }: HostTensor, hint: string, name: string): Value {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return this.#put(hint, innerDTypes[type.dtype], type.shape, bytes, name);
  }

  #put(hint: string, dtype: OnnxDType, dims: readonly number[], bytes: Uint8Array, name: string): Value {
    const value = new Value(hint);
    this.#items.push({ kind: 'constant', value, dtype, dims, bytes, for: name });
    return value;
  }

  #emit(
    name: string,
    opType: string,
    inputs: readonly (Value | undefined)[],
    outputs: number,
    attributes: NodeAttributes = {},
    domain = '',
  ): readonly Value[] {
    const node: DraftNode = { kind: 'node', name, opType, domain, inputs, outputs: [], attributes };
    for (let i = 0; i < outputs; i++) node.outputs.push(new Value(i === 0 ? name : `${name}:${i}`, node));
    this.#items.push(node);
    return node.outputs;
  }

  #throwProblems(): void {
    if (this.#problems.length === 0) return;
    const texts = this.#problems.map(({ node, op, why }) => `${node} (${op}): ${why}`);
    throw new UsageError('onnx-export', `the graph cannot be written as an ONNX file: ${joinProblems(texts)}`, {
      fields: { problems: this.#problems },
      remedy: 'export the forward graph of the model, built for evaluation',
    });
  }
}

/** Nodes that tensors depend on, and the tensors that they read (the given ones included). */
function needed(roots: readonly Tensor[]): { nodes: Set<Node>; read: Set<Tensor> } {
  const nodes = new Set<Node>();
  const read = new Set<Tensor>(roots);
  const stack = roots.map((t) => t.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (nodes.has(node)) continue;
    nodes.add(node);
    for (const tensor of node.inputs) {
      read.add(tensor);
      stack.push(tensor.node);
    }
  }
  return { nodes, read };
}
