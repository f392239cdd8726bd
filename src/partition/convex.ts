import { GraphError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import type { Partition } from './partition.ts';
import { forwardNodes } from './stage-of.ts';

/** A partition with the device of each of its stages. */
export interface PlacedPartition {
  readonly partition: Partition;
  readonly placement: readonly number[];
}

/**
 * Any assignment of a graph's forward nodes to devices, as stages: each of one device, edges leading to the same or a higher
 * stage only, hence every stage convex. Where devices need each other's results (A→B→A) they own several stages.
 *
 * As few stages as possible: a sequence of stages is a sequence of devices, each of which then runs all it can, for running
 * less never helps later. At least as many stages are needed as the longest path has changes of device, plus one. One or two
 * devices take turns, so there the answer is optimal. With more it is a supersequence problem (NP-hard); a beam search
 * over the next device, by the bound of what is left, decides; it is optimal wherever it meets the bound.
 */
export function convexStages(graph: Graph, deviceOf: (node: Node) => number): PlacedPartition {
  requireGraph('convexStages', graph);
  requireKinds('convexStages', { deviceOf: ['function', deviceOf] });
  const nodes = forwardNodes(graph);
  const index = new Map(nodes.map((n, i) => [n, i]));
  const problem = new Colours(
    nodes.map((n) => checkedDevice(n, deviceOf(n))),
    nodes.map((n) => [...new Set(n.inputs.flatMap((t) => index.get(t.node) ?? []))]),
  );
  const placement = problem.sequence();
  const stages = problem.stagesIn(placement);
  return {
    partition: {
      stages: Math.max(1, placement.length),
      assignment: Object.fromEntries(nodes.map((n, i) => [n.name, stages[i]!])),
      method: 'devices',
    },
    placement: placement.length > 0 ? placement : [0],
  };
}

function checkedDevice(node: Node, device: number): number {
  if (Number.isInteger(device) && device >= 0) return device;
  throw new GraphError('device-of-node', `device of ${node.name} is ${device}: it must be a whole number from 0`, {
    fields: { node: node.name, device },
    remedy: 'return the number of a device for every forward node',
  });
}

/** What has run: how many inputs of each node are still missing (−1: it has run itself). */
interface State {
  readonly missing: Int32Array;
  /** Nodes that could run now, by device. */
  readonly ready: ReadonlyMap<number, readonly number[]>;
  readonly sequence: readonly number[];
  readonly left: number;
  /** Stages that are needed yet, at least. */
  readonly bound: number;
  /** Of the nodes left, how many need that many: fewer is better. */
  readonly atBound: number;
}

/** States times nodes times stages: a second at most, whatever the graph. */
const BEAM_WORK = 1e8;
const WIDEST_BEAM = 64;

/** Nodes with a colour (their device) and the nodes they need. */
class Colours {
  readonly #colour: readonly number[];
  readonly #needs: readonly (readonly number[])[];
  readonly #readers: readonly number[][];
  /** Stages that a path from here on needs at least, the node's own counted. */
  readonly #height: Int32Array;

  constructor(colour: readonly number[], needs: readonly (readonly number[])[]) {
    this.#colour = colour;
    this.#needs = needs;
    this.#readers = colour.map(() => []);
    needs.forEach((list, i) => {
      for (const p of list) this.#readers[p]!.push(i);
    });
    this.#height = new Int32Array(colour.length).fill(1);
    for (let i = colour.length - 1; i >= 0; i--) {
      for (const r of this.#readers[i]!) {
        this.#height[i] = Math.max(this.#height[i]!, this.#height[r]! + (colour[r] === colour[i] ? 0 : 1));
      }
    }
  }

  /** Device of each stage. */
  sequence(): readonly number[] {
    const n = this.#colour.length;
    const missing = Int32Array.from(this.#needs, (list) => list.length);
    const first = [...missing.keys()].filter((i) => missing[i] === 0);
    let beam: State[] = [this.#state(missing, first, [], n)];
    // Two at least: of two devices either may begin, and all that follows is then decided.
    const width = Math.max(2, Math.min(WIDEST_BEAM, Math.floor(BEAM_WORK / (1 + n * beam[0]!.bound))));
    while (beam[0]!.left > 0) {
      const next = beam.flatMap((state) => [...state.ready.keys()].map((colour) => this.#run(state, colour)));
      next.sort((a, b) => a.bound - b.bound || a.atBound - b.atBound || a.left - b.left);
      beam = distinct(next, width);
    }
    return beam[0]!.sequence;
  }

  /** Stage of each node where the stages' devices are these. */
  stagesIn(sequence: readonly number[]): Int32Array {
    const stages = new Int32Array(this.#colour.length);
    this.#needs.forEach((needs, i) => {
      let stage = needs.reduce((most, p) => Math.max(most, stages[p]!), 0);
      while (sequence[stage] !== this.#colour[i]) stage++;
      stages[i] = stage;
    });
    return stages;
  }

  /** A stage of this device: everything of it that can run, with what that enables. */
  #run(state: State, colour: number): State {
    const missing = state.missing.slice();
    const stack = [...(state.ready.get(colour) ?? [])];
    const others = [...state.ready].flatMap(([c, list]) => (c === colour ? [] : list));
    let { left } = state;
    for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
      missing[i] = -1;
      left--;
      for (const r of this.#readers[i]!) {
        if (--missing[r]! > 0) continue;
        (this.#colour[r] === colour ? stack : others).push(r);
      }
    }
    return this.#state(missing, others, [...state.sequence, colour], left);
  }

  /** Heights fall along every path, so that the nodes that can run now tell the bound. */
  #state(missing: Int32Array, runnable: readonly number[], sequence: readonly number[], left: number): State {
    const ready = new Map<number, number[]>();
    let bound = 0;
    for (const i of runnable) {
      const list = ready.get(this.#colour[i]!);
      if (list) list.push(i);
      else ready.set(this.#colour[i]!, [i]);
      bound = Math.max(bound, this.#height[i]!);
    }
    const atBound = runnable.filter((i) => this.#height[i] === bound).length;
    return { missing, ready, sequence, left, bound, atBound };
  }
}

/** The first `most` states, those in which the same nodes have run counted once. */
function distinct(states: readonly State[], most: number): State[] {
  const kept: State[] = [];
  for (const state of states) {
    if (kept.length === most) break;
    const isKnown = kept.some(
      (k) => k.left === state.left && k.bound === state.bound && k.missing.every((m, i) => m === state.missing[i]),
    );
    if (!isKnown) kept.push(state);
  }
  return kept;
}
