/** A step time that no plan goes below, whatever its partition, placement and schedule. */
import { analyticCosts, type CostModel, nodeSeconds } from '../cost/model.ts';
import { mayFuse } from '../fusion/index.ts';
import { defaultFusion, type FusionMode } from '../fusion/modes.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { isForward } from '../graph/values.ts';
import { leaders } from '../partition/stage-of.ts';
import { type Cluster, deviceCosts } from '../simulate/cluster.ts';
import { clusterOf, type PlanRequest } from './plan.ts';

export interface StepBoundOptions {
  readonly costs: CostModel;
  /** Factors on a wasm core, of all devices that may be used. */
  readonly speeds: readonly number[];
  readonly microbatches: number;
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
export function stepTimeBound(graph: Graph, { costs, speeds, microbatches: M, fusion }: StepBoundOptions): number {
  const fastest = Math.max(...speeds);
  // What is computed again need not be: another plan may keep it.
  const fused = fusion === 'on' ? mayFuse(graph) : undefined;
  const seconds = graph.nodes.map((n) => (n.recomputes || fused?.has(n) ? 0 : nodeSeconds(n, costs)));
  const head = new Float64Array(graph.nodes.length);
  const tail = new Float64Array(graph.nodes.length);
  const isMicro = (n: Node) => n.source === undefined && n.region === 'micro';
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
  const leader = leaders(graph);
  const parts = new Map<Node, { work: number; head: number; tail: number }>();
  let total = 0;
  for (const node of graph.nodes) {
    if (!node.op || node.op.alias || node.recomputes) continue;
    if (!isMicro(node)) {
      total += seconds[node.id]!;
      continue;
    }
    total += M * seconds[node.id]!;
    const followed = isForward(node) ? node : leader[node.id];
    if (!followed) continue;
    let part = parts.get(followed);
    if (!part)
      parts.set(followed, (part = { work: 0, head: Number.POSITIVE_INFINITY, tail: Number.POSITIVE_INFINITY }));
    part.work += seconds[node.id]!;
    part.head = Math.min(part.head, head[node.id]!);
    part.tail = Math.min(part.tail, tail[node.id]!);
  }
  let bound = total / speeds.reduce((a, b) => a + b, 0);
  for (const part of parts.values()) bound = Math.max(bound, (part.head + M * part.work + part.tail) / fastest);
  return bound;
}

/** The bound for all plans of a request with so many microbatches, on the devices that predict them. */
export function stepBoundOf(graph: Graph, request: PlanRequest, microbatches: number): number {
  const costs = request.costs ?? analyticCosts();
  const speeds = greatestSpeeds(graph, clusterOf(request), costs);
  return stepTimeBound(graph, { costs, speeds, microbatches, fusion: request.fusion ?? defaultFusion });
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
