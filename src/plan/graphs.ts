/** The training graphs of a request's programs, one for each size of microbatch, and the stages of their nodes. */
import { GraphError, PlanError, UsageError } from '../core/errors.ts';
import { fuseElementwise } from '../fusion/index.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { buildModel } from '../optim/model.ts';
import { buildTrainingGraph } from '../optim/training-graph.ts';
import type { Partition } from '../partition/partition.ts';
import { stageMap } from '../partition/stage-of.ts';
import { isSilent } from '../program/values.ts';
import { type RecomputeChoice, withRecompute } from '../recompute/index.ts';
import type { StageEdge } from '../schedule/index.ts';
import type { PlanCache } from './cache.ts';
import { chunkSizes } from './chunks.ts';
import { refuseMixedSamples } from './mixed-samples.ts';
import type { PlanRequest, ProgramSpec } from './request.ts';

export interface Build {
  readonly chunks: readonly number[];
  /** What the program runs, by samples. */
  readonly graphs: ReadonlyMap<number, Graph>;
  /** The graph of the largest chunk. */
  readonly largest: Graph;
}

/** The graphs of one of a request's programs. */
export function graphsOf(request: PlanRequest, name: string, { graphs }: PlanCache): Build {
  const key = `${name}/${request.microbatches}`;
  let build = graphs.get(key);
  if (!build) {
    const spec = request.programs[name]!;
    graphs.set(key, (build = buildGraphs(request, spec, spec === Object.values(request.programs)[0])));
  }
  return build;
}

function buildGraphs(request: PlanRequest, spec: ProgramSpec, isMain: boolean): Build {
  // A smaller last batch may have fewer samples than the main program has microbatches.
  const chunks = chunkSizes(spec.batch, isMain ? request.microbatches : Math.min(request.microbatches, spec.batch));
  // Computed singly, the samples of one microbatch are parts to compare too.
  const hasParts = request.invariant ? spec.batch > 1 : chunks.length > 1;
  const graphOf = (size: number): Graph => {
    const model = buildModel(request.model, size, spec.mode === 'forward' ? 'evaluation' : 'training');
    if (chunks.length > 1) refuseWholeBatchGradients(model.graph, chunks.length);
    return buildTrainingGraph(model, {
      optimizer: spec.mode === 'train' ? request.optimizer : undefined,
      clip: request.clip,
      l2: request.l2,
      batchNorm: request.batchNorm,
      fetch: {
        outputs: spec.outputs ?? false,
        gradientSquares: spec.gradientNorm ?? false,
        microbatchSquares: (spec.gradientNoise ?? false) && hasParts,
        gradients: spec.mode === 'gradients',
        buffers: spec.mode === 'gradients',
        inputGradients: spec.mode === 'gradients' && (request.inputGradients ?? false),
      },
    });
  };
  if (request.invariant) {
    const single = ofOneSample(() => graphOf(1));
    if (spec.batch > 1) refuseMixedSamples(single, graphOf(2));
    return { chunks, graphs: new Map([[1, single]]), largest: chunks[0] === 1 ? single : graphOf(chunks[0]!) };
  }
  const graphs = new Map([...new Set(chunks)].map((size) => [size, graphOf(size)]));
  return { chunks, graphs, largest: graphs.get(chunks[0]!)! };
}

/** Of a program, at over a kilobyte each: more do not fit into the heap. */
const MOST_INSTRUCTIONS = 2 ** 21;

/**
 * Why there can be no program, before there is one instruction of it: a step has about one for each node that computes and
 * each microbatch.
 */
export function tooManyInstructions({ chunks, graphs }: Build): PlanError | undefined {
  const each = new Map(
    [...graphs].map(([size, { nodes }]) => [size, nodes.filter((n) => n.region === 'micro' && !isSilent(n)).length]),
  );
  const instructions = chunks.reduce((n, size) => n + (each.get(size) ?? each.get(1)!), 0);
  if (instructions <= MOST_INSTRUCTIONS) return undefined;
  return new PlanError(
    'program-too-large',
    `a step of ${chunks.length} microbatches would have about ${instructions} instructions, and a program has at most ${MOST_INSTRUCTIONS}`,
    {
      fields: { microbatches: chunks.length, instructions, most: MOST_INSTRUCTIONS },
      remedy: `--microbatches ${Math.max(1, Math.floor((chunks.length * MOST_INSTRUCTIONS) / instructions))} or fewer, or fewer layers`,
    },
  );
}

/** A model that is made for one size of batch cannot be computed sample by sample: other batches are no remedy then. */
function ofOneSample(build: () => Graph): Graph {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof GraphError) || error.code !== 'onnx-batch-size') throw error;
    throw new GraphError(error.code, `invariant: each sample is computed by itself, and ${error.message}`, {
      fields: error.fields,
      remedy:
        '--invariant false --microbatches 1, or export the model with a symbolic batch in all places (dynamic_axes)',
      cause: error,
    });
  }
}

function refuseWholeBatchGradients({ gradientsOfWholeBatch }: Graph, microbatches: number): void {
  const [first] = gradientsOfWholeBatch;
  if (first === undefined) return;
  throw new UsageError(
    'gradient-whole-batch',
    `the model takes a gradient by ${first}, which is the same for every microbatch: it is complete only behind the last of ${microbatches}`,
    { fields: { tensors: [...gradientsOfWholeBatch], microbatches }, remedy: '--microbatches 1' },
  );
}

/** The graphs with what is computed again. What only runs forward keeps nothing, and has nothing to compute again. */
export function recomputeIn(
  builds: Readonly<Record<string, Build>>,
  stages: Readonly<Record<string, (node: Node) => number>>,
  programs: PlanRequest['programs'],
  choice: RecomputeChoice,
): Readonly<Record<string, Build>> {
  if (choice.size === 0) return builds;
  return Object.fromEntries(
    Object.entries(builds).map(([name, build]) => {
      if (programs[name]!.mode === 'forward') return [name, build];
      const graphs = new Map(
        [...build.graphs].map(([size, graph]) => [size, withRecompute(graph, stages[name]!, choice)]),
      );
      // Computed sample by sample, the largest chunk's graph only stands for it.
      const own = [...build.graphs].find(([, graph]) => graph === build.largest);
      const largest = own ? graphs.get(own[0])! : withRecompute(build.largest, stages[name]!, choice);
      return [name, { ...build, graphs, largest }];
    }),
  );
}

/** What the programs run, where elementwise nodes are fused: the builds, and the stages of their nodes. */
export function fusedIn(
  builds: Readonly<Record<string, Build>>,
  stages: Readonly<Record<string, (node: Node) => number>>,
): { readonly builds: Readonly<Record<string, Build>>; readonly stages: typeof stages } {
  const stagesOfGraph = new Map<Graph, (node: Node) => number>();
  const fuse = (graph: Graph, stageOf: (node: Node) => number): Graph => {
    const fused = fuseElementwise(graph, stageOf);
    stagesOfGraph.set(fused.graph, fused.stageOf);
    return fused.graph;
  };
  const fused = Object.entries(builds).map(([name, build]): [string, Build] => {
    const graphs = new Map([...build.graphs].map(([size, graph]) => [size, fuse(graph, stages[name]!)]));
    const own = [...build.graphs].find(([, graph]) => graph === build.largest);
    return [name, { ...build, graphs, largest: own ? graphs.get(own[0])! : fuse(build.largest, stages[name]!) }];
  });
  const stageOf = (node: Node): number => stagesOfGraph.get(node.graph)!(node);
  return {
    builds: Object.fromEntries(fused),
    stages: Object.fromEntries(Object.keys(builds).map((name) => [name, stageOf])),
  };
}

/** Stage of any node of any of the graphs; only the main graph must be known to the partition node by node. */
export function stagesOf(graphs: Iterable<Graph>, partition: Partition, main: Graph): (node: Node) => number {
  const mainStage = stageMap(main, partition);
  // Parameters and buffers live in one place for all programs, also where another graph's first reader stands elsewhere.
  const homes = new Map(main.nodes.filter((n) => n.source).map((n) => [n.name, mainStage(n)]));
  const maps = new Map([...graphs].map((g) => [g, stageMap(g, partition, { fill: g !== main })]));
  return (node) => {
    const home = node.source ? homes.get(node.name) : undefined;
    if (home !== undefined) return home;
    let map = maps.get(node.graph);
    if (!map) maps.set(node.graph, (map = stageMap(node.graph, partition, { fill: true })));
    return map(node);
  };
}

/** Pairs of stages between which forward values pass, or derivatives that are joined pass back. */
export function edgesBetweenStages(graph: Graph, partition: Partition): StageEdge[] {
  const stageOf = stageMap(graph, partition);
  const seen = new Map<string, StageEdge>();
  for (const node of graph.nodes) {
    if (node.source || (node.pass > 0 && !node.joins) || node.region === 'step') continue;
    for (const t of node.inputs) {
      if (t.node.source) continue;
      // Derivatives pass the other way.
      const [from, to] = node.joins ? [stageOf(node), stageOf(t.node)] : [stageOf(t.node), stageOf(node)];
      if (from !== to) seen.set(`${from}>${to}`, [from, to]);
    }
  }
  return [...seen.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}
