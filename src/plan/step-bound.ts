/** A step time that no plan goes below, whatever its partition, placement and schedule. */
import { analyticCosts, type CostModel, nodeSeconds } from '../cost/model.ts';
import { mayFuse } from '../fusion/index.ts';
import { defaultFusion, type FusionMode } from '../fusion/modes.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { isForward } from '../graph/values.ts';
import { copiesOf } from '../lower/kernel-call.ts';
import { lowerNode } from '../lower/lower.ts';
import { leaders } from '../partition/stage-of.ts';
import { type Cluster, deviceCosts } from '../simulate/cluster.ts';
import { clusterOf, type PlanRequest } from './plan.ts';

export interface StepBoundOptions {
  readonly costs: CostModel;
  /** Factors on a wasm core, of all devices that may be used. */
  readonly speeds: readonly number[];
  readonly microbatches: number;
  /** Microbatches of fewer samples beside those, with the graph of their size: the same nodes in the same order. */
  readonly smaller?: { readonly graph: Graph; readonly microbatches: number } | undefined;
  /** Elementwise nodes may be fused: then what theirs take is not in the bound. */
  readonly fusion?: FusionMode;
}

/**
 * The largest of
 *
 *     all work / Σ speeds                        nobody computes faster than everybody
 *     head(u) + M · work(u) / s + tail(u)        a part u (a forward node with what follows it) lies on one device, which
 *                                                cannot begin it before what leads to it, nor end the step before what
 *                                                follows from it; s is the fastest device's speed
 *
 * Transfers, waiting for memory and the overhead of instructions are left out, so the bound is valid but not tight. Seconds.
 */
export function stepTimeBound(graph: Graph, options: StepBoundOptions): number {
  const { speeds, microbatches: M, smaller } = options;
  const large = timesOf(graph, options);
  // Where the nodes do not match, what smaller ones take is left out.
  const matches = smaller?.graph.nodes.length === graph.nodes.length;
  const small = matches ? timesOf(smaller!.graph, options) : large;
  const few = matches ? smaller!.microbatches : 0;
  const leader = leaders(graph);
  const parts = new Map<Node, { work: number; head: number; tail: number }>();
  let total = 0;
  for (const node of graph.nodes) {
    if (!node.op || node.op.alias || node.recomputes) continue;
    const { id } = node;
    if (!isMicro(node)) {
      total += large.seconds[id]!;
      continue;
    }
    const work = M * large.seconds[id]! + few * small.seconds[id]!;
    total += work;
    const followed = isForward(node) ? node : leader[id];
    if (!followed) continue;
    let part = parts.get(followed);
    if (!part)
      parts.set(followed, (part = { work: 0, head: Number.POSITIVE_INFINITY, tail: Number.POSITIVE_INFINITY }));
    part.work += work;
    part.head = Math.min(part.head, large.head[id]!, small.head[id]!);
    part.tail = Math.min(part.tail, large.tail[id]!, small.tail[id]!);
  }
  const fastest = Math.max(...speeds);
  let bound = total / speeds.reduce((a, b) => a + b, 0);
  for (const part of parts.values()) bound = Math.max(bound, (part.head + part.work + part.tail) / fastest);
  return bound;
}

const isMicro = (n: Node): boolean => n.source === undefined && n.region === 'micro';

interface Times {
  readonly seconds: readonly number[];
  /** By node: the longest way to it, and from it, within a microbatch. */
  readonly head: Float64Array;
  readonly tail: Float64Array;
}

function timesOf(graph: Graph, { costs, fusion }: StepBoundOptions): Times {
  const fused = fusion === 'on' ? mayFuse(graph) : undefined;
  const seconds = graph.nodes.map((n) => (mayVanish(n) || fused?.has(n) ? 0 : nodeSeconds(n, costs)));
  const head = new Float64Array(graph.nodes.length);
  const tail = new Float64Array(graph.nodes.length);
  // A sum over microbatches is complete behind the last of them: its readers wait for it, but not within one microbatch.
  const leads = (from: Node, to: Node) => isMicro(from) && isMicro(to) && !from.op!.accumulates;
  for (const node of graph.nodes) {
    for (const { node: from } of node.inputs) {
      if (leads(from, node)) head[node.id] = Math.max(head[node.id]!, head[from.id]! + seconds[from.id]!);
    }
  }
  for (let id = graph.nodes.length - 1; id >= 0; id--) {
    const node = graph.nodes[id]!;
    for (const { node: from } of node.inputs) {
      if (leads(from, node)) tail[from.id] = Math.max(tail[from.id]!, tail[id]! + seconds[id]!);
    }
  }
  return { seconds, head, tail };
}

/**
 * Whether a program may do without a node's instruction: what is computed again need not be, since another plan may keep it;
 * a sum over microbatches is added up where a product makes it (`program/add-in-place.ts`), and what only puts bytes one
 * behind the other may be read where they lie (`program/views.ts`).
 */
function mayVanish({ op, inputs, outputs, attrs, recomputes }: Node): boolean {
  if (!op || op.alias || recomputes || op.accumulates) return true;
  const types = { inputs: inputs.map((t) => t.type), outputs: outputs.map((t) => t.type) };
  return copiesOf(lowerNode('wasm', { op: op.name, ...types, attrs }).calls) !== undefined;
}

/**
 * The bound for all plans of a request with microbatches of these sizes, the largest first, on the devices that predict them;
 * `graph` is that of the largest. What smaller ones take counts where their graph is there too.
 */
export function stepBoundOf(
  graph: Graph,
  request: PlanRequest,
  chunks: readonly number[],
  graphs?: ReadonlyMap<number, Graph>,
): number {
  const costs = request.costs ?? analyticCosts();
  const speeds = greatestSpeeds(graph, clusterOf(request), costs);
  const least = chunks.at(-1)!;
  const isEven = least === chunks[0];
  const small = isEven ? undefined : graphs?.get(least);
  const microbatches = chunks.filter((size) => size === chunks[0]).length;
  const smaller = small && { graph: small, microbatches: chunks.length - microbatches };
  return stepTimeBound(graph, { costs, speeds, microbatches, smaller, fusion: request.fusion ?? defaultFusion });
}

/**
 * How much faster than the costs' wasm core each device is at the node at which it is fastest: no work takes it less than
 * that. One number would not do: another backend, or a roofline of its own, is not as much faster at everything.
 */
function greatestSpeeds(graph: Graph, { devices, costs: played }: Cluster, costs: CostModel): number[] {
  const known = new Map<CostModel, Map<string, number>>();
  return devices.map((device) => {
    const own = deviceCosts(device, played);
    const byBackend = known.get(own) ?? new Map<string, number>();
    known.set(own, byBackend);
    let most = byBackend.get(device.backend);
    if (most === undefined) {
      most = 0;
      for (const node of graph.nodes) {
        const seconds = nodeSeconds(node, costs);
        if (seconds > 0) most = Math.max(most, seconds / nodeSeconds(node, own, device.backend));
      }
      byBackend.set(device.backend, most);
    }
    // A graph that computes nothing takes no time on any device.
    return device.speed * (most || 1);
  });
}
