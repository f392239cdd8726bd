import type { PlannedDevice } from './plan.ts';

/** What a WebAssembly memory can hold: 32-bit addresses. */
export const ADDRESSABLE_BYTES = 4 * 2 ** 30;

/** Bytes a device can use: whole pages of 64 KiB, at most what can be addressed. null: as much as needed. */
export const capacityOf = ({ memory }: PlannedDevice): number | null =>
  memory === null ? null : Math.min(ADDRESSABLE_BYTES, Math.floor(memory / 65536) * 65536);
