/** Where a study ran: its times hold for no other machine. */
import { arch, availableParallelism, cpus, loadavg, platform } from 'node:os';

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly system: string;
  readonly node: string;
  /** Load average of the minute before the study, and of its last minute. */
  readonly loadBefore: number;
  readonly loadAfter: number;
}

export const loadNow = (): number => loadavg()[0] ?? 0;

export const machineNow = (loadBefore: number): Machine => ({
  processor: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  system: `${platform()} ${arch()}`,
  node: process.version,
  loadBefore,
  loadAfter: loadNow(),
});
