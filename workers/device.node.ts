// What a device's worker thread runs: a Piscina task that lasts as long as the device. It only ties the device core to
// this thread's port, memory and kernels.
import { availableParallelism } from 'node:os';
import type { MessagePort } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { createBackend } from '../src/backends/create-backend.ts';
import { SharedMemoryChannel } from '../src/runtime/channel.ts';
import { Control } from '../src/runtime/control.ts';
import { CoreWatch } from '../src/runtime/core-watch.ts';
import { Device, StepForgone } from '../src/runtime/device.ts';
import type { StepReport } from '../src/runtime/device-image.ts';
import { nodeEndpoint } from '../src/runtime/node-endpoint.ts';
import '../src/runtime/remote-errors.ts';
import { type DeviceApi, type DeviceStart, STEP_ENDED, WIRE_VERSION } from '../src/runtime/wire.ts';

/** Waits for word of the device that it is, and lasts as long. */
export default function runDevice(port: MessagePort): Promise<number> {
  return new Promise((finished, failed) => {
    port.once('message', (start: DeviceStart) => {
      try {
        const end = () => {
          port.close();
          finished(start.device);
        };
        answerCalls(port, start, end);
      } catch (error) {
        failed(error);
      }
    });
  });
}

function makeDevice(start: DeviceStart, control: Control): Device {
  if (start.version !== WIRE_VERSION)
    throw new Error(`device speaks wire version ${WIRE_VERSION}, coordinator ${start.version}`);
  const memory = start.memories[start.device]!;
  return new Device({
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
}

/**
 * Plays steps and answers calls. Between two steps the thread sleeps on the device's bell: a futex wakes it sooner, and all
 * devices closer together, than messages do. Mail wakes it too, and then its event loop has a turn.
 */
function answerCalls(port: MessagePort, start: DeviceStart, end: () => void): void {
  const at = start.device;
  const control = new Control(start.control, start.devices, availableParallelism());
  const device = makeDevice(start, control);
  const cores = new CoreWatch(start.hostAccount);
  let [played, read] = [0, 0];
  /** The thread sleeps or plays, or is about to. */
  let isServing = false;
  let isOver = false;
  /** Of the latest two orders, where there is more to say than the control block holds. */
  const kept: ({ report: StepReport } | { error: unknown } | undefined)[] = [undefined, undefined];

  const sleep = async (): Promise<void> => {
    while (!isOver && control.waitForWork(at, played, read)) {
      if (control.orders === played) {
        isServing = false; // mail: whoever answers it comes back
        return;
      }
      played = (played + 1) | 0;
      await play(played);
    }
    if (!isOver) setImmediate(sleep);
  };
  const serve = () => {
    if (isServing || isOver) return;
    isServing = true;
    setImmediate(sleep);
  };
  const play = async (order: number): Promise<void> => {
    const { program, isAhead, ...options } = control.orderAt(order);
    const ahead = isAhead ? order : undefined;
    let isLast: boolean;
    kept[order & 1] = undefined;
    control.lookOn(cores.isFree() ? start.lookSeconds : null);
    try {
      const report = await device.step({ ...options, ahead, program: device.programs[program]! });
      if (report.audit) kept[order & 1] = { report };
      isLast = control.end(at, order, report.audit ? 'detailed' : 'plain', report.seconds, report.busySeconds);
    } catch (error) {
      if (error instanceof StepForgone) isLast = control.end(at, order, 'plain');
      else {
        kept[order & 1] = { error };
        // The next order may be here already, and nobody may wait in it for who has failed. Of a step that nobody has asked for
        // yet the host hears when it asks: others may still be at the one before. Behind its end nothing more is said of an
        // order: the host has gone on.
        if (!isAhead || control.isDecided(order)) control.abort(at);
        control.end(at, order, 'detailed');
        isLast = true;
      }
    }
    if (isLast) port.postMessage(STEP_ENDED);
  };
  const call = <A extends unknown[], R>(reply: (...args: A) => R) => {
    return (...args: A): R => {
      read = (read + 1) | 0;
      serve(); // behind the answer
      return reply(...args);
    };
  };

  const api: DeviceApi = {
    load: call((name, image, times) => device.load(name, image, times)),
    attachStaging: call((feeds, results) => device.attachStaging(feeds, results)),
    takeReport: call((order) => {
      const said = kept[order & 1];
      if (!said) throw new Error('no report is kept');
      if ('error' in said) throw said.error;
      return said.report;
    }),
    measurePeak: call(() => device.measurePeak()),
    shutdown: call(() => {
      isOver = true;
      cores.close();
      setImmediate(end); // behind the answer
    }),
  };
  Comlink.expose(api, nodeEndpoint(port));
}
