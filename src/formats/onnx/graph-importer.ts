/**
 * An ONNX model → a graph, for one batch size.
 *
 *     sizes of inputs ─► initialisers ─► nodes in order ─► outputs
 *                                           │
 *              known inputs: computed here, as shapes and all that follows from them must be before a graph can be built
 *              tensors:      the operator's rule appends nodes
 *              If, Loop, functions: their nodes take the node's place
 *
 * Names of the file survive: parameters and inputs have theirs, the node that makes a value has its ONNX node's, and every
 * value can be found by `graph.labels`.
 */
import { FormatError, GraphError, UsageError } from '../../core/errors.ts';
import { Graph, type Tensor } from '../../graph/graph.ts';
import type { ModelMode } from '../../optim/model.ts';
import type { BatchAxes } from './batch-axes.ts';
import { type ContextSource, NodeContext } from './context.ts';
import { callFunction, ModelFunctions } from './functions.ts';
import { hostRuleOf } from './host/index.ts';
import { constantInputs, declaredBatchAxis, fileBatch, type SizeOptions, Symbols, sizedInputs } from './interface.ts';
import { constantOf, float32Of, graphDType, isFloatDType, known, toHostConstant } from './known.ts';
import { nextCondition, readLoop, stackSlices } from './loop.ts';
import type {
  OnnxAttribute,
  OnnxFunction,
  OnnxGraph,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValueInfo,
} from './model.ts';
import { isTensor, type Known, type OperatorContext, ownDomain, type Value } from './operator.ts';
import { operatorRule } from './operators/index.ts';
import { ownSignature, signatureOf } from './operators/signatures.ts';
import { orderNodes, reads } from './order.ts';
import { nodeError, Problems, Unsupported } from './problems.ts';
import { type Bound, Scope } from './scope.ts';
import { Sequence, sequenceRuleOf, type Written, writtenOpset } from './sequences.ts';
import { checkSignature } from './signature.ts';
import { runningStatistics } from './statistics.ts';
import { checkDeclared, checkInitializer, valueDType } from './value-types.ts';

/**
 * Before this version operators of two tensors broadcast by attributes: those that say more than today's broadcasting are
 * refused at their node.
 */
const firstBroadcasting = 7;
/**
 * Nodes of functions and loops after they are written out: functions that call the next one twice would double with every
 * level, and a loop need not end.
 */
const maxWrittenNodes = 2 ** 16;
/** Versions of ONNX's operators that the rules know … */
export const opsetRange = { first: 1, last: 22 };
/** … and of those of other domains. */
const previewRange = { first: 1, last: 1 };
/** Elements computed on the host in all of an import. */
const maxHostTotal = 2 ** 27;

export interface ImportOptions extends SizeOptions {
  /** Initialisers that get no gradient. */
  readonly frozen?: readonly string[];
  /**
   * The batch size of the data. A file that states a symbol and still holds the size that it was traced with counts as made
   * for this one, where it can be built for it.
   */
  readonly dataBatch?: number;
}

/** Left out, or a known value of numbers. */
const isOnHost = (input: Bound | undefined): boolean => !input || !(isTensor(input.value) || !graphDType(input.dtype));

/** One import; thrown away with it. */
export class Importer {
  readonly #model: OnnxModel;
  readonly #options: ImportOptions;
  readonly #batch: number;
  readonly #mode: ModelMode;
  readonly #axes: BatchAxes | undefined;
  readonly #graph: Graph;
  readonly #problems = new Problems();
  readonly #symbols = new Symbols();
  readonly #functions: ModelFunctions;
  readonly #frozen: ReadonlySet<string>;
  readonly #lifted = new Map<Known, Tensor>();
  /** Initialisers behind parameters and buffers. */
  readonly #initializers = new Map<Tensor, OnnxTensor>();
  readonly #labelOf = new Map<Tensor, string>();
  /** Whether sizes that the file states are those of this batch. */
  readonly #statedSizes: boolean;
  #writtenNodes = 0;
  #hostElements = 0;

  constructor(model: OnnxModel, options: ImportOptions, batch: number, mode: ModelMode, axes: BatchAxes | undefined) {
    this.#model = model;
    this.#options = options;
    this.#batch = batch;
    this.#mode = mode;
    this.#graph = new Graph({ mode });
    this.#axes = axes;
    this.#frozen = new Set(options.frozen);
    this.#statedSizes = (fileBatch(model, options) ?? batch) === batch;
    this.#functions = new ModelFunctions(model);
  }

  import(): Graph {
    const { graph, opsets } = this.#model;
    const scope = new Scope(undefined, { prefix: '', opsets, attributes: undefined, calls: [] });
    for (const { name, dtype, onnxDType, shape, batchAxis } of sizedInputs(
      this.#model,
      this.#batch,
      this.#options,
      this.#symbols,
    )) {
      if (scope.has(name)) throw new FormatError('onnx-duplicate-value', `input "${name}" is listed twice`);
      const value = this.#graph.input(name, { dtype, shape, batchAxis });
      this.#bind(scope, name, { value, dtype: onnxDType });
    }
    for (const [name, value] of constantInputs(this.#model, this.#options)) {
      this.#bind(scope, name, { value, dtype: value.dtype });
    }
    this.#body(scope, graph);
    this.#problems.throwIfAny();
    for (const info of graph.outputs) this.#output(scope, info);
    return this.#graph;
  }

  /** Initialisers and nodes of a graph or subgraph. */
  #body(scope: Scope, graph: OnnxGraph, inside?: string): void {
    this.#bindInitializers(scope, graph, inside);
    this.#nodesOf(scope, graph);
  }

  #bindInitializers(scope: Scope, graph: OnnxGraph, inside: string | undefined): void {
    const statistics = runningStatistics(graph.nodes, (node) => this.#functions.of(node));
    const inputs = new Map(graph.inputs.map((info) => [info.name, info]));
    const seen = new Set<string>();
    for (const tensor of graph.initializers) {
      if (seen.has(tensor.name)) {
        throw new FormatError('onnx-duplicate-value', `initialiser "${tensor.name}" comes twice`, {
          fields: { value: tensor.name },
        });
      }
      seen.add(tensor.name);
      const listed = inputs.get(tensor.name);
      if (listed) checkInitializer(tensor, listed);
      this.#bind(scope, tensor.name, {
        value: this.#initializer(scope, tensor, statistics, inside),
        dtype: tensor.dtype,
      });
    }
  }

  #nodesOf(scope: Scope, graph: OnnxGraph): void {
    const given = new Set([...graph.inputs, ...graph.initializers].map(({ name }) => name));
    const declared = new Map([...graph.valueInfo, ...graph.outputs].map((info) => [info.name, info]));
    this.#run(
      scope,
      graph.nodes,
      graph.outputs.map((o) => o.name),
      given,
      declared,
    );
  }

  /** A float initialiser is a parameter or buffer of its name; everything else a known value. */
  #initializer(scope: Scope, tensor: OnnxTensor, statistics: ReadonlySet<string>, inside: string | undefined): Value {
    const { name, dtype, dims } = tensor;
    if (!isFloatDType(dtype) || dims.includes(0)) return constantOf(tensor);
    // Branches have names of their own: two may use one name, which then follows the node that holds the branch.
    const taken = inside !== undefined && this.#graph.has(scope.prefix + name);
    const full = scope.prefix + (taken ? `${inside}/${name}` : name);
    const init = { kind: 'data', data: float32Of(tensor) } as const;
    const made = statistics.has(name)
      ? this.#graph.buffer(full, dims, init)
      : this.#graph.parameter(full, dims, init, { frozen: this.#frozen.has(full) });
    this.#initializers.set(made, tensor);
    return made;
  }

  #run(
    scope: Scope,
    nodes: readonly OnnxNode[],
    outputs: readonly string[],
    given: ReadonlySet<string>,
    declared: ReadonlyMap<string, OnnxValueInfo>,
  ): void {
    const { nodes: ordered, used } = orderNodes(nodes, outputs, given, (name) => scope.has(name));
    for (const node of ordered) {
      if (scope.calls.length > 0) this.#countWritten(1);
      const results = this.#node(scope, node, used);
      node.outputs.forEach((name, i) => {
        if (name === '') return;
        const bound = results === 'failed' ? 'failed' : results[i];
        if (!bound) {
          if (used.has(name)) {
            this.#problems.add(node, `its output ${i} ("${name}") is not made`);
            scope.set(name, 'failed');
          }
          return;
        }
        const info = declared.get(name);
        if (info && bound !== 'failed') checkDeclared(node, info, bound.value, this.#statedSizes, this.#symbols);
        this.#bind(scope, name, bound);
      });
    }
  }

  #countWritten(nodes: number): void {
    this.#writtenNodes += nodes;
    if (this.#writtenNodes > maxWrittenNodes) {
      throw new FormatError(
        'onnx-too-large',
        `its functions and loops, written out, have more than ${maxWrittenNodes} nodes`,
      );
    }
  }

  #bind(scope: Scope, name: string, bound: Bound | 'failed'): void {
    scope.set(name, bound);
    if (bound === 'failed' || !isTensor(bound.value)) return;
    const label = scope.prefix + name;
    this.#graph.label(label, bound.value);
    this.#labelOf.set(bound.value, label);
  }

  #node(scope: Scope, node: OnnxNode, used: ReadonlySet<string>): readonly (Bound | undefined)[] | 'failed' {
    const found = node.inputs.map((name) => (name === '' ? undefined : scope.find(name)));
    const rule = operatorRule(node.domain, node.opType);
    const called = rule && node.domain === ownDomain ? undefined : this.#functions.of(node);
    const host = node.domain === '' ? hostRuleOf(node.opType) : undefined;
    const control = node.domain === '' && (node.opType === 'If' || node.opType === 'Loop') ? node.opType : undefined;
    const ofSequences = node.domain === '' ? sequenceRuleOf(node.opType) : undefined;
    if (!called && !rule && !host && !control && !ofSequences) {
      this.#problems.add(node, `operator ${node.domain ? `${node.domain}.` : ''}${node.opType} is not supported`);
      return 'failed';
    }
    // A failed node has been told of; what needs it is no problem of its own.
    if (reads(node).some((name) => scope.find(name) === 'failed')) return 'failed';
    const inputs = found as (Bound | undefined)[];
    const graphNodes = this.#graph.nodes.length;
    try {
      const attributes = this.#attributes(scope, node);
      if (called) return this.#call(scope, node, called, inputs, attributes);
      const context = this.#context(scope, node, inputs, attributes, used);
      if (control === 'If') return this.#if(scope, node, context);
      if (control === 'Loop') return this.#loop(scope, node, context, inputs);
      if (ofSequences) return [this.#sequence(scope, node, ofSequences(context, inputs))];
      const sequence = inputs.find((input) => input?.value instanceof Sequence);
      if (sequence && node.opType === 'Identity') return [sequence];
      if (sequence) return context.unsupported('it takes a sequence');
      const name = scope.prefix + (node.name || node.outputs.find((output) => output !== '') || node.opType);
      const values = this.#graph.scope(name, () => {
        const computed = host && (host.onTypes || inputs.every(isOnHost));
        return (computed && this.#onHost(context, host.rule)) || rule?.(context);
      });
      if (!values) return context.unsupported('its inputs must be known at import, and are computed');
      this.#name(name, values, graphNodes);
      return values.map((value, i) => value && { value, dtype: valueDType(node, i, value, inputs, attributes) });
    } catch (error) {
      if (error instanceof Unsupported) {
        this.#problems.add(node, error.message);
        return 'failed';
      }
      // The user's line is in this package, and ops speak of shapes only: the node is the place.
      if (error instanceof GraphError && !error.code.startsWith('onnx-')) {
        const { reason } = error.fields;
        throw nodeError(node, typeof reason === 'string' ? reason : error.message.split('\n  at ')[0]!, {
          cause: error,
        });
      }
      throw error;
    }
  }

  /** Computes a node here where that stays small; undefined: the operator's rule has to make it. */
  #onHost(context: OperatorContext, rule: (context: OperatorContext) => readonly Known[] | undefined) {
    const values = rule(context);
    for (const value of values ?? []) this.#hostElements += value.data.length;
    if (this.#hostElements > maxHostTotal) {
      throw nodeError(context.node, `constants computed from constants take more than ${maxHostTotal} elements`);
    }
    return values;
  }

  /** The node that makes a value keeps the name of its ONNX node. */
  #name(name: string, values: readonly (Value | undefined)[], since: number): void {
    for (const value of values) {
      if (value && isTensor(value) && value.node.id >= since && !value.node.source) {
        this.#graph.rename(value.node, name);
        return;
      }
    }
  }

  #attributes(scope: Scope, node: OnnxNode): ReadonlyMap<string, OnnxAttribute> {
    if (![...node.attributes.values()].some((a) => a.kind === 'reference')) return node.attributes;
    const resolved = new Map<string, OnnxAttribute>();
    for (const [name, attribute] of node.attributes) {
      if (attribute.kind !== 'reference') resolved.set(name, attribute);
      else if (!scope.attributes)
        throw nodeError(node, `attribute ${name} refers to one of a function, and this is none`);
      else {
        // Not given by the call and without a default: the operator's own default holds.
        const value = scope.attributes.get(attribute.value);
        if (value) resolved.set(name, value);
      }
    }
    return resolved;
  }

  #context(
    scope: Scope,
    node: OnnxNode,
    inputs: readonly (Bound | undefined)[],
    attributes: ReadonlyMap<string, OnnxAttribute>,
    used: ReadonlySet<string>,
  ): NodeContext {
    const opset = scope.opsets.get(node.domain) ?? this.#model.opsets.get(node.domain);
    if (opset === undefined) throw nodeError(node, 'the file does not say which version of its operators it uses');
    const { first, last } = node.domain === '' ? opsetRange : previewRange;
    if (opset < first || opset > last) {
      throw new Unsupported(
        `it uses version ${opset} of its operators, and ${first === last ? first : `${first} to ${last}`} are known`,
      );
    }
    if (node.domain === '' && opset < firstBroadcasting && attributes.has('broadcast') && attributes.has('axis')) {
      throw new Unsupported(`broadcasting along an axis, of version ${opset} of the operators`);
    }
    checkSignature(node, node.domain === ownDomain ? ownSignature : signatureOf(node.opType)!, attributes, opset);
    const source: ContextSource = {
      graph: this.#graph,
      opset,
      mode: this.#mode,
      inputs,
      attributes,
      wants: (output) => used.has(node.outputs[output] ?? ''),
      find: (name) => {
        const found = scope.find(name);
        return found === 'failed' ? undefined : found;
      },
      lift: (value, name, fail) => this.#lift(value, scope.prefix + name, fail),
      valueOfSource: (tensor) => {
        const initializer = this.#initializers.get(tensor);
        return initializer && constantOf(initializer);
      },
      batchAxisOf: (tensor) => this.#batchAxisOf(tensor),
    };
    return new NodeContext(node, source);
  }

  #lift(value: Known, name: string, fail: (what: string) => never): Tensor {
    const made = this.#lifted.get(value);
    if (made) return made;
    const host = toHostConstant(value);
    if (typeof host === 'string') return fail(host);
    const tensor = this.#graph.constant(host, name);
    this.#lifted.set(value, tensor);
    return tensor;
  }

  #batchAxisOf(tensor: Tensor): number | null {
    const label = this.#labelOf.get(tensor);
    const known =
      (label === undefined ? undefined : this.#axes?.labels.get(label)) ?? this.#axes?.tensors.get(tensor.name);
    if (known !== undefined) return known;
    const { source } = tensor.node;
    if (source?.feed?.kind === 'data') return source.feed.batchAxis;
    // Nothing was to be seen, as the file builds for one batch size only: the first axis, if it has that size.
    return !source && tensor.shape[0] === this.#batch ? 0 : null;
  }

  /** The branch of a condition that is known takes the node's place; its values see those around the node. */
  #if(scope: Scope, node: OnnxNode, context: NodeContext): readonly (Bound | undefined)[] {
    const condition = context.known(0, 'the condition');
    if (condition.data.length !== 1) context.invalid(`the condition has ${condition.data.length} values`);
    const branch = context.graphAttr(condition.data[0] ? 'then_branch' : 'else_branch');
    if (branch.outputs.length !== node.outputs.length) {
      context.invalid(`its branch has ${branch.outputs.length} outputs, and the node ${node.outputs.length}`);
    }
    const inner = new Scope(scope);
    this.#body(inner, branch, node.name || node.outputs.find((output) => output !== ''));
    return branch.outputs.map(({ name }) => this.#result(node, inner, name));
  }

  /**
   * A loop whose number of turns is known: its body, once a turn, takes the node's place. Inputs: most turns (none: no
   * bound), whether to begin, and what is carried from turn to turn. The body sees the turn's number, the condition and what
   * is carried, and gives the next condition, what is carried on, and a slice of each output that collects.
   */
  #loop(
    scope: Scope,
    node: OnnxNode,
    context: NodeContext,
    inputs: readonly (Bound | undefined)[],
  ): readonly (Bound | undefined)[] {
    const loop = readLoop(node, context, inputs);
    const { body, turns, collecting } = loop;
    let { condition, carried } = loop;
    const slices = Array.from({ length: collecting }, (): Bound[] => []);
    const name = node.name || node.outputs.find((output) => output !== '') || node.opType;
    // Weights of the body are the same at every turn.
    const shared = new Scope(scope);
    this.#bindInitializers(shared, body, name);
    for (let turn = 0; turn < turns && condition !== 0; turn++) {
      this.#countWritten(1 + body.nodes.length);
      const inner = new Scope(shared, { ...scope, prefix: `${scope.prefix}${name}/${turn}/` });
      const given: readonly Bound[] = [
        { value: known('INT64', [], [turn]), dtype: 'INT64' },
        { value: known('BOOL', [], [condition]), dtype: 'BOOL' },
        ...carried,
      ];
      body.inputs.forEach((input, i) => {
        this.#bind(inner, input.name, given[i]!);
      });
      this.#nodesOf(inner, body);
      const [next, ...made] = body.outputs.map((output) => this.#result(node, inner, output.name)!);
      condition = nextCondition(context, next!);
      carried = made.slice(0, carried.length);
      slices.forEach((list, i) => {
        list.push(made[carried.length + i]!);
      });
    }
    return [...carried, ...slices.map((list) => stackSlices(list, context))];
  }

  #result(node: OnnxNode, scope: Scope, name: string): Bound | undefined {
    const found = scope.find(name);
    if (found === undefined) throw nodeError(node, `nothing makes its output "${name}"`);
    if (found === 'failed') throw new Unsupported('it needs a node that is not supported');
    return found;
  }

  /** What an operator of sequences gives; the nodes that it stands for, if any, take its place. */
  #sequence(scope: Scope, node: OnnxNode, given: Bound | Written): Bound {
    if (!('nodes' in given)) return given;
    this.#countWritten(given.nodes.length);
    const name = node.name || node.outputs.find((output) => output !== '') || node.opType;
    const opsets = new Map([...scope.opsets, ['', writtenOpset] as const]);
    const inner = new Scope(undefined, { ...scope, prefix: `${scope.prefix}${name}/`, opsets });
    for (const [key, bound] of given.given) inner.set(key, bound);
    this.#run(inner, given.nodes, given.outputs, new Set(given.given.keys()), new Map());
    return given.result(given.outputs.map((output) => this.#result(node, inner, output)!));
  }

  /** A function's nodes take the place of the node that calls it. */
  #call(
    scope: Scope,
    node: OnnxNode,
    called: OnnxFunction,
    inputs: readonly (Bound | undefined)[],
    attributes: ReadonlyMap<string, OnnxAttribute>,
  ): readonly (Bound | undefined)[] {
    const call = callFunction(called, node, scope, inputs, attributes);
    this.#run(call.scope, call.nodes, call.wanted, call.given, new Map());
    return node.outputs.map((output, i) =>
      output === '' ? undefined : this.#result(node, call.scope, called.outputs[i]!),
    );
  }

  #output(scope: Scope, info: OnnxValueInfo): void {
    const { name } = info;
    if (this.#graph.outputs.has(name))
      throw new FormatError('onnx-duplicate-value', `output "${name}" is listed twice`);
    const found = scope.find(name);
    if (!found || found === 'failed') throw new FormatError('onnx-missing-value', `nothing makes output "${name}"`);
    const fail = (what: string): never => {
      throw new GraphError('onnx-unsupported', `output "${name}": ${what}`, { fields: { output: name } });
    };
    const { value } = found;
    const tensor =
      value instanceof Sequence ? fail('it is a sequence') : isTensor(value) ? value : this.#lift(value, name, fail);
    const stated = declaredBatchAxis(info, this.#options.batchAxes);
    const seen = this.#batchAxisOf(tensor);
    if (this.#axes && stated !== undefined && stated !== null && seen !== null && stated !== seen) {
      throw new UsageError('batch-axis', `batchAxis.${name}: the batch of ${name} is on axis ${seen}, not ${stated}`, {
        fields: { key: `batchAxis.${name}`, axis: stated, expected: seen },
        remedy: 'leave it out',
      });
    }
    this.#graph.output(name, tensor, { batchAxis: stated === undefined ? seen : stated });
  }
}
