import { defaultLink } from '../cost/analytic.ts';
import { analyticCosts, type CostModel, sameLink, withLinks } from '../cost/model.ts';
import { buildTrainingGraph } from '../optim/training-graph.ts';
import type { ForeignGraph } from '../partition/foreign-graph.ts';
import { type TrainingDevice, trainingProblem } from '../partition/training-problem.ts';
import { chunkSizes } from '../plan/chunks.ts';
import type { PlannedDevice } from '../plan/plan.ts';
import { relativeSpeed } from '../plan/stages.ts';
import { planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import { loadExperiment } from './experiment.ts';
import type { Invocation } from './invocation.ts';
import type { PartitionRequest } from './partition-input.ts';

/**
 * A model as its training step where it has an objective, else (an ONNX file by itself) as its forward pass. Kernels' times
 * are predicted, by the rooflines of one core.
 */
export function modelProblem(invocation: Invocation, request: PartitionRequest): ForeignGraph {
  const { experiment, where, given } = loadExperiment(invocation);
  const prepared = prepareExperiment(experiment, {
    where,
    needsData: false,
    needsObjective: false,
    batch: request.batch,
  });
  const { model, optimizer, batch } = prepared;
  const { microbatches, l2, batchNorm, clip } = experiment;
  const built = model.build(chunkSizes(batch, microbatches)[0]!);
  const trains = built.objective.length > 0;
  const graph = trains ? buildTrainingGraph(built, { l2, batchNorm, optimizer, clip }) : built.graph;
  const planned = planRequestOf(prepared, 'gradients');
  const { problem, assignmentOf } = trainingProblem(graph, {
    costs: linked(planned.costs ?? analyticCosts(), request.linkBandwidth),
    devices: devicesOf(given.has('devices') ? planned.devices : undefined, microbatches, request),
    microbatches,
  });
  return { problem, assignmentOf, format: trains ? `training step of ${model.name}` : `forward pass of ${model.name}` };
}

/** The same kernels behind other links. */
const linked = (costs: CostModel, bytesPerSecond: number | undefined): CostModel =>
  bytesPerSecond === undefined
    ? costs
    : withLinks(costs, sameLink({ bytesPerSecond, secondsLatency: defaultLink.secondsLatency }));

/** Devices of the experiment, or as many alike as are asked for; 1F1B says how many microbatches each holds. */
function devicesOf(
  planned: readonly PlannedDevice[] | undefined,
  microbatches: number,
  { devices, memory }: PartitionRequest,
): TrainingDevice[] {
  const own = planned?.map((d) => ({ speed: relativeSpeed(d), memory: d.memory }));
  const alike = Array.from({ length: devices ?? 2 }, () => ({ speed: 1, memory: null }));
  const all = devices === undefined && own ? own : alike;
  return all.map((d, s) => ({
    ...d,
    memory: memory ?? d.memory,
    inFlight: Math.min(microbatches, all.length - s),
  }));
}
