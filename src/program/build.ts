import { PlanError } from '../core/errors.ts';
import { byteSize } from '../core/types.ts';
import { feedBatchAxis, type Graph, type Node, type Tensor } from '../graph/graph.ts';
import type { Cost } from '../graph/op-record.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import { opLabel } from '../ops/fused.ts';
import { timesUntilStuck } from '../schedule/clock.ts';
import type { Task } from '../schedule/task.ts';
import { addProductsInPlace } from './add-in-place.ts';
import { BuildContext, type BuildOptions, type Lifetimes, runsOf } from './context.ts';
import type { Buffer, DeviceProgram, Instruction, MemoryCategory, Part, Place, StepProgram } from './instruction.ts';
import { mostAlive } from './lifetimes.ts';
import { connect, type DraftDevice, type SegmentTimes } from './messages.ts';
import { orderTasks } from './order.ts';
import { overwriteDyingInputs } from './overwrite.ts';
import { type Addition, PairwiseSum } from './pairwise.ts';
import { sampleGroups } from './sample-groups.ts';
import { type Chunk, stage } from './staging.ts';
import { constantName, valueKey, valueName } from './values.ts';
import { shareBytes } from './views.ts';

/** Compiles stages and a schedule into one program a device. Throws PlanError where graph and schedule do not fit. */
export function buildProgram(options: BuildOptions): StepProgram {
  const { chunks, schedule } = options;
  const context = new BuildContext(options);
  const { graphs } = context;
  const lifetimesOf = (device: number): Lifetimes => options.lifetimes?.[device] ?? 'short';
  const isShort = (device: number): boolean => lifetimesOf(device) !== 'plain';
  const isOrdered = (device: number): boolean => ['short', 'unshared'].includes(lifetimesOf(device));
  const drafts = Array.from({ length: schedule.devices }, (_, device) => {
    const draft = new DeviceBuilder(context, device).build();
    return isShort(device) ? addProductsInPlace(draft, options.backends[device]!) : draft;
  });
  const times = segmentTimes(options, drafts);
  const hasViews = (device: number): boolean => ['short', 'unordered'].includes(lifetimesOf(device));
  const assemble = (list: readonly DraftDevice[]) =>
    connect(list, options.postAhead ?? 1, times).map((d) => (isShort(d.device) ? overwriteDyingInputs(d) : d));
  // Samples that are computed one by one join their sums in the graph's order.
  const ordered = orderTasks(drafts, assemble, (device) => isOrdered(device) && !options.perSample);
  const devices = ordered.devices.map((d) => (hasViews(d.device) ? shareBytes(d) : d));
  const orders = ordered.orders.map((order, d) =>
    devices[d] === ordered.devices[d] ? order : { ...order, bytes: mostAlive(devices[d]!) },
  );

  const chunksOf = (tensors: readonly Tensor[]): Chunk[] =>
    tensors.map((tensor, m) => ({ tensor, samples: context.samplesOf(rootOf(tensor), m) }));
  const perMicrobatch = (find: (graph: Graph, name: string) => Tensor, names: Iterable<string>) =>
    new Map([...names].map((name) => [name, chunksOf(graphs.map((g) => find(g, name)))]));
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
    orders,
    feeds: feeds.staged,
    results: results.staged,
    feedBytes: feeds.bytes,
    resultBytes: results.bytes,
  };
}

/** By the schedule's clock; undefined where tasks run in parts, between barriers. */
function segmentTimes(
  { schedule, edges, durations = { F: 1, B: 1, W: 1 } }: BuildOptions,
  drafts: readonly DraftDevice[],
): SegmentTimes[] | undefined {
  // One segment in front of the tasks, and one behind them.
  if (drafts.some(({ device, segments }) => segments.length !== schedule.rows[device]!.length + 2)) return undefined;
  const { rowStarts, starts, ends, waiting } = timesUntilStuck(schedule, {
    durations,
    ...(edges ? { dependencies: edges } : {}),
  });
  if (waiting.length > 0) return undefined; // told where the programs are found to wait in a circle
  return drafts.map(({ device }) => {
    const [from, to] = [rowStarts[device]!, rowStarts[device]! + schedule.rows[device]!.length];
    return {
      reached: [0, 0, ...ends.subarray(from, to)],
      begun: [0, ...starts.subarray(from, to), Number.POSITIVE_INFINITY],
    };
  });
}

const inputNamed = (graph: Graph, name: string): Tensor =>
  graph.sources('input').find((t) => t.node.source!.name === name)!;

class DeviceBuilder {
  readonly #context: BuildContext;
  readonly #device: number;
  readonly #buffers: Buffer[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #wholes: Place[] = [];
  readonly #draft: DraftDevice;
  /** Sums over samples under way, by the name of their total. */
  readonly #sums = new Map<string, TreeSum>();
  #segment: DraftDevice['segments'][number] = [];

  constructor(context: BuildContext, device: number) {
    this.#context = context;
    this.#device = device;
    this.#draft = { device, buffers: this.#buffers, byKey: this.#byKey, segments: [] };
  }

  build(): DraftDevice {
    const { options, updates, turns } = this.#context;
    this.#open();
    this.#ownPersistent();
    const mine = this.#context.stepNodesOf(this.#device);
    for (const [run, tasks] of runsOf(options.schedule.rows[this.#device]!).entries()) this.#run(run, tasks, mine);
    this.#open();
    for (const node of mine) if (!updates.has(node) && !turns.has(node)) this.#compute(node, null, 'U');
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
    const { options, forwardOnly, turns, graphs } = this.#context;
    const { barriers } = this.#context.chunk(graphs[0]!).levels;
    for (let level = 0; level <= barriers; level++) {
      for (const { stage, kind, microbatch } of tasks) {
        const chunk = this.#context.chunk(this.#context.graphOf(microbatch));
        const nodes = forwardOnly ? chunk.tasks[stage]!.all : chunk.tasks[stage]![kind];
        const due = barriers === 0 ? nodes : nodes.filter((n) => chunk.levels.of[n.id] === level);
        const task = `${stage}${kind}${microbatch}`;
        this.#open();
        if (options.perSample) this.#computeSamples(due, microbatch, task);
        else for (const node of due) this.#compute(node, microbatch, task);
      }
      const due = stepNodes.filter((n) => turns.get(n)?.run === run && turns.get(n)?.level === level);
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
    for (const t of this.#context.persistentOf(this.#device)) {
      const { kind, name } = t.node.source!;
      this.#buffer(t, null, kind === 'state' ? 'optimizerState' : 'parameters', name);
      this.#sendOut(t, null);
    }
  }

  #compute(node: Node, microbatch: number | null, task: string): void {
    const { options } = this.#context;
    const isFirst = node.op!.accumulates ? microbatch === 0 : null;
    const { signature, lowered, overwritable, cost } = this.#context.lower(
      node,
      isFirst,
      options.backends[this.#device]!,
    );
    const inputs = node.inputs.map((t) => this.#need(t, microbatch));
    const outputs = node.outputs.map((t) => this.#produce(t, microbatch));
    const samples = Math.max(...node.outputs.map((t) => this.#context.samplesOf(t, microbatch)));
    const place = (buffer: number, t: Tensor): Place => {
      const stride = this.#stride(t, microbatch);
      return stride === 0 ? this.#whole(buffer) : { buffer, plus: 0, stride };
    };
    const part: Part = {
      signature,
      calls: lowered.calls,
      inputs: inputs.map((buffer, i) => place(buffer, node.inputs[i]!)),
      outputs: outputs.map((buffer, i) => place(buffer, node.outputs[i]!)),
      overwritable,
      repeat: samples,
      ...cost,
    };
    const workspace = this.#workspace(node.name, lowered.workspaceBytes);
    const { name } = node;
    const op = opLabel(node.op!, node.attrs);
    this.#push({
      kind: 'compute',
      task,
      microbatch,
      node: name,
      op,
      parts: [part],
      inputs,
      outputs,
      workspace,
      overwrites: null,
      ...totalCost([part]),
    });
    // A sum over microbatches is complete, and may leave, behind the last of them.
    if (!node.op!.accumulates || microbatch === options.chunks.length - 1) this.#leave(node, microbatch);
  }

  /** One object a buffer: a step has a million of them. */
  #whole(buffer: number): Place {
    this.#wholes[buffer] ??= whole(buffer);
    return this.#wholes[buffer];
  }

  /** Results and values that others wait for. */
  #leave(node: Node, microbatch: number | null): void {
    node.outputs.forEach((t, i) => {
      if (node.op!.inPlace?.some(([output]) => output === i)) return;
      this.#sendOut(t, microbatch);
      this.#emitResults(t, microbatch);
    });
  }

  /** A task's nodes where each sample is computed by itself: node by node, but sums with what feeds them sample by sample. */
  #computeSamples(nodes: readonly Node[], microbatch: number, task: string): void {
    const chunk = this.#context.chunk(this.#context.graphOf(microbatch));
    const groups = sampleGroups(
      nodes,
      (node) => chunk.readers.get(node) ?? [],
      (node) => !chunk.perSample.has(node) || node.outputs.some((t) => chunk.resultsOf.has(rootOf(t))),
    );
    for (const group of groups) {
      if (group.some((n) => n.op!.accumulates)) this.#computeGroup(group, microbatch, task);
      else this.#compute(group[0]!, microbatch, task);
    }
  }

  /**
   * Nodes that lead to sums over samples, for one sample after the other: their own values exist for one sample at a time,
   * and each sample's contribution joins the tree of its sum before the next is computed.
   */
  #computeGroup(group: readonly Node[], microbatch: number, task: string): void {
    const { options } = this.#context;
    const { chunks, backends } = options;
    const backend = backends[this.#device]!;
    const inputs = new Set<number>();
    const outputs = new Set<number>();
    const own = new Map<Tensor, number>();
    const { resultsOf } = this.#context.chunk(group[0]!.graph);
    // Results are kept for all samples, what only leads to sums for one.
    const kept = new Set(group.filter((n) => n.outputs.some((t) => resultsOf.has(t))));
    for (const node of group) {
      if (!node.op!.accumulates && !kept.has(node)) {
        for (const t of node.outputs) own.set(t, this.#scratch(t, microbatch));
      }
    }
    for (const id of own.values()) outputs.add(id);
    const placeOf = (tensor: Tensor, sample: number): Place => {
      const root = rootOf(tensor);
      const scratch = own.get(root);
      if (scratch !== undefined) return whole(scratch);
      const buffer = this.#need(root, microbatch);
      inputs.add(buffer);
      return { buffer, plus: sample * this.#stride(root, microbatch), stride: 0 };
    };
    const keptPlace = (tensor: Tensor, sample: number): Place => {
      const buffer = this.#produce(tensor, microbatch);
      outputs.add(buffer);
      return { buffer, plus: sample * this.#stride(tensor, microbatch), stride: 0 };
    };
    const parts: Part[] = [];
    let workspaceBytes = 0;
    const run = (node: Node, first: boolean | null, from: readonly Place[], to: readonly Place[]) => {
      const { signature, lowered, cost } = this.#context.lower(node, first, backend);
      parts.push({
        signature,
        calls: lowered.calls,
        inputs: from,
        outputs: to,
        overwritable: [],
        repeat: 1,
        ...cost,
      });
      workspaceBytes = Math.max(workspaceBytes, lowered.workspaceBytes);
    };
    const sums = new Map(group.filter((n) => n.op!.accumulates).map((n) => [n, this.#treeSum(n)]));
    const add = (node: Node, additions: readonly Addition[], addends: readonly Place[]) => {
      const slots = sums.get(node)!;
      for (const { from, to, first } of additions) {
        const target = slots.slot(to);
        outputs.add(target);
        const addend = from === 'sample' ? addends : [whole(slots.slot(from))];
        run(node, first, addend, [whole(target)]);
      }
    };
    const samples = chunks[microbatch]!;
    for (let s = 0; s < samples; s++) {
      for (const node of group) {
        const from = node.inputs.map((t) => placeOf(t, s));
        if (node.op!.accumulates) add(node, sums.get(node)!.sum.push(), from);
        else {
          const to = node.outputs.map((t) => (kept.has(node) ? keptPlace(t, s) : whole(own.get(t)!)));
          run(node, null, from, to);
        }
      }
    }
    const isLast = microbatch === chunks.length - 1;
    for (const [node, { sum }] of sums) if (isLast) add(node, sum.finish(), []);
    for (const tree of sums.values()) tree.endChunk();
    const last = group.at(-1)!;
    this.#push({
      kind: 'compute',
      task,
      microbatch,
      node: last.name,
      op: opLabel(last.op!, last.attrs),
      parts,
      inputs: [...inputs],
      outputs: [...outputs],
      workspace: this.#workspace(last.name, workspaceBytes),
      overwrites: null,
      ...totalCost(parts),
    });
    for (const node of kept) this.#leave(node, microbatch);
    if (isLast) for (const node of sums.keys()) this.#leave(node, microbatch);
  }

  /** The slots of a sum's tree; slot 0 is the total's own buffer. */
  #treeSum(node: Node): TreeSum {
    const total = node.outputs[0]!;
    const key = valueKey(total, null);
    let tree = this.#sums.get(key);
    if (!tree) {
      tree = new TreeSum((slot) =>
        slot === 0
          ? this.#produce(total, null)
          : this.#newBuffer({
              name: `${total.name}/partial ${slot}`,
              type: total.type,
              bytes: byteSize(total.type),
              category: 'gradients',
              persistent: null,
            }),
      );
      this.#sums.set(key, tree);
    }
    return tree;
  }

  /** Bytes from one sample to the next; 0 where all have the same. */
  #stride(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    const isSingle =
      this.#context.options.perSample &&
      microbatch !== null &&
      !isStepValue(root) &&
      this.#context.chunk(root.graph).perSample.has(root.node);
    return isSingle ? byteSize(root.type) : 0;
  }

  /** A value that exists for one sample at a time. */
  #scratch(tensor: Tensor, microbatch: number): number {
    return this.#newBuffer({
      name: `${valueName(tensor, microbatch)}/sample`,
      type: tensor.type,
      bytes: byteSize(tensor.type),
      category: 'temporaries',
      persistent: null,
    });
  }

  #workspace(name: string, bytes: number): number | null {
    if (bytes === 0) return null;
    return this.#newBuffer({
      name: `${name}/workspace`,
      type: { dtype: 'bool', shape: [bytes] },
      bytes,
      category: 'temporaries',
      persistent: null,
    });
  }

  /** The buffer that holds a value here; fed, received or made persistent at its first use. */
  #need(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    const { source } = root.node;
    if (source?.kind === 'constant') return this.#constant(root);
    const key = source?.kind === 'input' ? this.#inputKey(root, microbatch) : valueKey(root, microbatch);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (source?.kind === 'input') {
      const buffer = this.#buffer(root, microbatch, 'inputs', null, key);
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

  /** The host keeps what it feeds for the whole step: a microbatch's share is fetched by each task that reads it, and not kept. */
  #inputKey(root: Tensor, microbatch: number | null): string {
    const key = valueKey(root, microbatch);
    const isKept = isStepValue(root) || this.#context.options.lifetimes?.[this.#device] === 'plain';
    return isKept ? key : `${key} in segment ${this.#draft.segments.length}`;
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
      for (const [root, names] of this.#context.chunk(graph).sourceResultsOf.get(this.#device) ?? []) {
        if (isStepValue(root) && m > 0) continue;
        const microbatch = isStepValue(root) ? null : m;
        const buffer = this.#need(root, microbatch);
        for (const result of names) this.#push({ kind: 'output', result, microbatch, buffer });
      }
    });
  }

  #assign(): void {
    for (const { target, value } of this.#context.assignmentsOf(this.#device)) {
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

  #buffer(
    root: Tensor,
    microbatch: number | null,
    category: MemoryCategory,
    persistent: string | null,
    key: string = valueKey(root, microbatch),
  ): number {
    const samples = this.#context.samplesOf(root, microbatch);
    const { dtype, shape } = root.type;
    const type = samples === 1 ? root.type : { dtype, shape: [samples, ...shape] };
    const id = this.#newBuffer({
      name: valueName(root, microbatch),
      type,
      bytes: byteSize(type),
      category,
      persistent,
    });
    this.#byKey.set(key, id);
    return id;
  }

  #newBuffer(buffer: Omit<Buffer, 'id'>): number {
    const id = this.#buffers.length;
    this.#buffers.push({ id, ...buffer });
    return id;
  }
}

/** A sum's tree while the step runs, and the buffers of its partial sums. */
class TreeSum {
  readonly sum = new PairwiseSum();
  readonly #make: (slot: number) => number;
  /** Buffer of each slot that is alive, or was within this chunk. */
  readonly #slots: (number | undefined)[] = [];

  constructor(make: (slot: number) => number) {
    this.#make = make;
  }

  slot(index: number): number {
    this.#slots[index] ??= this.#make(index);
    return this.#slots[index];
  }

  /** Partial sums that have been added give their bytes back. */
  endChunk(): void {
    this.#slots.length = this.sum.depth;
  }
}

/** All of a buffer. */
const whole = (buffer: number): Place => ({ buffer, plus: 0, stride: 0 });

const totalCost = (parts: readonly Part[]): Cost => ({
  flops: parts.reduce((n, part) => n + part.repeat * part.flops, 0),
  bytes: parts.reduce((n, part) => n + part.repeat * part.bytes, 0),
});

export type { BuildOptions, DeviceProgram, Instruction, StepProgram };
