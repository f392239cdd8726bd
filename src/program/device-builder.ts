import { PlanError } from '../core/errors.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import type { Cost } from '../graph/op-record.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import { opLabel } from '../ops/fused.ts';
import type { Task } from '../schedule/task.ts';
import { type BuildContext, runsOf } from './context.ts';
import { DeviceValues } from './device-values.ts';
import type { Part, Place } from './instruction.ts';
import type { DraftDevice } from './messages.ts';
import { sampleGroups } from './sample-groups.ts';
import { SampleLoops } from './sample-loop.ts';
import { valueKey, valueName } from './values.ts';

/** Writes one device's instructions, task by task; `build` is called once. */
export class DeviceBuilder {
  readonly #context: BuildContext;
  readonly #device: number;
  readonly #keepsInputs: boolean;
  readonly #backend: BackendName;
  readonly #values: DeviceValues;
  readonly #sampleLoops: SampleLoops;
  readonly #draft: DraftDevice;
  #segment: DraftDevice['segments'][number] = [];

  /** `keepsInputs`: a microbatch's share of the inputs is fetched once and kept, not by each task that reads it. */
  constructor(context: BuildContext, device: number, keepsInputs: boolean) {
    this.#context = context;
    this.#keepsInputs = keepsInputs;
    this.#device = device;
    this.#backend = context.options.backends[device]!;
    this.#values = new DeviceValues(context, device);
    this.#sampleLoops = new SampleLoops(context, this.#values, this.#backend, (root, m) => this.#need(root, m));
    const { buffers, byKey } = this.#values;
    this.#draft = { device, buffers, byKey, segments: [] };
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
      this.#values.add(t, null, kind === 'state' ? 'optimizerState' : 'parameters', name);
      this.#sendOut(t, null);
    }
  }

  #compute(node: Node, microbatch: number | null, task: string): void {
    const isFirst = node.op!.accumulates ? microbatch === 0 : null;
    const { signature, lowered, overwritable, cost } = this.#context.lower(node, isFirst, this.#backend);
    const inputs = node.inputs.map((t) => this.#need(t, microbatch));
    const outputs = node.outputs.map((t) => this.#values.produced(rootOf(t), microbatch));
    const { perSample } = this.#context.options;
    const samples = perSample ? Math.max(...node.outputs.map((t) => this.#context.samplesOf(t, microbatch))) : 1;
    const place = (buffer: number, t: Tensor): Place => {
      const stride = this.#context.sampleStride(t, microbatch);
      return stride === 0 ? this.#values.whole(buffer) : { buffer, plus: 0, stride };
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
    this.#push({
      kind: 'compute',
      task,
      microbatch,
      node: node.name,
      op: opLabel(node.op!, node.attrs),
      parts: [part],
      inputs,
      outputs,
      workspace: this.#values.workspace(node.name, lowered.workspaceBytes),
      overwrites: null,
      flops: samples * part.flops,
      bytes: samples * part.bytes,
    });
    // A sum over microbatches is complete, and may leave, behind the last of them.
    if (!node.op!.accumulates || microbatch === this.#context.options.chunks.length - 1) this.#leave(node, microbatch);
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

  #computeGroup(group: readonly Node[], microbatch: number, task: string): void {
    const loop = this.#sampleLoops.of(group, microbatch);
    const last = group.at(-1)!;
    this.#push({
      kind: 'compute',
      task,
      microbatch,
      node: last.name,
      op: opLabel(last.op!, last.attrs),
      parts: loop.parts,
      inputs: loop.inputs,
      outputs: loop.outputs,
      workspace: this.#values.workspace(last.name, loop.workspaceBytes),
      overwrites: null,
      ...totalCost(loop.parts),
    });
    for (const node of loop.kept) this.#leave(node, microbatch);
    const isLast = microbatch === this.#context.options.chunks.length - 1;
    if (isLast) for (const node of loop.sums) this.#leave(node, microbatch);
  }

  /** The buffer that holds a value here; fed, received or made persistent at its first use. */
  #need(tensor: Tensor, microbatch: number | null): number {
    const root = rootOf(tensor);
    const { source } = root.node;
    if (source?.kind === 'constant') return this.#values.constant(root);
    if (source?.kind === 'input') {
      const key = this.#inputKey(root, microbatch);
      const fetched = this.#values.byKey.get(key);
      if (fetched !== undefined) return fetched;
      const buffer = this.#values.fed(root, microbatch, key);
      this.#push({ kind: 'input', feed: source.name, microbatch: isStepValue(root) ? null : microbatch, buffer });
      return buffer;
    }
    const known = this.#values.find(root, microbatch);
    if (known !== undefined) return known;
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
    const buffer = this.#values.received(root, microbatch);
    const key = valueKey(root, microbatch);
    this.#push({ kind: 'receive', from, key, buffer, microbatch: isStepValue(root) ? null : microbatch });
    return buffer;
  }

  /**
   * The host keeps what it feeds for the whole step: a microbatch's share is fetched by each task that reads it, and not
   * kept.
   */
  #inputKey(root: Tensor, microbatch: number | null): string {
    const key = valueKey(root, microbatch);
    const isKept = isStepValue(root) || this.#keepsInputs;
    return isKept ? key : `${key} in segment ${this.#draft.segments.length}`;
  }

  #sendOut(tensor: Tensor, microbatch: number | null): void {
    const root = rootOf(tensor);
    for (const to of this.#context.consumersOf(root)) {
      if (to === this.#device) continue;
      const key = valueKey(root, microbatch);
      this.#push({
        kind: 'send',
        to,
        key,
        buffer: this.#values.find(root, microbatch)!,
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
        buffer: this.#values.find(root, microbatch)!,
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
}

const totalCost = (parts: readonly Part[]): Cost => ({
  flops: parts.reduce((n, part) => n + part.repeat * part.flops, 0),
  bytes: parts.reduce((n, part) => n + part.repeat * part.bytes, 0),
});
