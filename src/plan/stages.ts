/** The stages of a request and the devices that they lie on. */
import { UsageError } from '../core/errors.ts';
import { defaultDevice, referenceDevice } from '../cost/analytic.ts';
import type { CostModel } from '../cost/model.ts';
import type { Graph } from '../graph/graph.ts';
import { kernelsOf } from '../lower/kernel-call.ts';
import { foldedPlacement, foldedStages, highestOrder } from '../partition/fold.ts';
import { makePartition, type PlacedPartition, partitionByDevices } from '../partition/index.ts';
import type { Partition } from '../partition/partition.ts';
import { inFlightBounds, isScheduleName, namedSchedules, type PlacementRule, placementBy } from '../schedule/index.ts';
import type { PlannedDevice, ScheduleChoice, ScheduledRequest } from './request.ts';

export interface Room {
  /** Bytes of each device. */
  readonly bytes: readonly number[];
  /** Microbatches that every stage holds at once. Default: as the schedule has them. */
  readonly inFlight?: number;
}

/**
 * Cuts the graph as the request says, and places the stages: by hand, by the devices asked for node by node, as a schedule
 * from a file has them, or by the rule of the schedule with `stagesPerDevice` stages on every device.
 */
export function placedStages(
  graph: Graph,
  request: ScheduledRequest,
  options: {
    readonly microbatches: number;
    readonly costs: CostModel;
    /** What stages may take, where they are cut by time. */
    readonly room?: Room | undefined;
    /** Where stages lie that nothing else places. Default: as the schedule wants them. */
    readonly rule?: PlacementRule | undefined;
  },
): PlacedPartition {
  const { rule } = options;
  const { partition: spec, placement } = request;
  refuseContradictions(request);
  if (typeof spec === 'object' && 'devices' in spec) {
    const placed = partitionByDevices(graph, spec.devices);
    checkDevices(placed.placement, request);
    return placed;
  }
  if (typeof spec === 'object' && !('balance' in spec)) {
    const partition = makePartition(graph, spec, { stages: request.devices.length });
    return { partition, placement: placementOf(partition, graph, request, rule) };
  }
  /** All devices that were asked for are used, even where transfers cost more than they save: how many is the user's study. */
  const cut = (devices: readonly number[]): Partition =>
    makePartition(graph, spec, {
      stages: devices.length,
      exactly: true,
      microbatches: options.microbatches,
      costs: options.costs,
      devices,
      speeds: devices.map((d) => relativeSpeed(request.devices[d])),
      ...(options.room ? { capacities: devices.map((d) => options.room!.bytes[d]!) } : {}),
      ...inFlightOf(request.schedule, options.microbatches, devices),
      ...(options.room?.inFlight ? { inFlight: () => options.room!.inFlight! } : {}),
    });
  if (placement) {
    const partition = cut(placement);
    return { partition, placement: placementOf(partition, graph, request) };
  }
  const devices = defaultPlacement(graph, request, request.devices.length, rule);
  const partition = cut(devices);
  if (partition.stages === devices.length) return { partition, placement: checkDevices(devices, request) };
  // A graph of fewer nodes than stages: as many devices as can have all of theirs.
  const perDevice = devices.length / request.devices.length;
  const fewer = defaultPlacement(graph, request, Math.max(1, Math.floor(partition.stages / perDevice)), rule);
  const kept = fewer.slice(0, partition.stages);
  return { partition: kept.length === partition.stages ? partition : cut(kept), placement: kept };
}

/** Stages of each device where nobody says how many. */
export const defaultStagesPerDevice = (schedule: string | object | undefined): number =>
  typeof schedule === 'string' && isScheduleName(schedule) ? namedSchedules[schedule].stagesPerDevice : 1;

/** The list scheduler goes by no order of stages (`listedPlacements`): there and back, which of one stage a device is straight. */
const ruleOf = (schedule: ScheduleChoice): PlacementRule =>
  typeof schedule === 'string' && isScheduleName(schedule) ? namedSchedules[schedule].placement : 'v';

/**
 * Rules of the placements that the list scheduler may choose from: with several stages on a device there and back as in
 * ZB-V, in rounds, or in blocks. Undefined where the placement is settled.
 */
export function listedPlacements(graph: Graph, request: ScheduledRequest): readonly PlacementRule[] | undefined {
  const { schedule, partition, placement, devices } = request;
  const byDevices = typeof partition === 'object' && 'devices' in partition;
  if (schedule !== 'auto' || placement || byDevices || devices.length < 2) return undefined;
  return stagesOfEachDevice(graph, request) > 1 ? ['v', 'looped', 'straight'] : undefined;
}

/** Of a schedule from a file its own stages (of a folded chain the model's); else the rule's, on so many devices. */
function defaultPlacement(
  graph: Graph,
  request: ScheduledRequest,
  devices: number,
  rule: PlacementRule | undefined,
): readonly number[] {
  const own = placementOfFile(graph, request.schedule);
  if (own) return own;
  const perDevice = stagesOfEachDevice(graph, request);
  return placementBy(rule ?? ruleOf(request.schedule), devices, perDevice);
}

/** Where the model holds gradients of itself its stages are folded: each is several of the schedule's. */
function stagesOfEachDevice(graph: Graph, { schedule, stagesPerDevice }: ScheduledRequest): number {
  const folds = foldedStages(1, highestOrder(graph));
  return stagesPerDevice ?? Math.max(1, Math.floor(defaultStagesPerDevice(schedule) / folds));
}

/** The model's part of a file's placement; undefined where it is none for this model, folded over its devices. */
function placementOfFile(graph: Graph, schedule: ScheduleChoice): readonly number[] | undefined {
  if (typeof schedule === 'string') return undefined;
  const { placement } = schedule;
  const order = highestOrder(graph);
  const stages = placement.length / foldedStages(1, order);
  if (!Number.isInteger(stages)) return undefined;
  const own = placement.slice(0, stages);
  return foldedPlacement(own, order).every((d, s) => d === placement[s]) ? own : undefined;
}

/** For stages that are balanced by memory: what the named schedule holds. */
function inFlightOf(schedule: ScheduleChoice, microbatches: number, placement: readonly number[]) {
  if (typeof schedule !== 'string' || !isScheduleName(schedule)) return {};
  const bounds = inFlightBounds(schedule, placement.length, microbatches, placement);
  return { inFlight: (stage: number): number => bounds[stage]! };
}

/** Placement of a partition whose number of stages is settled. */
function placementOf(
  { stages }: Partition,
  graph: Graph,
  request: ScheduledRequest,
  rule?: PlacementRule,
): readonly number[] {
  const { placement, devices } = request;
  if (placement) {
    if (placement.length === stages) return checkDevices(placement, request);
    throw new UsageError(
      'placement-length',
      `placement names ${placement.length} stages and the partition has ${stages}`,
      { fields: { placement, stages }, remedy: 'give one device for each stage' },
    );
  }
  const own = placementOfFile(graph, request.schedule);
  if (own?.length === stages) return checkDevices(own, request);
  const perDevice = stagesOfEachDevice(graph, request);
  const all = placementBy(rule ?? ruleOf(request.schedule), devices.length, perDevice);
  if (stages <= all.length) return all.slice(0, stages);
  throw new UsageError(
    'placement-stages',
    `the partition has ${stages} stages, and ${devices.length} devices with ${perDevice} each hold ${all.length}`,
    {
      fields: { stages, devices: devices.length, stagesPerDevice: perDevice },
      remedy: `--devices ${Math.ceil(stages / perDevice)}, or --stagesPerDevice ${Math.ceil(stages / devices.length)}`,
    },
  );
}

function checkDevices(placement: readonly number[], { devices }: ScheduledRequest): readonly number[] {
  const bad = placement.find((d) => !Number.isInteger(d) || d < 0 || d >= devices.length);
  if (bad === undefined) return placement;
  throw new UsageError(
    'placement-device',
    `placement names device ${bad}, and there are ${devices.length} (0 to ${devices.length - 1})`,
    { fields: { placement, devices: devices.length }, remedy: `--devices ${Math.max(...placement) + 1}` },
  );
}

/** A placement says how many stages each device has; so do devices that are given node by node. */
function refuseContradictions({ stagesPerDevice, placement, partition }: ScheduledRequest): void {
  const byDevices = typeof partition === 'object' && 'devices' in partition;
  if (byDevices && placement) {
    throw new UsageError('placement-twice', 'partition.devices says where every node lies, and placement does so too', {
      fields: { placement },
      remedy: 'leave out the placement',
    });
  }
  if (stagesPerDevice === undefined) return;
  if (!Number.isInteger(stagesPerDevice) || stagesPerDevice < 1) {
    throw new UsageError('stages-per-device', `stagesPerDevice must be a whole number from 1, not ${stagesPerDevice}`, {
      fields: { stagesPerDevice },
      remedy: '--stagesPerDevice 2',
    });
  }
  if (byDevices) {
    throw new UsageError(
      'stages-per-device',
      'with partition.devices the stages of each device follow from the graph',
      {
        fields: { stagesPerDevice },
        remedy: 'leave out stagesPerDevice',
      },
    );
  }
  const other = placement && unevenDevice(placement, stagesPerDevice);
  if (!other) return;
  throw new UsageError(
    'stages-per-device',
    `stagesPerDevice is ${stagesPerDevice}, and the placement has ${other.stages} stages on device ${other.device}`,
    { fields: { stagesPerDevice, placement, ...other }, remedy: 'leave out stagesPerDevice' },
  );
}

/** The first device of a placement that has not so many stages. */
export function unevenDevice(
  placement: readonly number[],
  stagesPerDevice: number,
): { readonly device: number; readonly stages: number } | undefined {
  const counts = new Map<number, number>();
  for (const d of placement) counts.set(d, (counts.get(d) ?? 0) + 1);
  for (const [device, stages] of counts) if (stages !== stagesPerDevice) return { device, stages };
  return undefined;
}

/** Speed of a device as a factor on that of a wasm core. */
export const relativeSpeed = (device: PlannedDevice | undefined): number =>
  device === undefined
    ? 1
    : device.speed *
      (kernelsOf(device.backend) === 'reference' ? referenceDevice.flopsPerSecond / defaultDevice.flopsPerSecond : 1);
