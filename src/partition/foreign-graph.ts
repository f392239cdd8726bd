import { UsageError } from '../core/errors.ts';
import { mostDevices, type PlacementDevice, type PlacementProblem } from './problem.ts';

/** A graph from a file, as a placement problem and the way back to the file's nodes. */
export interface ForeignGraph {
  readonly problem: PlacementProblem;
  /** Device of every node of the file by its id, from the device of every part. */
  readonly assignmentOf: (deviceOf: readonly number[]) => Readonly<Record<string, number>>;
  readonly format: string;
}

/** What is asked of a file beside what it says itself. */
export interface ForeignRequest {
  /** Accelerators; default: the file's number, else 2. */
  readonly devices?: number;
  /** CPUs beside them; default 0. */
  readonly cpus?: number;
  /** Bytes of each accelerator; default: the file's, else no limit. */
  readonly memory?: number;
  /** Bytes a second, where the file gives sizes and not times; default: transfers are free. */
  readonly linkBandwidth?: number;
  /** Default true. What nodes are one part may depend on it. */
  readonly contiguous?: boolean;
}

/** Accelerators, then CPUs: those have no limit of memory and pay no transfers. */
export function deviceList(
  request: ForeignRequest,
  file: { readonly accelerators: number | undefined; readonly capacity: number },
  where: string,
): PlacementDevice[] {
  const accelerators = request.devices ?? file.accelerators ?? 2;
  const cpus = request.cpus ?? 0;
  if (accelerators + cpus < 1) {
    throw new UsageError('no-devices', `${where}: there is no device to place it on`, {
      fields: { where, devices: accelerators, cpus },
      remedy: '--devices 2',
    });
  }
  if (accelerators + cpus > mostDevices) throw tooManyDevices(accelerators, cpus, where);
  const capacity = request.memory ?? file.capacity;
  return [
    ...Array.from(
      { length: accelerators },
      (): PlacementDevice => ({ kind: 'accelerator', speed: 1, capacity, linkSpeed: 1 }),
    ),
    ...Array.from(
      { length: cpus },
      (): PlacementDevice => ({ kind: 'cpu', speed: 1, capacity: Infinity, linkSpeed: Infinity }),
    ),
  ];
}

/** Its remedy lowers the larger number, and the other as well where that does not suffice. */
function tooManyDevices(accelerators: number, cpus: number, where: string): UsageError {
  const fewer = [
    ...(accelerators >= cpus || accelerators >= mostDevices ? ['--devices 2'] : []),
    ...(cpus > accelerators || cpus + 2 > mostDevices ? ['--cpus 1'] : []),
  ];
  return new UsageError(
    'too-many-devices',
    `${where}: ${accelerators + cpus} devices; there are at most ${mostDevices}`,
    {
      fields: { where, devices: accelerators, cpus, most: mostDevices },
      remedy: fewer.join(' '),
    },
  );
}

/** From the ids of the file's nodes in each part. */
export const assignmentBy =
  (nodesOf: readonly (readonly string[])[]): ForeignGraph['assignmentOf'] =>
  (deviceOf) =>
    Object.fromEntries(nodesOf.flatMap((ids, part) => ids.map((id) => [id, deviceOf[part]!])));
