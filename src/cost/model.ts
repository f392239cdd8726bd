import { checkOptions } from '../core/options.ts';
import type { Node } from '../graph/graph.ts';
import { type BackendName, type ComputingBackend, kernelsOf, type NodeSignature } from '../lower/kernel-call.ts';
import {
  costSeconds,
  type DeviceModel,
  defaultDevice,
  defaultLink,
  type LinkModel,
  nodeCost,
  referenceDevice,
  withNativeProducts,
} from './analytic.ts';
import { described } from './described.ts';

/** One run of a node's kernels, as far as its time depends on it. */
export interface KernelRun {
  readonly signature: NodeSignature;
  readonly flops: number;
  readonly bytes: number;
}

/** What things cost on the devices of a plan: the partitioners, the simulator and the watchdog ask nobody else. */
export interface CostModel {
  /** Where the figures come from: `analytic`, `profile`, … */
  readonly source: string;
  /** Seconds of one run on a device of speed 1 with this backend. */
  readonly kernelSeconds: (run: KernelRun, backend: BackendName) => number;
  /**
   * Seconds that any instruction takes beside its kernels and transfers, on a device of speed 1; with those of the bytes
   * that it copies within the device or to and from the host.
   */
  readonly instructionSeconds: (backend: BackendName, copiedBytes?: number) => number;
  /**
   * Seconds of a step on so many devices that lie behind their instructions: the host reads their answers. Default: none.
   */
  readonly stepSeconds?: (devices: number) => number;
  /** Seconds from a step's beginning until a device has the host's word: one is told after the other. Default: none. */
  readonly startSeconds?: (device: number) => number;
  /**
   * Of a training whose steps are begun ahead, on so many devices: what each spends between two steps, and what the host takes
   * in each step of a core that a device has, where the devices leave it none. Default: nothing.
   */
  readonly betweenSteps?: (devices: number) => { readonly secondsBetween: number; readonly hostSeconds: number };
  /** The link from one device to another. */
  readonly link: (from: number, to: number) => LinkModel;
}

export interface AnalyticCostOptions {
  /** Of a WebAssembly core; default `defaultDevice`. */
  readonly device?: DeviceModel;
  readonly link?: LinkModel | ((from: number, to: number) => LinkModel);
}

/** Rooflines: nothing was measured for the model at hand. */
export function analyticCosts(options: AnalyticCostOptions = {}): CostModel {
  checkOptions('analyticCosts', options, { device: 'record', link: true });
  const { device = defaultDevice, link = defaultLink } = options;
  const models: Readonly<Record<ComputingBackend, DeviceModel>> = {
    wasm: device,
    blas: withNativeProducts(device),
    reference: referenceDevice,
  };
  const modelOf = (backend: BackendName): DeviceModel => models[kernelsOf(backend)];
  const describe = (): string => `rooflines ${JSON.stringify(models)}`;
  return {
    source: 'analytic',
    kernelSeconds: described((run, backend) => costSeconds(run, modelOf(backend)), describe),
    instructionSeconds: described((backend, copiedBytes = 0) => {
      const { secondsPerKernel, bytesPerSecond, speed } = modelOf(backend);
      // A copy reads and writes each byte.
      return (secondsPerKernel + (2 * copiedBytes) / bytesPerSecond) / speed;
    }, describe),
    link: typeof link === 'function' ? link : sameLink(link),
  };
}

const everywhere = new WeakSet<CostModel['link']>();

/** One link between any two devices, of which nobody has to look at every pair. */
export function sameLink(model: LinkModel): CostModel['link'] {
  const link = () => model;
  everywhere.add(link);
  return link;
}

/** Devices among whose links there are all that some devices have: two where any link is as good as another. */
export const devicesOfLinks = <D>({ link }: Pick<CostModel, 'link'>, devices: readonly D[]): readonly D[] =>
  everywhere.has(link) ? devices.slice(0, 2) : devices;

/** The same costs with other links. */
export const withLinks = (costs: CostModel, link: CostModel['link']): CostModel => ({ ...costs, link });

/** The slowest link among some devices, latency and bandwidth each at their worst: a bound for every transfer. */
export function slowestLink(costs: CostModel, devices: readonly number[]): LinkModel {
  const different = [...new Set(devices)];
  if (different.length < 2) return costs.link(0, 0);
  const looked = devicesOfLinks(costs, different);
  let [bytesPerSecond, secondsLatency, secondsSend] = [Number.POSITIVE_INFINITY, 0, 0];
  for (const from of looked) {
    for (const to of looked) {
      if (from === to) continue;
      const link = costs.link(from, to);
      bytesPerSecond = Math.min(bytesPerSecond, link.bytesPerSecond);
      secondsLatency = Math.max(secondsLatency, link.secondsLatency);
      secondsSend = Math.max(secondsSend, link.secondsSend ?? 0);
    }
  }
  return { bytesPerSecond, secondsLatency, secondsSend };
}

/** Seconds of one run of a node on a device of speed 1. Sources and aliases run no kernel and cost nothing. */
export function nodeSeconds(node: Node, costs: CostModel, backend: BackendName = 'wasm'): number {
  const { op, attrs } = node;
  if (!op || op.alias) return 0;
  const inputs = node.inputs.map((t) => t.type);
  const outputs = node.outputs.map((t) => t.type);
  return costs.kernelSeconds({ signature: { op: op.name, inputs, outputs, attrs }, ...nodeCost(node) }, backend);
}
