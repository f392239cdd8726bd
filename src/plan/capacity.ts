import type { PlannedDevice } from './plan.ts';

/** What a WebAssembly memory can hold: 32-bit addresses. */
export const ADDRESSABLE_BYTES = 4 * 2 ** 30;

/** Bytes a device can use: whole pages of 64 KiB, at most what can be addressed. null: as much as needed. */
export const capacityOf = ({ memory, simulated }: PlannedDevice): number | null =>
  memory === null ? null : Math.min(simulated ? memory : ADDRESSABLE_BYTES, Math.floor(memory / 65536) * 65536);

/** Bytes that a device cannot go beyond, also where it has as much as needed. */
export const limitOf = (device: PlannedDevice): number =>
  capacityOf(device) ?? (device.simulated ? Number.POSITIVE_INFINITY : ADDRESSABLE_BYTES);
