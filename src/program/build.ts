import { GraphError, PlanError } from '../core/errors.ts';
import { byteSize } from '../core/types.ts';
import type { BackendName } from '../backends/backend.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';
import type { Lowered, NodeSignature } from '../lower/kernel-call.ts';
import { lowerNode } from '../lower/lower.ts';
import type { Schedule } from '../schedule/schedule.ts';
import type { Buffer, DeviceProgram, Instruction, MemoryCategory, StepProgram } from './instruction.ts';
import { connect, type DraftDevice } from './messages.ts';
import { divideIntoTasks, type StageTasks } from './stage-tasks.ts';
import { batchAxisOf, stage } from './staging.ts';
import { constantName, isSilent, rootOf, valueKey, valueName } from './values.ts';

export interface BuildOptions {
  /** Samples of each microbatch, in order. */
  readonly chunks: readonly number[];
  /** The training graph at each chunk size; all built alike (same nodes, other sizes). */
  readonly graphs: ReadonlyMap<number, Graph>;
  /** Stage of every node of the graph (by the node's id). */
  readonly stageOf: (node: Node) => number;
  readonly schedule: Schedule;
  readonly backends: readonly BackendName[];
  /** Tasks ahead of its use at which a receive buffer is posted; raised where that would block for ever. Default 1. */
  readonly postAhead?: number;
}

/** Compiles stages and a schedule into one program a device. Throws PlanError where graph and schedule do not fit. */
export function buildProgram(options: BuildOptions): StepProgram {
  const { chunks, schedule } = options;
  const graphs = chunks.map((size) => options.graphs.get(size)!);
  checkCongruent(options.graphs);
  const context = new BuildContext(options, graphs);
  const drafts = Array.from({ length: schedule.devices }, (_, device) => new DeviceBuilder(context, device).build());
  const devices = connect(drafts, options.postAhead ?? 1);

  const first = graphs[0]!;
  const feeds = stage(
    new Map(first.sources('input').map((t) => [t.node.source!.name, graphs.map((g) => g.nodes[t.node.id]!.outputs[0]!)])),
    (_, t) => (t.node.source!.feed!.kind === 'data' ? (t.node.source!.feed as { batchAxis: number | null }).batchAxis : null),
  );
  const results = stage(
    new Map([...first.outputs.keys()].map((name) => [name, graphs.map((g) => g.outputs.get(name)!)])),
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

/** What all devices' builders share. */
class BuildContext {
  readonly options: BuildOptions;
  readonly graphs: readonly Graph[];
  readonly tasks: readonly StageTasks[];
  readonly forwardOnly: boolean;
  /** Devices that need a value, by root (of the first graph). */
  readonly consumers = new Map<string, Set<number>>();
  /** Values read by derivative nodes, by root and device. */
  readonly readByBackward = new Set<string>();
  readonly stepNodes: readonly Node[];
  /** Step nodes that change parameters or state, and what follows from them: behind the barrier. */
  readonly updates = new Set<Node>();
  readonly resultsOf = new Map<string, string[]>();
  readonly #lowered = new Map<string, Lowered>();

  constructor(options: BuildOptions, graphs: readonly Graph[]) {
    this.options = options;
    this.graphs = graphs;
    const graph = graphs[0]!;
    const { schedule } = options;
    this.tasks = divideIntoTasks(graph, schedule.stages, options.stageOf);
    this.forwardOnly = schedule.rows.every((row) => row.every((t) => t.kind === 'F'));
    this.stepNodes = graph.nodes.filter((n) => !isSilent(n) && n.region === 'step');
    for (const node of graph.nodes) {
      if (isSilent(node)) continue;
      const device = this.deviceOf(node);
      for (const t of node.inputs) {
        const root = rootKey(t);
        const set = this.consumers.get(root);
        if (set) set.add(device);
        else this.consumers.set(root, new Set([device]));
        if (node.pass > 0 && node.region === 'micro') this.readByBackward.add(`${root}/${device}`);
      }
      if (node.region === 'step' && (node.op!.inPlace || node.inputs.some((t) => this.updates.has(t.node)))) this.updates.add(node);
    }
    for (const [name, t] of graph.outputs) {
      const root = rootKey(t);
      this.resultsOf.set(root, [...(this.resultsOf.get(root) ?? []), name]);
    }
  }

  deviceOf(node: Node): number {
    return this.options.schedule.placement[this.options.stageOf(node)]!;
  }

  resultAxis(name: string): number | null {
    const axis = batchAxisOf(this.graphs, this.options.chunks, name);
    if (axis === null && this.options.chunks.length > 1) {
      throw new PlanError('unbatched-output', `output ${name} has no batch axis, so ${this.options.chunks.length} microbatches cannot be joined`, {
        fields: { output: name },
        remedy: '--microbatches 1, or reduce the output over the batch',
      });
    }
    return axis;
  }

  /** The same node of another microbatch's graph. */
  at(node: Node, microbatch: number | null): Node {
    return this.graphs[microbatch ?? 0]!.nodes[node.id]!;
  }

  lower(node: Node, microbatch: number | null, backend: BackendName): { signature: NodeSignature; lowered: Lowered } {
    const concrete = this.at(node, microbatch);
    const isFirst = node.op!.name === 'accumulate' ? microbatch === 0 : null;
    const signature = this.#signature(concrete, isFirst);
    const key = `${backend}/${this.options.chunks[microbatch ?? 0]}/${node.id}/${isFirst}`;
    let lowered = this.#lowered.get(key);
    if (!lowered) {
      lowered = lowerNode(backend, signature);
      this.#lowered.set(key, lowered);
    }
    return { signature, lowered };
  }

  readonly #signatures = new Map<string, NodeSignature>();
  #signature(node: Node, isFirst: boolean | null): NodeSignature {
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
    return signature;
  }
}

const rootKey = (t: Tensor): string => {
  const root = rootOf(t);
  return `${root.node.id}.${root.index}`;
};

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
    const { options, tasks, stepNodes, updates, forwardOnly } = this.#context;
    this.#open();
    this.#ownPersistent();
    for (const task of options.schedule.rows[this.#device]!) {
      this.#open();
      const nodes = forwardOnly ? tasks[task.stage]!.all : tasks[task.stage]![task.kind];
      for (const node of nodes) this.#compute(node, task.microbatch, `${task.stage}${task.kind}${task.microbatch}`);
    }
    this.#open();
    const mine = stepNodes.filter((n) => this.#context.deviceOf(n) === this.#device);
    for (const node of mine) if (!updates.has(node)) this.#compute(node, null, 'U');
    this.#emitSourceResults();
    if (updates.size > 0 || this.#context.graphs[0]!.assignments.length > 0) {
      this.#push({ kind: 'barrier', name: 'gradients' });
      for (const node of mine) if (updates.has(node)) this.#compute(node, null, 'U');
      this.#assign();
    }
    return this.#draft;
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
    for (const kind of ['parameter', 'state'] as const) {
      for (const t of graph.sources(kind)) {
        if (this.#context.deviceOf(t.node) !== this.#device) continue;
        this.#buffer(t, null, kind === 'parameter' ? 'parameters' : 'optimizerState', t.node.source!.name);
        this.#sendOut(t, null);
      }
    }
  }

  #compute(node: Node, microbatch: number | null, task: string): void {
    const { options } = this.#context;
    const { signature, lowered } = this.#context.lower(node, microbatch, options.backends[this.#device]!);
    const concrete = this.#context.at(node, microbatch);
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
    const cost = concrete.op!.cost(signature.inputs, signature.outputs, concrete.attrs);
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
    const complete = node.op!.name !== 'accumulate' || microbatch === options.chunks.length - 1;
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
    if (source?.kind === 'constant') return this.#constant(this.#context.at(root.node, microbatch).outputs[0]!);
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
      throw new PlanError('used-before-produced', `device ${this.#device} uses ${valueName(root, microbatch)} before the schedule produces it`, {
        fields: { device: this.#device, value: valueName(root, microbatch) },
        remedy: 'check the schedule: a task runs before one it depends on',
      });
    }
    const buffer = this.#buffer(root, microbatch, this.#receivedCategory(root), null);
    this.#push({ kind: 'receive', from, key, buffer, microbatch: isStepValue(root) ? null : microbatch });
    return buffer;
  }

  #constant(tensor: Tensor): number {
    const name = constantName(tensor);
    const known = this.#byKey.get(name);
    if (known !== undefined) return known;
    const id = this.#newBuffer({ name: tensor.name, type: tensor.type, bytes: byteSize(tensor.type), category: 'parameters', persistent: name });
    this.#byKey.set(name, id);
    return id;
  }

  #produce(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    return this.#byKey.get(valueKey(root, microbatch)) ?? this.#buffer(root, microbatch, this.#localCategory(root), null);
  }

  #sendOut(tensor: Tensor, microbatch: number | null): void {
    const root = rootOf(tensor);
    const key = valueKey(root, microbatch);
    for (const to of [...(this.#context.consumers.get(rootKey(root)) ?? [])].sort((a, b) => a - b)) {
      if (to === this.#device) continue;
      this.#push({ kind: 'send', to, key, buffer: this.#byKey.get(key)!, microbatch: isStepValue(root) ? null : microbatch });
    }
  }

  #emitResults(tensor: Tensor, microbatch: number | null): void {
    const root = rootOf(tensor);
    for (const result of this.#context.resultsOf.get(rootKey(root)) ?? []) {
      this.#push({ kind: 'output', result, microbatch: isStepValue(root) ? null : microbatch, buffer: this.#byKey.get(valueKey(root, microbatch))! });
    }
  }

  /** Results that are sources themselves (an input passed through, a parameter) leave from their own device. */
  #emitSourceResults(): void {
    for (const key of this.#context.resultsOf.keys()) {
      const [id, index] = key.split('.').map(Number) as [number, number];
      const root = this.#context.graphs[0]!.nodes[id]!.outputs[index]!;
      if (!root.node.source || this.#context.deviceOf(root.node) !== this.#device) continue;
      const microbatches = isStepValue(root) ? [null] : this.#context.options.chunks.map((_, m) => m);
      for (const m of microbatches) {
        const buffer = this.#need(root, m);
        for (const result of this.#context.resultsOf.get(key)!) {
          this.#push({ kind: 'output', result, microbatch: m, buffer });
        }
      }
    }
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
    return node.pass === 0 && this.#context.readByBackward.has(`${rootKey(root)}/${this.#device}`)
      ? 'savedActivations'
      : 'temporaries';
  }

  #receivedCategory(root: Tensor): MemoryCategory {
    const local = this.#localCategory(root);
    return local === 'savedActivations' && !isStepValue(root) ? 'savedActivations' : 'communication';
  }

  #buffer(root: Tensor, microbatch: number | null, category: MemoryCategory, persistent: string | null): number {
    const { type } = this.#context.at(root.node, isStepValue(root) ? null : microbatch).outputs[root.index]!;
    const id = this.#newBuffer({ name: valueName(root, microbatch), type, bytes: byteSize(type), category, persistent });
    this.#byKey.set(valueKey(root, microbatch), id);
    return id;
  }

  #newBuffer(buffer: Omit<Buffer, 'id'>): number {
    const id = this.#buffers.length;
    this.#buffers.push({ id, ...buffer });
    return id;
  }
}

/** Graphs of different chunk sizes must have the same nodes: a stage means the same layers for every microbatch. */
function checkCongruent(graphs: ReadonlyMap<number, Graph>): void {
  const [first, ...others] = [...graphs];
  for (const [size, graph] of others) {
    const differs = first![1].nodes.find((n, i) => {
      const other = graph.nodes[i];
      return (
        n.name !== other?.name ||
        n.op !== other.op ||
        n.inputs.length !== other.inputs.length ||
        n.inputs.some((t, j) => t.node.id !== other.inputs[j]!.node.id || t.index !== other.inputs[j]!.index)
      );
    });
    if (differs || graph.nodes.length !== first![1].nodes.length) {
      throw new GraphError(
        'batch-dependent-graph',
        `the graph for ${size} samples differs from the one for ${first![0]}${differs ? ` at ${differs.name}` : ''}: a model must build the same nodes for every batch size`,
        { fields: { node: differs?.name ?? null, sizes: [first![0], size] }, remedy: 'choose a microbatch count that divides the batch' },
      );
    }
  }
}

export type { DeviceProgram, Instruction, StepProgram };
