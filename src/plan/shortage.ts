import { requireKinds } from '../core/options.ts';
import { limitOf } from './capacity.ts';
import type { Plan } from './plan.ts';

export interface Shortage {
  readonly device: number;
  readonly needBytes: number;
  readonly capacityBytes: number;
}

/** Devices whose planned peak exceeds their capacity (capacities are whole pages of 64 KiB). */
export function shortages(plan: Pick<Plan, 'memory' | 'request'>): Shortage[] {
  requireKinds('shortages', { 'plan.memory': ['list', plan?.memory], 'plan.request': ['object', plan?.request] });
  return plan.memory.flatMap((m) => {
    const capacityBytes = limitOf(plan.request.devices[m.device]!);
    return m.peakBytes > capacityBytes ? [{ device: m.device, needBytes: m.peakBytes, capacityBytes }] : [];
  });
}

/** Bytes that all devices lack together. */
export const lackingBytes = (plan: Plan): number =>
  shortages(plan).reduce((sum, s) => sum + s.needBytes - s.capacityBytes, 0);
