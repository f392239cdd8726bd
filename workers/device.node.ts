// What a device's worker thread runs: a Piscina task that lasts as long as the device. It only ties the device core to
// this thread's port, memory and kernels.
import * as Comlink from 'comlink';
import { createBackend } from '../src/backends/create-backend.ts';
import { SharedMemoryChannel } from '../src/runtime/channel.ts';
import { Control } from '../src/runtime/control.ts';
import { Device } from '../src/runtime/device.ts';
import { nodeEndpoint } from '../src/runtime/node-endpoint.ts';
import '../src/runtime/remote-errors.ts';
import { type DeviceApi, type DeviceStart, WIRE_VERSION } from '../src/runtime/wire.ts';

export default function runDevice(start: DeviceStart): Promise<number> {
  if (start.version !== WIRE_VERSION)
    throw new Error(`device speaks wire version ${WIRE_VERSION}, coordinator ${start.version}`);
  const memory = start.memories[start.device]!;
  const control = new Control(start.control, start.devices);
  const device = new Device({
    device: start.device,
    memory,
    control,
    channel: new SharedMemoryChannel(control, start.device, start.memories),
    backend: createBackend(start.backend, { kernels: start.kernels, memory, blas: start.blas }),
    poison: start.poison,
    audit: start.audit,
    faults: start.faults,
    // The process's monotonic clock: each thread's performance.timeOrigin is off by tens of microseconds.
    now: () => Number(process.hrtime.bigint()) / 1e6,
    exit: () => process.exit(9),
  });
  return new Promise((finished) => {
    const api: DeviceApi = {
      load: (name, image) => device.load(name, image),
      attachStaging: (feeds, results) => device.attachStaging(feeds, results),
      step: (options) => device.step(options),
      measurePeak: () => device.measurePeak(),
      shutdown: () => {
        // Answer first, then end the task and with it the thread.
        setImmediate(() => {
          start.port.close();
          finished(start.device);
        });
      },
    };
    Comlink.expose(api, nodeEndpoint(start.port));
  });
}
