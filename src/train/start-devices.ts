import { probeBlasAside } from '../backends/blas/probe.ts';
import { kernelsOf } from '../lower/kernel-call.ts';
import { deaths } from '../memory/liveness.ts';
import { hasNullDevices, refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import { type DeviceCluster, refuseLook } from '../runtime/device-cluster.ts';
import type { DeviceImage } from '../runtime/device-image.ts';
import { LocalCluster } from '../runtime/local-cluster.ts';
import { ThreadCluster } from '../runtime/thread-cluster.ts';
import type { SessionOptions } from './session-options.ts';

/** What a session with null devices cannot be asked for. */
export function refuseOfNullDevices({ request }: Plan, { parameters, transport }: SessionOptions): void {
  const { devices, programs } = request;
  const asksGradients = Object.values(programs).some(({ mode }) => mode === 'gradients');
  if (asksGradients) refuseNullDevices(devices, 'there are no gradients to compute');
  if (parameters) refuseNullDevices(devices, 'first values of parameters have no place');
  if (transport === 'threads') {
    refuseNullDevices(devices, "transport: 'threads' has nothing to share out", "leave transport out, or give 'local'");
  }
}

/** Devices that compute nothing take turns in this thread. A library is tried before any device takes it. */
export async function startDevices({ request, memory }: Plan, options: SessionOptions): Promise<DeviceCluster> {
  refuseLook(options.lookSeconds ?? 0);
  if (hasNullDevices(request.devices)) return LocalCluster.startNull(request.devices.length, options);
  const { blas } = request;
  if (blas) await probeBlasAside(blas.file, options.signal);
  const specs = request.devices.map((d, i) => ({
    backend: kernelsOf(d.backend),
    simd: request.simd,
    bytes: memory[i]!.peakBytes,
    capacity: d.memory,
  }));
  return await (options.transport === 'local' ? LocalCluster : ThreadCluster).start(specs, { ...options, blas });
}

/** What each device is given of a program. */
export function imagesOf(plan: Plan, name: string, program: Plan['programs'][string]): DeviceImage[] {
  const offsets = plan.memory.map((m) => m.layouts[name]!.offsets);
  return program.devices.map((device, d) => ({
    program: device,
    offsets: offsets[d]!,
    peerOffsets: offsets,
    deaths: deaths(device, plan.memory[d]!.layouts[name]!.intervals),
    persistent: plan.memory[d]!.persistent,
    feeds: program.feeds,
    results: program.results,
  }));
}
