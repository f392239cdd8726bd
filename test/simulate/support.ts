import type { LinkModel } from '../../src/cost/analytic.ts';
import { analyticCosts } from '../../src/cost/model.ts';
import { type Action, type ActionSource, action, type Cluster, type Medium } from '../../src/simulate/index.ts';

/** A program written out, device by device. */
export const programOf = (...devices: readonly (readonly Action[])[]): ActionSource => ({
  devices: devices.length,
  actions: (d) => devices[d]!.values(),
  describe: (d, i) => `${devices[d]![i]!.kind} ${i}`,
  task: () => null,
});

/** Devices with one link between any two. */
export const clusterOf = (
  devices: number,
  link: LinkModel | ((from: number, to: number) => LinkModel) = { bytesPerSecond: 10, secondsLatency: 0.5 },
  media?: readonly Medium[],
): Cluster => ({
  devices: Array.from({ length: devices }, () => ({ backend: 'wasm', speed: 1 }) as const),
  costs: analyticCosts({ link }),
  ...(media ? { media } : {}),
});

export const { compute, other, post, send, receive, barrier } = action;

/** A link that takes no time for bytes. */
export const delay = (seconds: number): LinkModel => ({
  bytesPerSecond: Number.POSITIVE_INFINITY,
  secondsLatency: seconds,
});
