import type { PlannedDevice } from './request.ts';

/** What a WebAssembly memory can hold: 32-bit addresses. */
export const ADDRESSABLE_BYTES = 4 * 2 ** 30;

/** Bytes that there may be at most. Devices that hold none address as many as they like. */
const addressable = ({ backend, simulated }: PlannedDevice): number =>
  simulated || backend === 'null' ? Number.POSITIVE_INFINITY : ADDRESSABLE_BYTES;

/** Bytes a device can use: whole pages of 64 KiB, at most what can be addressed. null: as much as needed. */
export const capacityOf = (device: PlannedDevice): number | null =>
  device.memory === null ? null : Math.min(addressable(device), Math.floor(device.memory / 65536) * 65536);

/** Bytes that a device cannot go beyond, also where it has as much as needed. */
export const limitOf = (device: PlannedDevice): number => capacityOf(device) ?? addressable(device);
