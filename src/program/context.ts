import { GraphError, PlanError } from '../core/errors.ts';
import { byteSize } from '../core/types.ts';
import { type BarrierLevels, barrierLevels } from '../graph/barriers.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import type { Cost } from '../graph/op-record.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import { varyingNodes } from '../graph/varying.ts';
import type { BackendName, Lowered, NodeSignature } from '../lower/kernel-call.ts';
import { lowerNode, overwritableInputs } from '../lower/lower.ts';
import type { ClockOptions } from '../schedule/clock.ts';
import type { StageEdge } from '../schedule/dependencies.ts';
import type { Schedule } from '../schedule/schedule.ts';
import type { Task } from '../schedule/task.ts';
import { divideIntoTasks, type StageTasks } from './stage-tasks.ts';
import { batchAxisOf } from './staging.ts';
import { isSilent, valueKey } from './values.ts';

/**
 * `short`: a device's nodes run in the order that keeps the fewest bytes alive, outputs lie over inputs that die, and views
 * over what they are a part of. `unshared`: no views, which join lives. `unordered`: in the order of the graph. `plain`:
 * tasks in the order of the graph, every value in bytes of its own.
 */
export type Lifetimes = 'short' | 'unshared' | 'unordered' | 'plain';

export interface BuildOptions {
  /** Samples of each microbatch, in order. */
  readonly chunks: readonly number[];
  /**
   * The training graph at each chunk size (of one sample, with `perSample`). They share parameters, sums over microbatches
   * and the step region.
   */
  readonly graphs: ReadonlyMap<number, Graph>;
  /**
   * Computes each sample by itself, and adds over the batch in one tree whatever the chunks are (`pairwise.ts`), so that
   * the number of microbatches does not change a bit.
   */
  readonly perSample?: boolean;
  /** Stage of every node of each of them. */
  readonly stageOf: (node: Node) => number;
  readonly schedule: Schedule;
  readonly backends: readonly BackendName[];
  /** Which stages feed which, and what tasks take: the clock by which buffers are posted. Default: a chain, F = B = W. */
  readonly edges?: readonly StageEdge[];
  readonly durations?: NonNullable<ClockOptions['durations']>;
  /** By device; default `short`. */
  readonly lifetimes?: readonly Lifetimes[] | undefined;
  /**
   * Tasks ahead of its use at which a receive buffer is posted at least; more where the sender or all would wait for it.
   * Default 1.
   */
  readonly postAhead?: number;
}

/** What programs of other lifetimes share. */
export type GraphOptions = Omit<BuildOptions, 'lifetimes'>;

/** What the builders need to know of the graph of one chunk size. */
interface ChunkGraph {
  readonly tasks: readonly StageTasks[];
  readonly levels: BarrierLevels;
  /** Devices whose derivative nodes read a root. */
  readonly readByBackward: ReadonlyMap<Tensor, ReadonlySet<number>>;
  /** Names of the results that a root is. */
  readonly resultsOf: ReadonlyMap<Tensor, readonly string[]>;
  /** Of them those that are sources themselves, by their device. */
  readonly sourceResultsOf: ReadonlyMap<number, readonly (readonly [Tensor, readonly string[]])[]>;
  /** Devices that need a root. */
  readonly consumers: ReadonlyMap<Tensor, ReadonlySet<number>>;
  /** Nodes that read a node's outputs, through aliases. */
  readonly readers: ReadonlyMap<Node, readonly Node[]>;
  /** Nodes that run for each sample by itself; empty where a microbatch is computed as one. */
  readonly perSample: ReadonlySet<Node>;
}

export interface LoweredNode {
  readonly signature: NodeSignature;
  readonly lowered: Lowered;
  /** Positions of the inputs that output 0 may be written over. */
  readonly overwritable: readonly number[];
  /** FLOPs and bytes of one run. */
  readonly cost: Cost;
}

/** What all devices' builders share. */
export class BuildContext {
  readonly options: GraphOptions;
  /** One a microbatch. */
  readonly graphs: readonly Graph[];
  readonly forwardOnly: boolean;
  readonly stepNodes: readonly Node[];
  /** By device, each in the graph's order: looking for them device by device would take as long as there are devices. */
  readonly #stepNodesOf: ReadonlyMap<number, readonly Node[]>;
  readonly #persistentOf: ReadonlyMap<number, readonly Tensor[]>;
  readonly #assignmentsOf: ReadonlyMap<number, readonly Graph['assignments'][number][]>;
  /** Step nodes that change parameters or state, and what follows from them: behind the barrier. */
  readonly updates = new Set<Node>();
  /** Where step nodes stand that micro nodes wait for; all others run at the end. */
  readonly turns: ReadonlyMap<Node, Turn>;
  readonly #chunkGraphs = new Map<Graph, ChunkGraph>();
  /** Devices that need a step value, by key, over all graphs. */
  readonly #stepConsumers = new Map<string, Set<number>>();
  /** By backend and `isFirst`: a node is lowered once for all microbatches and devices. */
  readonly #lowered = new Map<string, Map<Node, LoweredNode>>();
  readonly #consumersOf = new Map<Tensor, readonly number[]>();

  constructor(options: GraphOptions) {
    this.options = options;
    this.graphs = options.chunks.map((size) => options.graphs.get(options.perSample ? 1 : size)!);
    this.forwardOnly = options.schedule.rows.every((row) => row.every((t) => t.kind === 'F'));
    for (const graph of new Set(this.graphs)) this.#chunkGraphs.set(graph, this.#survey(graph));
    checkOutputs(new Set(this.graphs));
    checkTotals(new Set(this.graphs), (node) => this.deviceOf(node));
    this.stepNodes = this.graphs[0]!.nodes.filter((n) => !isSilent(n) && n.region === 'step');
    const [first] = this.graphs as [Graph];
    this.#stepNodesOf = grouped(this.stepNodes, (node) => this.deviceOf(node));
    const persistent = (['parameter', 'buffer', 'state'] as const).flatMap((kind) => first.sources(kind));
    this.#persistentOf = grouped(persistent, (t) => this.deviceOf(t.node));
    this.#assignmentsOf = grouped(first.assignments, ({ target }) => this.deviceOf(target.node));
    for (const node of this.stepNodes) {
      if (node.op!.inPlace || node.inputs.some((t) => this.updates.has(t.node))) this.updates.add(node);
    }
    for (const node of this.updates) this.#checkHome(node);
    const { levels } = this.chunk(this.graphs[0]!);
    if (levels.barriers > 0) checkBarrierSchedule(options.schedule, levels.barriers);
    this.turns = turnsOfEarlyNodes(this.graphs[0]!, levels);
  }

  /** What is updated in place lies where the update runs: elsewhere a copy would be updated, and lost. */
  #checkHome(node: Node): void {
    for (const t of node.outputs) {
      const root = rootOf(t);
      const [runs, lies] = [this.deviceOf(node), this.deviceOf(root.node)];
      if (root === t || !root.node.source || runs === lies) continue;
      throw new PlanError(
        'update-elsewhere',
        `${node.name} runs on device ${runs} and updates ${root} of device ${lies}`,
        {
          fields: { node: node.name, device: runs, tensor: root.name, home: lies },
          remedy: 'give an update the stage of what it updates: graph.inStep(parameter.node, …)',
        },
      );
    }
  }

  #survey(graph: Graph): ChunkGraph {
    const consumers = new Map<Tensor, Set<number>>();
    const readByBackward = new Map<Tensor, Set<number>>();
    const readers = new Map<Node, Node[]>();
    for (const node of graph.nodes) {
      if (isSilent(node)) continue;
      const device = this.deviceOf(node);
      for (const t of node.inputs) {
        const root = rootOf(t);
        const reading = readers.get(root.node);
        if (reading) reading.push(node);
        else readers.set(root.node, [node]);
        addTo(consumers, root, device);
        if (isStepValue(root)) addTo(this.#stepConsumers, valueKey(root, null), device);
        if (node.pass > 0 && node.region === 'micro') addTo(readByBackward, root, device);
      }
    }
    for (const { target, value } of graph.assignments) {
      addTo(this.#stepConsumers, valueKey(rootOf(value), null), this.deviceOf(target.node));
    }
    const resultsOf = new Map<Tensor, string[]>();
    for (const [name, t] of graph.outputs) resultsOf.set(rootOf(t), [...(resultsOf.get(rootOf(t)) ?? []), name]);
    return {
      tasks: divideIntoTasks(graph, this.options.schedule.stages, this.options.stageOf),
      levels: barrierLevels(graph),
      readByBackward,
      resultsOf,
      sourceResultsOf: grouped(
        [...resultsOf].filter(([root]) => root.node.source),
        ([root]) => this.deviceOf(root.node),
      ),
      consumers,
      readers,
      perSample: this.options.perSample ? perSampleNodes(graph) : new Set(),
    };
  }

  /** How many blocks of the value's type there are, one behind the other: a sample each where samples are computed singly. */
  samplesOf(root: Tensor, microbatch: number | null): number {
    return this.#isSingle(root, microbatch) ? this.options.chunks[microbatch!]! : 1;
  }

  /** Bytes from one sample to the next; 0 where all have the same. */
  sampleStride(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    return this.#isSingle(root, microbatch) ? byteSize(root.type) : 0;
  }

  /** Whether each sample of a value is computed by itself. */
  #isSingle(root: Tensor, microbatch: number | null): boolean {
    if (!this.options.perSample || microbatch === null || isStepValue(root)) return false;
    return this.chunk(root.graph).perSample.has(root.node);
  }

  graphOf(microbatch: number | null): Graph {
    return this.graphs[microbatch ?? 0]!;
  }

  chunk(graph: Graph): ChunkGraph {
    return this.#chunkGraphs.get(graph)!;
  }

  stepNodesOf(device: number): readonly Node[] {
    return this.#stepNodesOf.get(device) ?? [];
  }

  /** Parameters, then buffers, then states. */
  persistentOf(device: number): readonly Tensor[] {
    return this.#persistentOf.get(device) ?? [];
  }

  assignmentsOf(device: number): readonly Graph['assignments'][number][] {
    return this.#assignmentsOf.get(device) ?? [];
  }

  deviceOf(node: Node): number {
    return this.options.schedule.placement[this.options.stageOf(node)]!;
  }

  /** Devices that read a value, in ascending order. */
  consumersOf(root: Tensor): readonly number[] {
    let devices = this.#consumersOf.get(root);
    if (!devices) {
      const set = isStepValue(root)
        ? this.#stepConsumers.get(valueKey(root, null))
        : this.chunk(root.graph).consumers.get(root);
      this.#consumersOf.set(root, (devices = [...(set ?? [])].sort((a, b) => a - b)));
    }
    return devices;
  }

  resultsOf(root: Tensor): readonly string[] {
    return this.chunk(root.graph).resultsOf.get(root) ?? [];
  }

  resultAxis(name: string): number | null {
    const { perSample, chunks } = this.options;
    const tensor = this.graphs[0]!.outputs.get(name)!;
    const varies = !perSample || isStepValue(tensor) || this.chunk(tensor.graph).perSample.has(rootOf(tensor).node);
    const axis = varies ? batchAxisOf(this.graphs, perSample ? chunks.map(() => 1) : chunks, name) : null;
    if (axis === null && chunks.length > 1) {
      throw new PlanError(
        'unbatched-output',
        `output ${name} has no batch axis, so ${chunks.length} microbatches cannot be joined`,
        {
          fields: { output: name },
          remedy: '--microbatches 1, or reduce the output over the batch',
        },
      );
    }
    return axis;
  }

  /** `isFirst`: of what accumulates, whether it starts anew; null for all else. */
  lower(node: Node, isFirst: boolean | null, backend: BackendName): LoweredNode {
    const kind = `${backend} ${isFirst}`;
    let known = this.#lowered.get(kind);
    if (!known) this.#lowered.set(kind, (known = new Map()));
    let found = known.get(node);
    if (!found) {
      const inputs = node.inputs.map((t) => t.type);
      const outputs = node.outputs.map((t) => t.type);
      const attrs = isFirst === null ? node.attrs : { ...node.attrs, first: isFirst };
      const signature = { op: node.op!.name, inputs, outputs, attrs };
      const lowered = lowerNode(backend, signature);
      const overwritable = overwritableInputs(backend, signature, lowered);
      found = { signature, lowered, overwritable, cost: node.op!.cost(inputs, outputs, node.attrs) };
      known.set(node, found);
    }
    return found;
  }
}

/** Nodes that run for each sample by itself. */
function perSampleNodes(graph: Graph): Set<Node> {
  const found = varyingNodes(graph);
  for (const node of graph.nodes) {
    if (node.op?.accumulates && !node.op.accumulates.associative) {
      throw new PlanError(
        'invariant-order',
        `${node.name} follows the microbatches in their order, so it cannot be the same for every number of them`,
        { fields: { node: node.name, op: node.op.name }, remedy: '--batchNorm exact' },
      );
    }
    if (node.op?.accumulates && !found.has(node)) {
      throw new PlanError(
        'invariant-constant',
        `${node.inputs[0]!.name} does not depend on the batch, and would be added once a microbatch`,
        { fields: { node: node.name }, remedy: 'use l2 for a penalty on parameters' },
      );
    }
  }
  return found;
}

function addTo<K>(map: Map<K, Set<number>>, key: K, value: number): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
}

function grouped<T>(items: Iterable<T>, keyOf: (item: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** Every graph must have the same outputs: a result is joined from those of all microbatches. */
function checkOutputs(graphs: ReadonlySet<Graph>): void {
  const [first, ...others] = [...graphs].map((graph) => new Set(graph.outputs.keys()));
  for (const got of others) {
    const output = [...first!, ...got].find((name) => !first!.has(name) || !got.has(name));
    if (output === undefined) continue;
    throw new GraphError(
      'batch-dependent-graph',
      `the model builds another graph for another batch size: not every one gives ${output}`,
      {
        fields: { output },
        remedy: 'name the same outputs for every batch size, or a microbatch count that divides the batch',
      },
    );
  }
}

/** Every graph must add to the same totals on the same devices: a sum over microbatches has one place. */
function checkTotals(graphs: ReadonlySet<Graph>, deviceOf: (node: Node) => number): void {
  const totals = (graph: Graph) =>
    new Map(graph.nodes.filter((n) => n.op?.accumulates).map((n) => [valueKey(n.outputs[0]!, null), deviceOf(n)]));
  const [first, ...others] = [...graphs];
  const expected = totals(first!);
  for (const graph of others) {
    const got = totals(graph);
    const differs = [...new Set([...expected.keys(), ...got.keys()])].find((key) => expected.get(key) !== got.get(key));
    if (differs) {
      throw new GraphError(
        'batch-dependent-graph',
        `the model builds another graph for another batch size: ${differs} is not the same sum in both`,
        {
          fields: { total: differs },
          remedy: 'use each parameter equally often for every batch size, or a microbatch count that divides the batch',
        },
      );
    }
  }
}

/** Behind which level of which run (0: forward tasks, 1: backward tasks) a step node's last total is complete. */
export interface Turn {
  readonly run: number;
  readonly level: number;
}

function turnsOfEarlyNodes(graph: Graph, { of, early }: BarrierLevels): Map<Node, Turn> {
  const turns = new Map<Node, Turn>();
  for (const node of graph.nodes) {
    if (!early.has(node)) continue;
    const last = node.inputs
      .filter((t) => t.node.op)
      .map(({ node: n }) => turns.get(n) ?? { run: n.pass === 0 ? 0 : 1, level: of[n.id]! })
      .reduce((a, b) => (b.run > a.run || (b.run === a.run && b.level > a.level) ? b : a), { run: 0, level: 0 });
    turns.set(node, last);
  }
  return turns;
}

/** Tasks that follow each other and are all forward, or all backward. */
export function runsOf(row: readonly Task[]): Task[][] {
  const runs: Task[][] = [];
  for (const task of row) {
    const run = runs.at(-1);
    if (run && (run[0]!.kind === 'F') === (task.kind === 'F')) run.push(task);
    else runs.push([task]);
  }
  return runs;
}

/** All microbatches must be at a barrier before one passes it: all forwards before all backwards, as in gpipe. */
function checkBarrierSchedule(schedule: Schedule, barriers: number): void {
  const mixed = schedule.rows.findIndex((row) => {
    const runs = runsOf(row);
    return runs.length > 2 || (runs.length === 2 && runs[0]![0]!.kind !== 'F');
  });
  if (mixed < 0) return;
  throw new PlanError(
    'barrier-schedule',
    `the model has ${barriers} barriers at which all microbatches wait for each other, and schedule ${schedule.name} begins backward tasks before the forward ones are through (device ${mixed})`,
    { fields: { barriers, schedule: schedule.name, device: mixed }, remedy: '--schedule gpipe' },
  );
}
