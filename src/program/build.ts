import { GraphError, PlanError } from '../core/errors.ts';
import { byteSize } from '../core/types.ts';
import { type BarrierLevels, barrierLevels } from '../graph/barriers.ts';
import { feedBatchAxis, type Graph, type Node, type Tensor } from '../graph/graph.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import type { BackendName, Lowered, NodeSignature } from '../lower/kernel-call.ts';
import { lowerNode } from '../lower/lower.ts';
import type { Schedule } from '../schedule/schedule.ts';
import type { Task } from '../schedule/task.ts';
import type { Buffer, DeviceProgram, Instruction, MemoryCategory, StepProgram } from './instruction.ts';
import { connect, type DraftDevice } from './messages.ts';
import { divideIntoTasks, type StageTasks } from './stage-tasks.ts';
import { batchAxisOf, stage } from './staging.ts';
import { constantName, isSilent, valueKey, valueName } from './values.ts';

export interface BuildOptions {
  /** Samples of each microbatch, in order. */
  readonly chunks: readonly number[];
  /** The training graph at each chunk size. They share parameters, sums over microbatches and the step region. */
  readonly graphs: ReadonlyMap<number, Graph>;
  /** Stage of every node of each of them. */
  readonly stageOf: (node: Node) => number;
  readonly schedule: Schedule;
  readonly backends: readonly BackendName[];
  /** Tasks ahead of its use at which a receive buffer is posted; raised where that would block for ever. Default 1. */
  readonly postAhead?: number;
}

/** Compiles stages and a schedule into one program a device. Throws PlanError where graph and schedule do not fit. */
export function buildProgram(options: BuildOptions): StepProgram {
  const { chunks, schedule } = options;
  const context = new BuildContext(options);
  const { graphs } = context;
  const drafts = Array.from({ length: schedule.devices }, (_, device) => new DeviceBuilder(context, device).build());
  const devices = connect(drafts, options.postAhead ?? 1);

  const perMicrobatch = (find: (graph: Graph, name: string) => Tensor, names: Iterable<string>) =>
    new Map([...names].map((name) => [name, graphs.map((g) => find(g, name))]));
  const feeds = stage(
    perMicrobatch(
      inputNamed,
      graphs[0]!.sources('input').map((t) => t.node.source!.name),
    ),
    (_, t) => feedBatchAxis(t.node.source!.feed!),
  );
  const results = stage(
    perMicrobatch((g, name) => g.outputs.get(name)!, graphs[0]!.outputs.keys()),
    (name) => context.resultAxis(name),
  );
  return {
    microbatches: chunks.length,
    chunks,
    devices,
    feeds: feeds.staged,
    results: results.staged,
    feedBytes: feeds.bytes,
    resultBytes: results.bytes,
  };
}

const inputNamed = (graph: Graph, name: string): Tensor =>
  graph.sources('input').find((t) => t.node.source!.name === name)!;

/** What the builders need to know of the graph of one chunk size. */
interface ChunkGraph {
  readonly tasks: readonly StageTasks[];
  readonly levels: BarrierLevels;
  /** Values that derivative nodes of a device read, as `device/key`; the keys are those of microbatch 0. */
  readonly readByBackward: ReadonlySet<string>;
  /** Names of the results that a root is. */
  readonly resultsOf: ReadonlyMap<Tensor, readonly string[]>;
  /** Devices that need a root. */
  readonly consumers: ReadonlyMap<Tensor, ReadonlySet<number>>;
}

/** What all devices' builders share. */
class BuildContext {
  readonly options: BuildOptions;
  /** One a microbatch. */
  readonly graphs: readonly Graph[];
  readonly forwardOnly: boolean;
  readonly stepNodes: readonly Node[];
  /** Step nodes that change parameters or state, and what follows from them: behind the barrier. */
  readonly updates = new Set<Node>();
  /** Where step nodes stand that micro nodes wait for; all others run at the end. */
  readonly places: ReadonlyMap<Node, Place>;
  readonly #chunkGraphs = new Map<Graph, ChunkGraph>();
  /** Devices that need a step value, by key, over all graphs. */
  readonly #stepConsumers = new Map<string, Set<number>>();
  readonly #lowered = new Map<string, Lowered>();
  readonly #signatures = new Map<string, NodeSignature>();

  constructor(options: BuildOptions) {
    this.options = options;
    this.graphs = options.chunks.map((size) => options.graphs.get(size)!);
    this.forwardOnly = options.schedule.rows.every((row) => row.every((t) => t.kind === 'F'));
    for (const graph of new Set(this.graphs)) this.#chunkGraphs.set(graph, this.#survey(graph));
    checkTotals(new Set(this.graphs), (node) => this.deviceOf(node));
    this.stepNodes = this.graphs[0]!.nodes.filter((n) => !isSilent(n) && n.region === 'step');
    for (const node of this.stepNodes) {
      if (node.op!.inPlace || node.inputs.some((t) => this.updates.has(t.node))) this.updates.add(node);
    }
    const { levels } = this.chunk(this.graphs[0]!);
    if (levels.barriers > 0) checkBarrierSchedule(options.schedule, levels.barriers);
    this.places = placesOfEarlyNodes(this.graphs[0]!, levels);
  }

  #survey(graph: Graph): ChunkGraph {
    const consumers = new Map<Tensor, Set<number>>();
    const readByBackward = new Set<string>();
    for (const node of graph.nodes) {
      if (isSilent(node)) continue;
      const device = this.deviceOf(node);
      for (const t of node.inputs) {
        const root = rootOf(t);
        addTo(consumers, root, device);
        if (isStepValue(root)) addTo(this.#stepConsumers, valueKey(root, null), device);
        if (node.pass > 0 && node.region === 'micro') readByBackward.add(`${device}/${valueKey(root, 0)}`);
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
      consumers,
    };
  }

  graphOf(microbatch: number | null): Graph {
    return this.graphs[microbatch ?? 0]!;
  }

  chunk(graph: Graph): ChunkGraph {
    return this.#chunkGraphs.get(graph)!;
  }

  deviceOf(node: Node): number {
    return this.options.schedule.placement[this.options.stageOf(node)]!;
  }

  /** Devices that read a value, in ascending order. */
  consumersOf(root: Tensor): number[] {
    const set = isStepValue(root)
      ? this.#stepConsumers.get(valueKey(root, null))
      : this.chunk(root.graph).consumers.get(root);
    return [...(set ?? [])].sort((a, b) => a - b);
  }

  resultsOf(root: Tensor): readonly string[] {
    return this.chunk(root.graph).resultsOf.get(root) ?? [];
  }

  resultAxis(name: string): number | null {
    const axis = batchAxisOf(this.graphs, this.options.chunks, name);
    if (axis === null && this.options.chunks.length > 1) {
      throw new PlanError(
        'unbatched-output',
        `output ${name} has no batch axis, so ${this.options.chunks.length} microbatches cannot be joined`,
        {
          fields: { output: name },
          remedy: '--microbatches 1, or reduce the output over the batch',
        },
      );
    }
    return axis;
  }

  lower(node: Node, microbatch: number | null, backend: BackendName): { signature: NodeSignature; lowered: Lowered } {
    const isFirst = node.op!.accumulates ? microbatch === 0 : null;
    const key = `${this.graphs.indexOf(node.graph)}/${node.id}/${isFirst}`;
    let signature = this.#signatures.get(key);
    if (!signature) {
      signature = {
        op: node.op!.name,
        inputs: node.inputs.map((t) => t.type),
        outputs: node.outputs.map((t) => t.type),
        attrs: isFirst === null ? node.attrs : { ...node.attrs, first: isFirst },
      };
      this.#signatures.set(key, signature);
    }
    let lowered = this.#lowered.get(`${backend}/${key}`);
    if (!lowered) {
      lowered = lowerNode(backend, signature);
      this.#lowered.set(`${backend}/${key}`, lowered);
    }
    return { signature, lowered };
  }
}

function addTo<K>(map: Map<K, Set<number>>, key: K, value: number): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
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
interface Place {
  readonly run: number;
  readonly level: number;
}

function placesOfEarlyNodes(graph: Graph, { of, early }: BarrierLevels): Map<Node, Place> {
  const places = new Map<Node, Place>();
  for (const node of graph.nodes) {
    if (!early.has(node)) continue;
    const last = node.inputs
      .filter((t) => t.node.op)
      .map(({ node: n }) => places.get(n) ?? { run: n.pass === 0 ? 0 : 1, level: of[n.id]! })
      .reduce((a, b) => (b.run > a.run || (b.run === a.run && b.level > a.level) ? b : a), { run: 0, level: 0 });
    places.set(node, last);
  }
  return places;
}

/** Tasks that follow each other and are all forward, or all backward. */
function runsOf(row: readonly Task[]): Task[][] {
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

class DeviceBuilder {
  readonly #context: BuildContext;
  readonly #device: number;
  readonly #buffers: Buffer[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #draft: DraftDevice;
  #segment: DraftDevice['segments'][number] = [];

  constructor(context: BuildContext, device: number) {
    this.#context = context;
    this.#device = device;
    this.#draft = { device, buffers: this.#buffers, byKey: this.#byKey, segments: [] };
  }

  build(): DraftDevice {
    const { options, stepNodes, updates, places } = this.#context;
    this.#open();
    this.#ownPersistent();
    const mine = stepNodes.filter((n) => this.#context.deviceOf(n) === this.#device);
    for (const [run, tasks] of runsOf(options.schedule.rows[this.#device]!).entries()) this.#run(run, tasks, mine);
    this.#open();
    for (const node of mine) if (!updates.has(node) && !places.has(node)) this.#compute(node, null, 'U');
    this.#emitSourceResults();
    if (updates.size > 0 || this.#context.graphs[0]!.assignments.length > 0) {
      this.#push({ kind: 'barrier', name: 'gradients' });
      for (const node of mine) if (updates.has(node)) this.#compute(node, null, 'U');
      this.#assign();
    }
    return this.#draft;
  }

  /** The tasks level by level, each level's step nodes behind it; without barriers there is one level, and it is all. */
  #run(run: number, tasks: readonly Task[], stepNodes: readonly Node[]): void {
    const { forwardOnly, places, graphs } = this.#context;
    const { barriers } = this.#context.chunk(graphs[0]!).levels;
    for (let level = 0; level <= barriers; level++) {
      for (const { stage, kind, microbatch } of tasks) {
        const chunk = this.#context.chunk(this.#context.graphOf(microbatch));
        const nodes = forwardOnly ? chunk.tasks[stage]!.all : chunk.tasks[stage]![kind];
        this.#open();
        for (const node of nodes) {
          if (chunk.levels.of[node.id] === level) this.#compute(node, microbatch, `${stage}${kind}${microbatch}`);
        }
      }
      const due = stepNodes.filter((n) => places.get(n)?.run === run && places.get(n)?.level === level);
      if (due.length > 0) this.#open();
      for (const node of due) this.#compute(node, null, 'U');
    }
  }

  #open(): void {
    this.#segment = [];
    this.#draft.segments.push(this.#segment);
  }

  #push(instruction: DraftDevice['segments'][number][number]): void {
    this.#segment.push(instruction);
  }

  /** Parameters, states and the constants of this device live from load to close; others' parameters are sent first. */
  #ownPersistent(): void {
    const graph = this.#context.graphs[0]!;
    for (const kind of ['parameter', 'buffer', 'state'] as const) {
      for (const t of graph.sources(kind)) {
        if (this.#context.deviceOf(t.node) !== this.#device) continue;
        this.#buffer(t, null, kind === 'state' ? 'optimizerState' : 'parameters', t.node.source!.name);
        this.#sendOut(t, null);
      }
    }
  }

  #compute(node: Node, microbatch: number | null, task: string): void {
    const { options } = this.#context;
    const { signature, lowered } = this.#context.lower(node, microbatch, options.backends[this.#device]!);
    const inputs = node.inputs.map((t) => this.#need(t, microbatch));
    const outputs = node.outputs.map((t) => this.#produce(t, microbatch));
    const workspace = lowered.workspaceBytes
      ? this.#newBuffer({
          name: `${node.name}/workspace`,
          type: { dtype: 'bool', shape: [lowered.workspaceBytes] },
          bytes: lowered.workspaceBytes,
          category: 'temporaries',
          persistent: null,
        })
      : null;
    const cost = node.op!.cost(signature.inputs, signature.outputs, node.attrs);
    this.#push({
      kind: 'compute',
      task,
      microbatch,
      node: node.name,
      signature,
      calls: lowered.calls,
      inputs,
      outputs,
      workspace,
      flops: cost.flops,
      bytes: cost.bytes,
    });
    // A sum over microbatches is complete, and may leave, behind the last of them.
    const complete = !node.op!.accumulates || microbatch === options.chunks.length - 1;
    if (complete) {
      node.outputs.forEach((t, i) => {
        if (node.op!.inPlace?.some(([output]) => output === i)) return;
        this.#sendOut(t, microbatch);
        this.#emitResults(t, microbatch);
      });
    }
  }

  /** The buffer that holds a value here; fed, received or made persistent at its first use. */
  #need(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    const { source } = root.node;
    if (source?.kind === 'constant') return this.#constant(root);
    const key = valueKey(root, microbatch);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (source?.kind === 'input') {
      const buffer = this.#buffer(root, microbatch, 'inputs', null);
      this.#push({ kind: 'input', feed: source.name, microbatch: isStepValue(root) ? null : microbatch, buffer });
      return buffer;
    }
    const from = this.#context.deviceOf(root.node);
    if (from === this.#device) {
      throw new PlanError(
        'used-before-produced',
        `device ${this.#device} uses ${valueName(root, microbatch)} before the schedule produces it`,
        {
          fields: { device: this.#device, value: valueName(root, microbatch) },
          remedy: 'check the schedule: a task runs before one it depends on',
        },
      );
    }
    const buffer = this.#buffer(root, microbatch, this.#receivedCategory(root), null);
    this.#push({ kind: 'receive', from, key, buffer, microbatch: isStepValue(root) ? null : microbatch });
    return buffer;
  }

  #constant(tensor: Tensor): number {
    const name = constantName(tensor);
    const known = this.#byKey.get(name);
    if (known !== undefined) return known;
    const id = this.#newBuffer({
      name: tensor.name,
      type: tensor.type,
      bytes: byteSize(tensor.type),
      category: 'parameters',
      persistent: name,
    });
    this.#byKey.set(name, id);
    return id;
  }

  #produce(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    return (
      this.#byKey.get(valueKey(root, microbatch)) ?? this.#buffer(root, microbatch, this.#localCategory(root), null)
    );
  }

  #sendOut(tensor: Tensor, microbatch: number | null): void {
    const root = rootOf(tensor);
    const key = valueKey(root, microbatch);
    for (const to of this.#context.consumersOf(root)) {
      if (to === this.#device) continue;
      this.#push({
        kind: 'send',
        to,
        key,
        buffer: this.#byKey.get(key)!,
        microbatch: isStepValue(root) ? null : microbatch,
      });
    }
  }

  #emitResults(tensor: Tensor, microbatch: number | null): void {
    const root = rootOf(tensor);
    for (const result of this.#context.resultsOf(root)) {
      this.#push({
        kind: 'output',
        result,
        microbatch: isStepValue(root) ? null : microbatch,
        buffer: this.#byKey.get(valueKey(root, microbatch))!,
      });
    }
  }

  /** Results that are sources themselves (an input passed through, a parameter) leave from their own device. */
  #emitSourceResults(): void {
    this.#context.graphs.forEach((graph, m) => {
      for (const [root, names] of this.#context.chunk(graph).resultsOf) {
        if (!root.node.source || this.#context.deviceOf(root.node) !== this.#device) continue;
        if (isStepValue(root) && m > 0) continue;
        const microbatch = isStepValue(root) ? null : m;
        const buffer = this.#need(root, microbatch);
        for (const result of names) this.#push({ kind: 'output', result, microbatch, buffer });
      }
    });
  }

  #assign(): void {
    for (const { target, value } of this.#context.graphs[0]!.assignments) {
      if (this.#context.deviceOf(target.node) !== this.#device) continue;
      const from = this.#need(value, null);
      const buffer = this.#need(target, null);
      if (from !== buffer) this.#push({ kind: 'copy', from, buffer });
    }
  }

  #localCategory(root: Tensor): MemoryCategory {
    const { node } = root;
    if (isStepValue(root)) return 'gradients';
    return node.pass === 0 && this.#context.chunk(root.graph).readByBackward.has(`${this.#device}/${valueKey(root, 0)}`)
      ? 'savedActivations'
      : 'temporaries';
  }

  #receivedCategory(root: Tensor): MemoryCategory {
    const local = this.#localCategory(root);
    return local === 'savedActivations' && !isStepValue(root) ? 'savedActivations' : 'communication';
  }

  #buffer(root: Tensor, microbatch: number | null, category: MemoryCategory, persistent: string | null): number {
    const id = this.#newBuffer({
      name: valueName(root, microbatch),
      type: root.type,
      bytes: byteSize(root.type),
      category,
      persistent,
    });
    this.#byKey.set(valueKey(root, microbatch), id);
    return id;
  }

  #newBuffer(buffer: Omit<Buffer, 'id'>): number {
    const id = this.#buffers.length;
    this.#buffers.push({ id, ...buffer });
    return id;
  }
}

export type { DeviceProgram, Instruction, StepProgram };
