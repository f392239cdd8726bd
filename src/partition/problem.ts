/**
 * A placement problem apart from any model: parts that each lie on one device, the values that pass between them, and the
 * order that stages must keep. Built-in models, ONNX files and foreign graphs all become one; every partitioner of this
 * directory that is not specific to training graphs takes one and answers with a `Placement`.
 */
import { isOfKind } from '../core/kinds.ts';
import { requireArgument } from '../core/options.ts';

export interface PlacementProblem {
  /** A part's number is its index. */
  readonly parts: readonly Part[];
  readonly values: readonly Value[];
  /**
   * What contiguous stages must respect: no edge leads to an earlier device. Acyclic; pairs of part numbers. Values need
   * not follow edges: gradients flow against them.
   */
  readonly edges: readonly (readonly [from: number, to: number])[];
  /** In the order of the stages where the answer is to be contiguous. */
  readonly devices: readonly PlacementDevice[];
  /**
   * `given` (default): stage after stage in the order of `devices`. `any`: contiguous in whichever order of the devices
   * suits, as where a CPU may stand before, between or behind the accelerators.
   */
  readonly deviceOrder?: 'given' | 'any';
  /**
   * Load of a device: `sum` adds computing and transfers (Tarnawski et al., NeurIPS 2020), `max` overlaps computing with
   * the transfers in and those out (PipeDream, SOSP 2019). `placement-load.ts` has the formulas.
   */
  readonly load: 'sum' | 'max';
  /** Unit of work and transfers, for messages: `s`, `ms`, … */
  readonly unit: string;
}

export interface Part {
  readonly name: string;
  /** Time on an accelerator of speed 1. Infinity: it cannot run there. */
  readonly work: number;
  /** Time on a CPU of speed 1. Default: `work`. */
  readonly cpuWork?: number;
  /** Bytes that it takes wherever it lies: parameters, gradients, optimizer state. */
  readonly bytes: number;
  /** Bytes that it holds for each microbatch in flight. Default 0. */
  readonly heldBytes?: number;
}

/** A value, with its producer and all its consumers; it moves once between two devices however many read it there. */
export interface Value {
  readonly producer: number;
  /** Distinct, without the producer. */
  readonly consumers: readonly number[];
  /** Time that a device spends on it where it crosses the device's boundary, in either direction, counted once. */
  readonly cost: number;
}

export interface PlacementDevice {
  readonly kind: 'accelerator' | 'cpu';
  /** Divides the work. */
  readonly speed: number;
  /** Bytes; Infinity where there is no limit. */
  readonly capacity: number;
  /** Divides the costs of transfers: the device's link against that which costs are stated for. Infinity: they are free. */
  readonly linkSpeed: number;
  /** Microbatches in flight where `Part.heldBytes` counts. Default 1. */
  readonly inFlight?: number;
}

/** Of a problem, where each has a load in every solver, and of a plan, where each has a program, a layout and a row. */
export const mostDevices = 2 ** 16;

/** A partitioner's answer. */
export interface Placement {
  /** Device of each part. */
  readonly deviceOf: readonly number[];
  /** Load of each device. */
  readonly loads: readonly number[];
  /** The largest load. */
  readonly objective: number;
  /** No placement of the kind asked for has a smaller objective; equal to it where it is proved. */
  readonly lowerBound: number;
  /** `ideals`, `chain`, `orders`, `moves`, `milp`, …; joined by + where several had a part in it. */
  readonly method: string;
  readonly seconds: number;
}

/** Asked of every method. */
export interface PlacementOptions {
  /** Devices in order hold convex parts: an edge never leads to an earlier device. Default true. */
  readonly contiguous?: boolean;
  /** Default 60, or 18 beyond 20,000 choices of a device for a part. Then the best so far, with its bound. */
  readonly timeLimitSeconds?: number;
  /** The method `auto` ends with an answer this share above its bound at most. Default 0: a proof. */
  readonly gap?: number;
  /** Seed of what is random. Default 0. */
  readonly seed?: number;
  /** Ends the search with its reason as the error: within a good part of a second, as methods have steps of that length. */
  readonly signal?: AbortSignal | undefined;
}

/** (objective − bound) / objective. */
export function gapOfPlacement(placement: Placement): number {
  const isPlacement = isOfKind('figure', placement?.objective);
  requireArgument('gapOfPlacement', isPlacement, 'a placement', placement, 'await solvePlacement(problem)');
  const { objective, lowerBound } = placement;
  return objective > 0 ? (objective - lowerBound) / objective : 0;
}

/** Throws UsageError for what is no problem: parts with work and bytes, devices, and values and edges between the parts. */
export function requireProblem(what: string, problem: unknown): asserts problem is PlacementProblem {
  const { parts, values, edges, devices, load, deviceOrder } = (problem ?? {}) as Partial<PlacementProblem>;
  const remedy = 'see PlacementProblem, or trainingProblem(graph, options)';
  const areLists = [parts, values, edges, devices].every(Array.isArray);
  requireArgument(what, areLists, 'a problem with parts, values, edges and devices', problem, remedy);
  const isPart = (part: unknown): boolean => isOfKind('index', part) && (part as number) < parts!.length;
  const check = (key: string, at: number, isRight: boolean, expected: string, got: unknown): void => {
    if (!isRight) requireArgument(what, false, `${expected} as ${key}.${at}`, got, remedy);
  };
  /** Of what may be left out. */
  const checkOptional = (key: string, at: number, name: string, got: unknown): void => {
    const isRight = got === undefined || isOfKind('notNegative', got);
    if (!isRight) requireArgument(what, false, `a number of 0 or more as ${key}.${at}.${name}`, got, remedy);
  };
  parts!.forEach((p, i) => {
    const isOne = isOfKind('notNegative', p?.work) && isOfKind('notNegative', p.bytes);
    check('parts', i, isOne, 'a part with work and bytes of 0 or more', p);
    checkOptional('parts', i, 'cpuWork', p.cpuWork);
    checkOptional('parts', i, 'heldBytes', p.heldBytes);
  });
  values!.forEach((v, i) => {
    const isOne = isPart(v?.producer) && Array.isArray(v.consumers) && v.consumers.every(isPart);
    check('values', i, isOne && isOfKind('notNegative', v.cost), 'a value between parts, with a cost of 0 or more', v);
  });
  edges!.forEach((e, i) => {
    check('edges', i, Array.isArray(e) && e.length === 2 && e.every(isPart), 'two parts', e);
  });
  requireArgument(what, devices!.length > 0, 'one device or more', devices, remedy);
  devices!.forEach((d, i) => {
    const isOne = [d?.speed, d?.linkSpeed].every((v) => isOfKind('positive', v)) && isOfKind('notNegative', d.capacity);
    check('devices', i, isOne, "a device, 'accelerator' or 'cpu', with speed, linkSpeed and capacity", d);
    const isKnown = d.kind === 'accelerator' || d.kind === 'cpu';
    if (!isKnown) requireArgument(what, false, `'accelerator' or 'cpu' as devices.${i}.kind`, d.kind, remedy);
    checkOptional('devices', i, 'inFlight', d.inFlight);
  });
  requireArgument(what, load === 'sum' || load === 'max', "load 'sum' or 'max'", load, "load: 'sum'");
  const isOrder = deviceOrder === undefined || deviceOrder === 'given' || deviceOrder === 'any';
  requireArgument(what, isOrder, "deviceOrder 'given' or 'any'", deviceOrder, "deviceOrder: 'given'");
}

/** Throws UsageError for what is no place for every part. */
export function requirePlacement({ parts, devices }: PlacementProblem, deviceOf: ArrayLike<number>): void {
  const isPlace = (d: number): boolean => isOfKind('index', d) && d < devices.length;
  const isRight =
    typeof deviceOf === 'object' && deviceOf?.length === parts.length && Array.from(deviceOf).every(isPlace);
  const expected = `a device of ${devices.length} for each of ${parts.length} parts`;
  requireArgument('a placement', isRight, expected, deviceOf, 'parts.map(() => 0)');
}
