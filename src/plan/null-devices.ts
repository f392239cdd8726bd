/** What null devices are refused for: they play everything of a step but the arithmetic. */
import { UsageError } from '../core/errors.ts';
import type { BackendName } from '../lower/kernel-call.ts';

type Devices = readonly { readonly backend: BackendName }[];

export const hasNullDevices = (devices: Devices): boolean => devices.some((d) => d.backend === 'null');

/** Throws UsageError where null devices are asked for what only arithmetic gives. `what` begins the sentence. */
export function refuseNullDevices(devices: Devices, what: string, remedy = '--backend wasm'): void {
  const device = devices.findIndex((d) => d.backend === 'null');
  if (device < 0) return;
  throw new UsageError('null-devices', `${what}: null devices compute nothing and hold no bytes`, {
    fields: { device, what },
    remedy,
  });
}

/** A device that computes would wait for values that a null device never has. */
export function refuseMixedDevices(devices: Devices): void {
  const nothing = devices.findIndex((d) => d.backend === 'null');
  const computes = devices.findIndex((d) => d.backend !== 'null');
  if (nothing < 0 || computes < 0) return;
  throw new UsageError(
    'null-devices-mixed',
    `device ${nothing} is a null device and device ${computes} computes (${devices[computes]!.backend}): what one has to send, the other cannot use`,
    {
      fields: { device: nothing, computing: computes },
      remedy: 'make all of them null devices, or none: --backend null',
    },
  );
}
