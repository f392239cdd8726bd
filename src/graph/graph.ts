import { GraphError } from '../core/errors.ts';
import { type DType, formatType, type HostTensor, type Shape, sameType, type TensorType } from '../core/types.ts';
import * as given from './arguments.ts';
import { NodeNames } from './names.ts';
import { type Node, type Region, shownTensor, Tensor } from './node.ts';
import type { Attrs, OpRecord } from './op-record.ts';
import { TypeRuleError } from './op-record.ts';
import { type Feed, initProblem, isBatched, type ParameterInit, type Source, type SourceKind } from './source.ts';
import { callerLine } from './source-line.ts';

export { type Node, type Region, shownTensor, Tensor };

/** What the step leaves behind in a parameter or a state. */
export interface Assignment {
  readonly target: Tensor;
  readonly value: Tensor;
}

export interface InputOptions {
  readonly dtype?: DType;
  readonly shape: Shape;
  /** Axis of the batch, negative from the end; default 0; null where the input is not batched. */
  readonly batchAxis?: number | null;
}

/**
 * What a graph is built for. Layers that differ ask their graph: dropout drops and batch normalisation takes the statistics
 * of its batch in `training` only (PyTorch's `module.training`).
 */
export type GraphMode = 'training' | 'evaluation';

/** What nodes get that are made now. */
type Place = Pick<Node, 'region' | 'origin' | 'pass' | 'order'> & { readonly joins: boolean };

/** The static computational graph. Nodes are appended in topological order and never change; a pass makes a new graph. */
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
  readonly #names = new NodeNames();
  /** Batch axis of each named result; null: not batched. */
  readonly #batchAxes = new Map<string, number | null>();
  /** Named results with one entry a microbatch. */
  readonly #perMicrobatch = new Set<string>();
  /** Prefixes of the names of new nodes. */
  #scopes: string[] = [];
  #place: Place = { region: 'micro', origin: undefined, pass: 0, order: 0, joins: false };

  constructor(options: { readonly mode?: GraphMode } = {}) {
    this.mode = given.modeOf(options);
  }

  /** Appends a node after its type rule has agreed. Throws GraphError naming op, shapes and the caller's line. */
  add<A extends Attrs>(op: OpRecord<A>, inputs: readonly Tensor[], attrs: A, name?: string): readonly Tensor[] {
    for (const input of inputs) {
      given.requireGraphTensor(op.name, input);
      this.#refuseWithdrawn(op.name, input);
      if (input.node.graph !== this) {
        throw new GraphError('foreign-tensor', `${op.name}: input ${input} belongs to another graph${callerLine()}`, {
          fields: { op: op.name, tensor: input.name },
          remedy: 'build all of a model on one Graph',
        });
      }
    }
    const types = inferTypes(op, inputs, attrs, this.#scopes);
    return this.#append(op as unknown as OpRecord, undefined, inputs, attrs, types, name ?? op.name).outputs;
  }

  /** A tensor that the user feeds each step. */
  input(name: string, options: InputOptions): Tensor {
    given.requireInput(name, options);
    const batchAxis = given.batchAxisIn(`input ${name}`, options.batchAxis, options.shape.length);
    return this.feed(name, { dtype: options.dtype ?? 'f32', shape: options.shape }, { kind: 'data', batchAxis });
  }

  /** An input with any feed; one input a name: asking again for the same gives the same tensor. */
  feed(name: string, type: TensorType, feed: Feed): Tensor {
    given.requireFeed(name, feed);
    const known = this.sources('input').find((t) => t.node.source?.name === name);
    if (known) {
      given.requireType('input', name, type);
      if (!sameType(known.type, type)) {
        throw new GraphError(
          'input-type',
          `input ${name} is ${formatType(known.type)} and was asked for as ${formatType(type)}${callerLine()}`,
          { remedy: `ask for ${formatType(known.type)}, or give the second input another name` },
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
    given.requireGraphOptions(`parameter ${String(name)}`, options, { frozen: 'flag' });
    return this.#owned('parameter', name, shape, init, options.frozen ?? false);
  }

  /** A tensor of the model that is not trained: running statistics. Named like a parameter. */
  buffer(name: string, shape: Shape, init: ParameterInit): Tensor {
    return this.#owned('buffer', name, shape, init, false);
  }

  #owned(kind: 'parameter' | 'buffer', name: string, shape: Shape, init: ParameterInit, frozen: boolean): Tensor {
    given.requireName(kind, name);
    const full = [...this.#scopes, name].join('.');
    if (!Array.isArray(shape) || typeof init?.kind !== 'string') {
      throw new GraphError('bad-parameter', `${kind} ${full} takes a shape and an initialisation${callerLine()}`, {
        fields: { parameter: full },
        remedy: "graph.parameter('weight', [64, 10], { kind: 'zeros' })",
      });
    }
    if (this.#names.has(full)) {
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
    given.requireConstant(name, value);
    return this.#source({ kind: 'constant', name: this.#names.take(name), value: value.data }, value.type);
  }

  /** An f32 scalar. */
  scalar(value: number): Tensor {
    if (typeof value !== 'number') {
      throw new GraphError('bad-scalar', `a scalar is a number, got ${shownTensor(value)}${callerLine()}`, {
        remedy: 'graph.scalar(0.5)',
      });
    }
    return this.constant({ type: { dtype: 'f32', shape: [] }, data: Float32Array.of(value) }, 'scalar');
  }

  /** Declares a named result, with the axis of its batch (default 0, negative from the end; null: not batched). */
  output(name: string, tensor: Tensor, options: { readonly batchAxis?: number | null } = {}): Tensor {
    given.requireOutput(name, tensor);
    this.#refuseWithdrawn(`output ${name}`, tensor);
    given.requireGraphOptions(`output ${name}`, options, { batchAxis: true });
    const batchAxis = given.batchAxisIn(`output ${name}`, options.batchAxis, tensor.rank);
    if (this.outputs.has(name)) {
      throw new GraphError('duplicate-output', `output ${name} is declared twice${callerLine()}`, {
        remedy: `graph.output('${name}_2', tensor)`,
      });
    }
    this.outputs.set(name, tensor);
    this.#batchAxes.set(name, batchAxis);
    return tensor;
  }

  /** Declares a named result that holds one entry a microbatch: a tensor [1] each, [M] together. */
  outputPerMicrobatch(name: string, tensor: Tensor): Tensor {
    given.requireOutput(name, tensor);
    if (tensor.rank !== 1 || tensor.shape[0] !== 1) {
      throw new GraphError(
        'output-per-microbatch',
        `output ${name} must have shape [1] to hold one entry a microbatch: ${tensor}`,
        { remedy: 'reshape(tensor, [1])' },
      );
    }
    this.output(name, tensor);
    this.#perMicrobatch.add(name);
    return tensor;
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
    given.requireName('label', name);
    given.requireGraphTensor('label', tensor);
    this.#refuseWithdrawn(`label ${name}`, tensor);
    this.labels.set(name, tensor);
    return tensor;
  }

  /** Gives a node the name it has outside (in an ONNX file) while the graph is being built; a taken one gets a number. */
  rename(node: Node, name: string): void {
    given.requireNode(node);
    given.requireName('node', name);
    this.#names.remove(node);
    // The graph is being built: nobody has read the node's name yet.
    (node as { -readonly [K in keyof Node]: Node[K] }).name = this.#names.take(name);
    this.#names.add(node);
  }

  /** After the step, `target` (a parameter, state or buffer) holds `value`. */
  assign(target: Tensor, value: Tensor): void {
    given.requireGraphTensor('assign', target);
    given.requireGraphTensor('assign', value);
    for (const tensor of [target, value]) this.#refuseWithdrawn('assign', tensor);
    if (!sameType(target.type, value.type)) {
      throw new GraphError('assign-type', `${target} cannot be assigned ${value}${callerLine()}`, {
        fields: { target: target.name, value: value.name },
        remedy: `assign a value of the type ${formatType(target.type)}`,
      });
    }
    this.assignments.push({ target, value });
  }

  /** Names made inside `build` get the prefix `name.`. */
  scope<T>(name: string, build: () => T): T {
    given.requireName('scope', name);
    given.requireBuild('scope', build);
    this.#scopes.push(name);
    try {
      return build();
    } finally {
      this.#scopes.pop();
    }
  }

  /** All that `build` adds to the graph, or nothing where it throws: who mends a refused layer builds it once more. */
  whole<T>(build: () => T): T {
    const [nodes, assignments] = [this.nodes.length, this.assignments.length];
    const [outputs, ofWholeBatch] = [this.outputs.size, this.gradientsOfWholeBatch.size];
    const labels = [...this.labels];
    try {
      return build();
    } catch (error) {
      this.#names.forget(this.nodes.splice(nodes));
      this.assignments.length = Math.min(assignments, this.assignments.length);
      for (const name of [...this.outputs.keys()].slice(outputs)) {
        this.outputs.delete(name);
        this.#batchAxes.delete(name);
        this.#perMicrobatch.delete(name);
      }
      for (const name of [...this.gradientsOfWholeBatch].slice(ofWholeBatch)) this.gradientsOfWholeBatch.delete(name);
      this.labels.clear();
      for (const [name, tensor] of labels) this.labels.set(name, tensor);
      throw error;
    }
  }

  /** A tensor that went with a refused layer (`whole`) is none of the graph any more, and its node's number is another's. */
  #refuseWithdrawn(what: string, tensor: Tensor): void {
    const { node } = tensor;
    if (node.graph !== this || this.nodes[node.id] === node) return;
    throw new GraphError(
      'withdrawn-tensor',
      `${what}: ${tensor} was made in a layer that was refused, and taken back with it${callerLine()}`,
      { fields: { tensor: tensor.name }, remedy: 'make the tensor anew where the layer is built again' },
    );
  }

  /** Nodes made inside `build` run once a step instead of once a microbatch, and follow `origin`'s stage. */
  inStep<T>(origin: Node | undefined, build: () => T): T {
    return this.#at({ ...this.#place, region: 'step', origin }, build);
  }

  /** Nodes made inside `build` are part of `origin`'s derivative: they follow its stage. */
  derivativeOf<T>(origin: Node, build: () => T): T {
    return this.#at({ ...this.#placeOf(origin), pass: origin.pass + 1 }, build);
  }

  /** `derivativeOf` for what joins derivatives of several nodes, `origin` one of them (`Node.joins`). */
  joiningDerivatives<T>(origin: Node, build: () => T): T {
    return this.#at({ ...this.#placeOf(origin), pass: origin.pass + 1, joins: true }, build);
  }

  /** Nodes made inside `build` are part of `origin`'s derivative within the model: forward values of this order. */
  gradientOf<T>(origin: Node, order: number, build: () => T): T {
    return this.#at({ ...this.#placeOf(origin), order }, build);
  }

  /** Nodes made inside `build` stand where `origin` stands: its stage, pass and order. */
  beside<T>(origin: Node, build: () => T): T {
    return this.#at(this.#placeOf(origin), build);
  }

  #placeOf(node: Node): Place {
    given.requireNode(node);
    const { region, pass, order } = node;
    return { ...this.#place, region, origin: node, pass, order };
  }

  #at<T>(place: Place, build: () => T): T {
    given.requireBuild('a part of the graph', build);
    const [outerPlace, outerScopes] = [this.#place, this.#scopes];
    this.#place = place;
    if (place.origin) this.#scopes = [place.region === 'step' ? 'update' : 'grad', place.origin.name];
    try {
      return build();
    } finally {
      this.#place = outerPlace;
      this.#scopes = outerScopes;
    }
  }

  /**
   * The name that a node called `name` would get if it were the next one: for ops whose attributes depend on it (streams
   * of random numbers).
   */
  nextName(name: string): string {
    given.requireName('node', name);
    return this.#names.peek([...this.#scopes, name].join('.'));
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
    return this.#names.find(name);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /**
   * Appends a copy of another graph's node with inputs of this graph; for passes.
   * Types are taken over: the pass's result goes through the verifier.
   */
  adopt(node: Node, inputs: readonly Tensor[], origin: Node | undefined): Node {
    const { name, op, source, attrs, region, pass, order, joins, recomputes } = node;
    const marks = { ...(joins ? { joins } : {}), ...(recomputes ? { recomputes } : {}) };
    return this.#insert(
      { name, op, source, inputs, attrs, region, origin, pass, order, ...marks },
      node.outputs.map(({ type }) => ({ type })),
    );
  }

  /** Appends a forward node of this graph once more, as part of the backward pass, with inputs of the same types. */
  recompute(node: Node, inputs: readonly Tensor[]): Node {
    const { op, attrs, region, order } = node;
    const [name, pass] = [this.#names.take(`recompute.${node.name}`), node.pass + 1];
    return this.#insert(
      { name, op, source: undefined, inputs, attrs, region, origin: node, pass, order, recomputes: true },
      node.outputs.map(({ type }) => ({ type })),
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
    const { name, region, pass, order, recomputes } = last;
    const fused = op as unknown as OpRecord;
    const marks = recomputes ? { recomputes } : {};
    return this.#insert(
      { name, op: fused, source: undefined, inputs, attrs, region, origin, pass, order, ...marks },
      outputs,
    );
  }

  #source(source: Source, type: TensorType): Tensor {
    given.requireName(source.kind, source.name);
    given.requireType(source.kind, source.name, type);
    const problem = source.init && initProblem(source.init);
    if (problem !== undefined) {
      throw new GraphError('bad-parameter', `${source.kind} ${source.name}: ${problem}${callerLine()}`, {
        fields: { parameter: source.name },
        remedy: "init.normal(0, 0.02), init.uniform(-0.1, 0.1), { kind: 'zeros' } …",
      });
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
    const { region, origin, pass, order, joins } = this.#place;
    return this.#insert(
      {
        name: this.#names.take([...this.#scopes, name].join('.')),
        op,
        source,
        inputs,
        attrs,
        region: source ? (isBatched(source) ? 'micro' : 'step') : region,
        origin,
        pass,
        order: origin ? order : Math.max(0, ...inputs.map((t) => t.node.order)),
        ...(joins && !source ? { joins: true } : {}),
      },
      types.map((type) => ({ type })),
    );
  }

  #insert(
    made: Omit<Node, 'graph' | 'id' | 'outputs'>,
    outputs: readonly { readonly type: TensorType; readonly name?: string }[],
  ): Node {
    if (this.nodes.length >= MOST_NODES) {
      throw new GraphError('graph-too-large', `a graph has at most ${MOST_NODES} nodes, and this model makes more`, {
        fields: { most: MOST_NODES },
        remedy: 'fewer layers, or fewer turns of loops that are unrolled',
      });
    }
    const tensors: Tensor[] = [];
    const node: Node = { graph: this, id: this.nodes.length, ...made, outputs: tensors };
    outputs.forEach(({ type, name }, i) => {
      tensors.push(new Tensor(node, i, type, name));
    });
    this.nodes.push(node);
    this.#names.add(node);
    return node;
  }
}

/** About a kilobyte each: more would fill the heap before anything could be said of them. */
const MOST_NODES = 2 ** 20;

/** Types of an op's outputs. Throws GraphError naming op, shapes and the caller's line where the op refuses its inputs. */
function inferTypes<A extends Attrs>(
  op: OpRecord<A>,
  inputs: readonly Tensor[],
  attrs: A,
  scopes: readonly string[],
): readonly TensorType[] {
  try {
    return op.infer(
      inputs.map((t) => t.type),
      attrs,
    );
  } catch (error) {
    if (!(error instanceof TypeRuleError)) throw error;
    const got = inputs.map((t) => formatType(t.type)).join(', ');
    const scope = scopes.join('.');
    const at = callerLine();
    throw new GraphError('type-rule', `${op.name}(${got})${scope && ` in ${scope}`}: ${error.message}${at}`, {
      fields: {
        op: op.name,
        shapes: inputs.map((t) => t.shape),
        dtypes: inputs.map((t) => t.dtype),
        attrs,
        scope,
        reason: error.message,
        at: at.replace(/^\s*at /, ''),
      },
      // The formula, with the shapes of its operands.
      remedy: `give what ${op.name} takes: ${op.doc.split(/(?<=\w\w|[)\]])\. /)[0]}`,
    });
  }
}
