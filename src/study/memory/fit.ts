/** What the devices of a layout lack of its planned bytes. */
import type { MemoryDeviceRow, MemoryLayoutRow, MemoryTables } from './tables.ts';

export interface Lacking {
  readonly device: number;
  readonly needBytes: number;
  /** More than its capacity. */
  readonly bytes: number;
}

/** Of each device whose planned peak is above its capacity; nothing where the layout runs. */
export const lackingOf = ({ devices }: Pick<MemoryTables, 'devices'>, row: MemoryLayoutRow): Lacking[] =>
  devices
    .filter((d) => d.layout === row.layout && d.purpose === row.purpose)
    .flatMap(({ device, peakBytes, capacityBytes }: MemoryDeviceRow) =>
      capacityBytes !== null && peakBytes > capacityBytes
        ? [{ device, needBytes: peakBytes, bytes: peakBytes - capacityBytes }]
        : [],
    );
