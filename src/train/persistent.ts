import { DeviceError, nearest, UsageError } from '../core/errors.ts';
import { formatType, type HostTensor, sameType, type TensorData, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import type { DeviceCluster } from '../runtime/device-cluster.ts';
import { fillInitial } from './fill.ts';

/** Where a persistent tensor lies. */
interface Home {
  readonly tensor: Tensor;
  readonly device: number;
  readonly offset: number;
  readonly bytes: number;
}

/** What lives on the devices from the first step to the last: parameters, buffers, optimizer state and constants, by name. */
export class PersistentValues {
  readonly #plan: Plan;
  readonly #cluster: DeviceCluster;
  readonly #homes: ReadonlyMap<string, Home>;

  constructor(plan: Plan, cluster: DeviceCluster) {
    this.#plan = plan;
    this.#cluster = cluster;
    this.#homes = findHomes(plan);
  }

  /** Writes constants and first values: those that are `given` by name, and the model's own. */
  async initialize(seed: number, given: ReadonlyMap<string, HostTensor> | undefined): Promise<void> {
    await this.#writeConstants();
    for (const [name, home] of this.#homes) {
      const value = given?.get(name);
      if (value) await this.#write(home, value);
      else {
        const { type, node } = home.tensor;
        await this.#cluster.fill(home.device, home.offset, home.bytes, (target) =>
          fillInitial(viewOf(type, target), type, node.source!.init!, seed, name),
        );
      }
    }
  }

  /** In the order of the graph. */
  async read(kind: keyof typeof plural): Promise<Map<string, HostTensor>> {
    refuseNullDevices(this.#plan.request.devices, `the values of ${plural[kind]} cannot be read`);
    const values = new Map<string, HostTensor>();
    for (const [name, { tensor, device, offset, bytes }] of this.#homes) {
      if (tensor.node.source!.kind !== kind) continue;
      const copy = (await this.#cluster.read(device, offset, bytes)).slice();
      values.set(name, { type: tensor.type, data: viewOf(tensor.type, copy) });
    }
    return values;
  }

  /** All of them, or none where one does not fit. */
  async write(values: ReadonlyMap<string, HostTensor>): Promise<void> {
    refuseNullDevices(this.#plan.request.devices, 'values cannot be written');
    const writes = [...values].map(([name, value]) => {
      const home = this.#homes.get(name);
      if (!home)
        throw new UsageError('unknown-parameter', `the model has no parameter, buffer or state ${name}`, {
          fields: { name },
          remedy: `'${nearest(name, this.#homes.keys()) ?? [...this.#homes.keys()][0]}'`,
        });
      checkFits(home, value);
      return { home, value };
    });
    for (const { home, value } of writes) await this.#write(home, value);
  }

  async #write(home: Home, value: HostTensor): Promise<void> {
    checkFits(home, value);
    const { buffer, byteOffset, byteLength } = value.data;
    await this.#cluster.write(home.device, home.offset, new Uint8Array(buffer, byteOffset, byteLength));
  }

  async #writeConstants(): Promise<void> {
    for (const { device, persistent } of this.#plan.memory) {
      for (const p of persistent) {
        const constant = this.#plan.constants.get(p.name);
        if (!constant) continue;
        const { buffer, byteOffset, byteLength } = constant.data;
        await this.#cluster.write(device, p.offset, new Uint8Array(buffer, byteOffset, byteLength));
      }
    }
  }
}

const plural = { parameter: 'parameters', buffer: 'buffers', state: 'optimizer state' } as const;

function checkFits({ tensor, bytes }: Home, value: HostTensor): void {
  if (value.data.byteLength === bytes && sameType(value.type, tensor.type)) return;
  const what = `${value.data.length} values of ${formatType(value.type)}`;
  throw new UsageError('parameter-type', `${tensor} cannot take ${what}`, {
    fields: { name: tensor.name, expected: formatType(tensor.type), got: formatType(value.type) },
    remedy: `give ${formatType(tensor.type)}`,
  });
}

/** Parameters and state by name, with their device and offset. */
function findHomes(plan: Plan): Map<string, Home> {
  const homes = new Map<string, Home>();
  for (const graph of Object.values(plan.graphs)) {
    for (const tensor of (['parameter', 'buffer', 'state'] as const).flatMap((kind) => graph.sources(kind))) {
      const { name } = tensor.node.source!;
      if (homes.has(name)) continue;
      for (const { device, persistent } of plan.memory) {
        const place = persistent.find((p) => p.name === name);
        if (place) homes.set(name, { tensor, device, offset: place.offset, bytes: place.bytes });
      }
      if (!homes.has(name)) throw new DeviceError('homeless-parameter', `no device owns ${name}`, { fields: { name } });
    }
  }
  return homes;
}

/** The same bytes as numbers. */
function viewOf({ dtype }: TensorType, { buffer, byteOffset, byteLength }: Uint8Array): TensorData {
  return dtype === 'f32'
    ? new Float32Array(buffer, byteOffset, byteLength / 4)
    : dtype === 'i32'
      ? new Int32Array(buffer, byteOffset, byteLength / 4)
      : new Uint8Array(buffer, byteOffset, byteLength);
}
