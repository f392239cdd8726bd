/** What binds a plan: the device with the least room, and what fills it. */
import { formatBytes } from '../core/format.ts';
import { categoryName } from '../memory/categories.ts';
import type { DeviceMemoryPlan } from '../memory/device-memory.ts';
import { capacityOf, limitOf } from './capacity.ts';
import type { Plan } from './plan.ts';

export interface CategoryShare {
  readonly category: keyof DeviceMemoryPlan['byCategory'];
  readonly bytes: number;
}

export interface Binding {
  readonly device: number;
  readonly peakBytes: number;
  readonly capacityBytes: number;
  /** Of the peak, the largest first; without those of no bytes. */
  readonly categories: readonly CategoryShare[];
  readonly largest: DeviceMemoryPlan['largest'];
}

/**
 * The device whose peak is the largest share of its capacity, of several the first. Undefined where nothing limits: devices
 * that have as much as needed do not, unless they would need more than can be addressed.
 */
export function bindingOf({ memory, request }: Pick<Plan, 'memory' | 'request'>): Binding | undefined {
  const limited = memory
    .map((planned) => ({ planned, device: request.devices[planned.device]! }))
    .filter(({ planned: { peakBytes }, device }) =>
      capacityOf(device) === null ? peakBytes > limitOf(device) : peakBytes > 0,
    )
    .map(({ planned, device }) => ({ planned, capacityBytes: limitOf(device) }));
  if (limited.length === 0) return undefined;
  // Compared as products: a capacity may be nothing.
  const { planned, capacityBytes } = limited.reduce((a, b) =>
    b.planned.peakBytes * a.capacityBytes > a.planned.peakBytes * b.capacityBytes ? b : a,
  );
  const { device, peakBytes, largest } = planned;
  return { device, peakBytes, capacityBytes, categories: sharesOf(planned), largest };
}

/** Categories at a device's peak, the largest first. */
export const sharesOf = ({ byCategory }: DeviceMemoryPlan): CategoryShare[] =>
  Object.entries(byCategory)
    .map(([category, bytes]) => ({ category: category as CategoryShare['category'], bytes }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);

/** The first ones in words: `gradients 256.0 KiB, parameters 64.0 KiB`. */
export const wordsOfShares = (shares: readonly CategoryShare[], most = 3): string =>
  shares
    .slice(0, most)
    .map(({ category, bytes }) => `${categoryName(category)} ${formatBytes(bytes)}`)
    .join(', ');
