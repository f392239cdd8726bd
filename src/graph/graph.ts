import { GraphError, nearest } from '../core/errors.ts';
import {
  type DType,
  elementCount,
  formatType,
  type HostTensor,
  type Shape,
  sameType,
  type TensorData,
  type TensorType,
} from '../core/types.ts';
import type { Attrs, OpRecord } from './op-record.ts';
import { TypeRuleError } from './op-record.ts';
import { callerLine } from './source-line.ts';

/**
 * The static computational graph. Nodes are appended in topological order and never change; a pass makes a new graph.
 *
 * A training step's graph has two regions. `micro` nodes run once a microbatch on a chunk of the batch; `step` nodes run
 * once a step (gradient totals, updates). Values pass from micro to step only through `accumulate`, whose output is the
 * sum over microbatches in their order. A micro node that reads such a total waits for all microbatches: a barrier
 * (`barriers.ts`).
 */
export type Region = 'micro' | 'step';

/** An edge: one output of one node. Compared by identity. */
export class Tensor {
  readonly node: Node;
  /** Which output of the node. */
  readonly index: number;
  readonly type: TensorType;
  readonly #name: string | undefined;

  /** `name`: of an output that is known by another name than its node's. */
  constructor(node: Node, index: number, type: TensorType, name?: string) {
    this.node = node;
    this.index = index;
    this.type = type;
    this.#name = name;
  }

  get shape(): Shape {
    return this.type.shape;
  }
  get dtype(): DType {
    return this.type.dtype;
  }
  get rank(): number {
    return this.type.shape.length;
  }
  get graph(): Graph {
    return this.node.graph;
  }
  /** Name of the edge: its own, or the node's, with `:index` behind it for all but the first output. */
  get name(): string {
    if (this.#name !== undefined) return this.#name;
    return this.index === 0 ? this.node.name : `${this.node.name}:${this.index}`;
  }
  toString(): string {
    return `${this.name}: ${formatType(this.type)}`;
  }
}

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

export interface Node {
  readonly graph: Graph;
  /** Position in `graph.nodes`. */
  readonly id: number;
  /** Unique, with scopes: `encoder.0.attention.matmul`. */
  readonly name: string;
  /** undefined for sources */
  readonly op: OpRecord | undefined;
  readonly source: Source | undefined;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: Attrs;
  readonly region: Region;
  /** The node whose derivative (or update) this one belongs to; it follows that node's stage. */
  readonly origin: Node | undefined;
  /** 0: computed forward; 1: by the training step's own backward pass. */
  readonly pass: number;
  /**
   * Order of derivative that a forward value is: 0 for the model itself, k for gradients within the model (`gradients`) of
   * values of orders below k, and for what is computed from them. The gradients of a pipeline flow back through its stages,
   * so those of order k are the second half of a chain twice as long, folded over the same devices (`partition/fold.ts`).
   */
  readonly order: number;
  /**
   * Joins derivatives of several forward nodes, its origin one of them: it stands at the earliest stage of its inputs, where
   * the last of them arrives.
   */
  readonly joins?: true;
  /** Computes once more, for the backward pass, what its origin computes forward. */
  readonly recomputes?: true;
}

/** What the step leaves behind in a parameter or a state. */
export interface Assignment {
  readonly target: Tensor;
  readonly value: Tensor;
}

export interface InputOptions {
  readonly dtype?: DType;
  readonly shape: Shape;
  /** Axis of the batch; default 0; null where the input is not batched. */
  readonly batchAxis?: number | null;
}

/**
 * What a graph is built for. Layers that differ ask their graph: dropout drops and batch normalisation takes the statistics
 * of its batch in `training` only (PyTorch's `module.training`).
 */
export type GraphMode = 'training' | 'evaluation';

export class Graph {
  readonly mode: GraphMode;
  readonly nodes: Node[] = [];
  /** Named results, in the order they were declared. */
  readonly outputs = new Map<string, Tensor>();
  readonly assignments: Assignment[] = [];
  /** Tensors by names from outside (the values of an ONNX file): they lead to the same values behind every pass. */
  readonly labels = new Map<string, Tensor>();
  /**
   * Tensors by which the model takes its own gradient and that are the same for every microbatch (a parameter): such a
   * gradient is complete only behind the last of them, so that the model can be run in one microbatch only.
   */
  readonly gradientsOfWholeBatch = new Set<string>();
  readonly #byName = new Map<string, Node>();
  readonly #counters = new Map<string, number>();
  /** Batch axis of each named result; null: not batched. */
  readonly #batchAxes = new Map<string, number | null>();
  /** Named results with one entry a microbatch. */
  readonly #perMicrobatch = new Set<string>();
  #scopes: string[] = [];
  #region: Region = 'micro';
  #origin: Node | undefined;
  #pass = 0;
  #order = 0;
  #joins = false;

  constructor(options: { readonly mode?: GraphMode } = {}) {
    this.mode = options.mode ?? 'training';
  }

  /** Appends a node after its type rule has agreed. Throws GraphError naming op, shapes and the caller's line. */
  add<A extends Attrs>(op: OpRecord<A>, inputs: readonly Tensor[], attrs: A, name?: string): readonly Tensor[] {
    for (const input of inputs) {
      if (input.node.graph !== this) {
        throw new GraphError('foreign-tensor', `${op.name}: input ${input} belongs to another graph${callerLine()}`, {
          fields: { op: op.name, tensor: input.name },
          remedy: 'build all of a model on one Graph',
        });
      }
    }
    let types: readonly TensorType[];
    try {
      types = op.infer(
        inputs.map((t) => t.type),
        attrs,
      );
    } catch (error) {
      if (!(error instanceof TypeRuleError)) throw error;
      const got = inputs.map((t) => formatType(t.type)).join(', ');
      const scope = this.#scopes.length ? ` in ${this.#scopes.join('.')}` : '';
      throw new GraphError('type-rule', `${op.name}(${got})${scope}: ${error.message}${callerLine()}`, {
        fields: {
          op: op.name,
          shapes: inputs.map((t) => t.shape),
          dtypes: inputs.map((t) => t.dtype),
          attrs,
          scope: this.#scopes.join('.'),
          reason: error.message,
          at: callerLine().replace(/^\s*at /, ''),
        },
      });
    }
    return this.#append(op as unknown as OpRecord, undefined, inputs, attrs, types, name ?? op.name).outputs;
  }

  /** A tensor that the user feeds each step. */
  input(name: string, options: InputOptions): Tensor {
    const batchAxis = options.batchAxis === undefined ? 0 : options.batchAxis;
    return this.feed(name, { dtype: options.dtype ?? 'f32', shape: options.shape }, { kind: 'data', batchAxis });
  }

  /** An input with any feed; one input a name: asking again for the same gives the same tensor. */
  feed(name: string, type: TensorType, feed: Feed): Tensor {
    const known = this.sources('input').find((t) => t.node.source?.name === name);
    if (known) {
      if (!sameType(known.type, type)) {
        throw new GraphError(
          'input-type',
          `input ${name} is ${formatType(known.type)} and was asked for as ${formatType(type)}${callerLine()}`,
        );
      }
      return known;
    }
    return this.#source({ kind: 'input', name, feed }, type);
  }

  /** Places of the chunk's samples in the whole batch, i32 [batch]; fed. */
  sampleIndices(batch: number): Tensor {
    return this.feed('random/samples', { dtype: 'i32', shape: [batch] }, { kind: 'sampleIndices' });
  }

  /** Seed and step, i32 [4]; fed. */
  randomKey(): Tensor {
    return this.feed('random/key', { dtype: 'i32', shape: [4] }, { kind: 'randomKey' });
  }

  /** A trainable tensor. Its name is scoped: the same scope and name twice is an error (share the tensor instead). */
  parameter(name: string, shape: Shape, init: ParameterInit, options: { frozen?: boolean } = {}): Tensor {
    return this.#owned('parameter', name, shape, init, options.frozen ?? false);
  }

  /** A tensor of the model that is not trained: running statistics. Named like a parameter. */
  buffer(name: string, shape: Shape, init: ParameterInit): Tensor {
    return this.#owned('buffer', name, shape, init, false);
  }

  #owned(kind: 'parameter' | 'buffer', name: string, shape: Shape, init: ParameterInit, frozen: boolean): Tensor {
    const full = [...this.#scopes, name].join('.');
    if (!Array.isArray(shape) || typeof init?.kind !== 'string') {
      throw new GraphError('bad-parameter', `${kind} ${full} takes a shape and an initialisation${callerLine()}`, {
        fields: { parameter: full },
        remedy: "graph.parameter('weight', [64, 10], { kind: 'zeros' })",
      });
    }
    if (this.#byName.has(full)) {
      throw new GraphError('duplicate-parameter', `${kind} ${full} exists already${callerLine()}`, {
        fields: { parameter: full },
        remedy: 'give the layer another name, or pass the first tensor on to tie the weights',
      });
    }
    return this.#source({ kind, name: full, init, ...(frozen ? { frozen: true } : {}) }, { dtype: 'f32', shape });
  }

  /** Optimizer state, keyed by parameter name: `adam.m/encoder.weight`. */
  state(name: string, type: TensorType, init: ParameterInit): Tensor {
    return this.#source({ kind: 'state', name, init }, type);
  }

  constant(value: HostTensor, name = 'constant'): Tensor {
    if (value.data.length !== elementCount(value.type.shape)) {
      throw new GraphError('constant-size', `constant of ${formatType(value.type)} has ${value.data.length} values`);
    }
    return this.#source({ kind: 'constant', name: this.#unique(name), value: value.data }, value.type);
  }

  /** An f32 scalar. */
  scalar(value: number): Tensor {
    return this.constant({ type: { dtype: 'f32', shape: [] }, data: Float32Array.of(value) }, 'scalar');
  }

  /** Declares a named result, with the axis of its batch (default 0; null where it is not batched). */
  output(name: string, tensor: Tensor, options: { readonly batchAxis?: number | null } = {}): Tensor {
    if (this.outputs.has(name)) {
      throw new GraphError('duplicate-output', `output ${name} is declared twice${callerLine()}`);
    }
    this.outputs.set(name, tensor);
    this.#batchAxes.set(name, options.batchAxis === undefined ? 0 : options.batchAxis);
    return tensor;
  }

  /** Declares a named result that holds one entry a microbatch: a tensor [1] each, [M] together. */
  outputPerMicrobatch(name: string, tensor: Tensor): Tensor {
    if (tensor.rank !== 1 || tensor.shape[0] !== 1) {
      throw new GraphError(
        'output-per-microbatch',
        `output ${name} must have shape [1] to hold one entry a microbatch: ${tensor}`,
      );
    }
    this.#perMicrobatch.add(name);
    return this.output(name, tensor);
  }

  isPerMicrobatch(output: string): boolean {
    return this.#perMicrobatch.has(output);
  }

  /** The axis of a result's batch; null where it is not batched. */
  batchAxisOf(output: string): number | null {
    const axis = this.#batchAxes.get(output);
    return axis === undefined ? 0 : axis;
  }

  /** Remembers a tensor by a name from outside; a later tensor of the same name takes its place. */
  label(name: string, tensor: Tensor): Tensor {
    this.labels.set(name, tensor);
    return tensor;
  }

  /** Gives a node the name it has outside (in an ONNX file) while the graph is being built; a taken one gets a number. */
  rename(node: Node, name: string): void {
    if (this.#byName.get(node.name) === node) this.#byName.delete(node.name);
    // The graph is being built: nobody has read the node's name yet.
    (node as { -readonly [K in keyof Node]: Node[K] }).name = this.#unique(name);
    this.#byName.set(node.name, node);
  }

  /** After the step, `target` (a parameter, state or buffer) holds `value`. */
  assign(target: Tensor, value: Tensor): void {
    if (!sameType(target.type, value.type)) {
      throw new GraphError('assign-type', `${target} cannot be assigned ${value}`);
    }
    this.assignments.push({ target, value });
  }

  /** Names made inside `build` get the prefix `name.`. */
  scope<T>(name: string, build: () => T): T {
    this.#scopes.push(name);
    try {
      return build();
    } finally {
      this.#scopes.pop();
    }
  }

  /** Nodes made inside `build` run once a step instead of once a microbatch, and follow `origin`'s stage. */
  inStep<T>(origin: Node | undefined, build: () => T): T {
    return this.#with({ region: 'step', origin, pass: this.#pass, order: this.#order }, build);
  }

  /** Nodes made inside `build` are part of `origin`'s derivative: they follow its stage. */
  derivativeOf<T>(origin: Node, build: () => T): T {
    return this.#with({ region: origin.region, origin, pass: origin.pass + 1, order: origin.order }, build);
  }

  /** `derivativeOf` for what joins derivatives of several nodes, `origin` one of them (`Node.joins`). */
  joiningDerivatives<T>(origin: Node, build: () => T): T {
    return this.derivativeOf(origin, () => {
      this.#joins = true;
      try {
        return build();
      } finally {
        this.#joins = false;
      }
    });
  }

  /** Nodes made inside `build` are part of `origin`'s derivative within the model: forward values of this order. */
  gradientOf<T>(origin: Node, order: number, build: () => T): T {
    return this.#with({ region: origin.region, origin, pass: origin.pass, order }, build);
  }

  /** Nodes made inside `build` stand where `origin` stands: its stage, pass and order. */
  beside<T>(origin: Node, build: () => T): T {
    return this.#with({ region: origin.region, origin, pass: origin.pass, order: origin.order }, build);
  }

  #with<T>(state: { region: Region; origin: Node | undefined; pass: number; order: number }, build: () => T): T {
    const saved = {
      region: this.#region,
      origin: this.#origin,
      pass: this.#pass,
      order: this.#order,
      scopes: this.#scopes,
    };
    this.#region = state.region;
    this.#origin = state.origin;
    this.#pass = state.pass;
    this.#order = state.order;
    if (state.origin) this.#scopes = [state.region === 'step' ? 'update' : 'grad', state.origin.name];
    try {
      return build();
    } finally {
      this.#region = saved.region;
      this.#origin = saved.origin;
      this.#pass = saved.pass;
      this.#order = saved.order;
      this.#scopes = saved.scopes;
    }
  }

  /**
   * The name that a node called `name` would get if it were the next one: for ops whose attributes depend on it (streams
   * of random numbers).
   */
  nextName(name: string): string {
    return this.#free([...this.#scopes, name].join('.')).name;
  }

  /** Tensors of the sources of one kind, in order. */
  sources(kind: SourceKind): Tensor[] {
    return this.nodes.filter((n) => n.source?.kind === kind).map((n) => n.outputs[0]!);
  }

  get parameters(): Tensor[] {
    return this.sources('parameter');
  }

  /** The node of this name. Throws GraphError naming the nearest one. */
  node(name: string): Node {
    const node = this.#byName.get(name);
    if (node) return node;
    const near = nearest(name, this.#byName.keys());
    throw new GraphError('unknown-node', `no node is named ${name}${near ? `; did you mean ${near}?` : ''}`, {
      fields: { name, nearest: near ?? null },
    });
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /**
   * Appends a copy of another graph's node with inputs of this graph; for passes.
   * Types are taken over: the pass's result goes through the verifier.
   */
  adopt(node: Node, inputs: readonly Tensor[], origin: Node | undefined): Node {
    const copy: Node = {
      graph: this,
      id: this.nodes.length,
      name: node.name,
      op: node.op,
      source: node.source,
      inputs,
      outputs: [],
      attrs: node.attrs,
      region: node.region,
      origin,
      pass: node.pass,
      order: node.order,
      ...(node.joins ? { joins: true } : {}),
      ...(node.recomputes ? { recomputes: true } : {}),
    };
    return this.#register(
      copy,
      node.outputs.map((t) => t.type),
    );
  }

  /** Appends a forward node of this graph once more, as part of the backward pass, with inputs of the same types. */
  recompute(node: Node, inputs: readonly Tensor[]): Node {
    const clone: Node = {
      graph: this,
      id: this.nodes.length,
      name: this.#unique(`recompute.${node.name}`),
      op: node.op,
      source: undefined,
      inputs,
      outputs: [],
      attrs: node.attrs,
      region: node.region,
      origin: node,
      pass: node.pass + 1,
      order: node.order,
      recomputes: true,
    };
    return this.#register(
      clone,
      node.outputs.map((t) => t.type),
    );
  }

  /**
   * Appends one node in the place of several of another graph, the last of them `last`, whose name and place in the step it
   * takes. `outputs`: tensors of that graph whose values it makes; they keep their names.
   */
  fuse<A extends Attrs>(
    last: Node,
    op: OpRecord<A>,
    inputs: readonly Tensor[],
    attrs: A,
    outputs: readonly Tensor[],
    origin: Node | undefined,
  ): Node {
    const node: Node = {
      graph: this,
      id: this.nodes.length,
      name: last.name,
      op: op as unknown as OpRecord,
      source: undefined,
      inputs,
      outputs: [],
      attrs,
      region: last.region,
      origin,
      pass: last.pass,
      order: last.order,
      ...(last.recomputes ? { recomputes: true } : {}),
    };
    (node.outputs as Tensor[]).push(...outputs.map((t, i) => new Tensor(node, i, t.type, t.name)));
    return this.#add(node);
  }

  #source(source: Source, type: TensorType): Tensor {
    for (const d of type.shape) {
      if (!Number.isInteger(d) || d < 1) {
        throw new GraphError(
          'bad-shape',
          `${source.kind} ${source.name}: shape [${type.shape.join(', ')}] must hold positive integers${callerLine()}`,
          { fields: { name: source.name, shape: type.shape } },
        );
      }
    }
    const saved = this.#scopes;
    this.#scopes = []; // sources carry their full name already
    try {
      return this.#append(undefined, source, [], {}, [type], source.name).outputs[0]!;
    } finally {
      this.#scopes = saved;
    }
  }

  #append(
    op: OpRecord | undefined,
    source: Source | undefined,
    inputs: readonly Tensor[],
    attrs: Attrs,
    types: readonly TensorType[],
    name: string,
  ): Node {
    const node: Node = {
      graph: this,
      id: this.nodes.length,
      name: this.#unique([...this.#scopes, name].join('.')),
      op,
      source,
      inputs,
      outputs: [],
      attrs,
      region: source ? (isBatched(source) ? 'micro' : 'step') : this.#region,
      origin: this.#origin,
      pass: this.#pass,
      order: this.#origin ? this.#order : Math.max(0, ...inputs.map((t) => t.node.order)),
      ...(this.#joins && !source ? { joins: true } : {}),
    };
    return this.#register(node, types);
  }

  #register(node: Node, types: readonly TensorType[]): Node {
    (node.outputs as Tensor[]).push(...types.map((type, i) => new Tensor(node, i, type)));
    return this.#add(node);
  }

  #add(node: Node): Node {
    this.nodes.push(node);
    this.#byName.set(node.name, node);
    return node;
  }

  #unique(name: string): string {
    const free = this.#free(name);
    if (free.count > 0) this.#counters.set(name, free.count + 1);
    return free.name;
  }

  /** The first name of `name`, `name_1`, … that no node has, and the number behind it (0: none). */
  #free(name: string): { name: string; count: number } {
    if (!this.#byName.has(name)) return { name, count: 0 };
    let count = this.#counters.get(name) ?? 1;
    while (this.#byName.has(`${name}_${count}`)) count++;
    return { name: `${name}_${count}`, count };
  }
}

/** An input that is cut into microbatches; every other source exists once a step. */
const isBatched = (source: Source): boolean => source.feed !== undefined && feedBatchAxis(source.feed) !== null;
