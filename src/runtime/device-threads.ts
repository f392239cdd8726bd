import { totalmem } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { kernelsModule } from '../backends/kernels-module.ts';
import { DeviceError } from '../core/errors.ts';
import { formatBytes } from '../core/format.ts';
import { packageRoot } from '../core/package-root.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';

/** A thread that waits on its port for word of the device it is to be (`DeviceStart`). */
export interface DeviceThread {
  readonly pool: Piscina;
  readonly port: MessagePort;
  /** Settles when the thread has ended. */
  readonly task: Promise<unknown>;
  /** Called, once or more, when the thread ends without being asked; at once where it has. */
  onLost(lost: (why: string, cause?: Error) => void): void;
}

/** One Piscina of one thread, and the coordinator's end of its control channel. */
export function startThread(heapMegabytes = DEFAULT_HEAP_MEGABYTES): DeviceThread {
  const pool = new Piscina({
    filename: pathToFileURL(join(packageRoot(), 'dist', 'workers', 'thread.node.cjs')).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    atomics: 'disabled',
    recordTiming: false,
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
  });
  const { port1, port2 } = new MessageChannel();
  const task = pool.run(port2, { transferList: [port2] });
  const losses: (readonly [why: string, cause?: Error])[] = [];
  let tell: ((why: string, cause?: Error) => void) | undefined;
  const lost = (why: string, cause?: Error) => {
    losses.push([why, cause]);
    tell?.(why, cause);
  };
  const failed = (error: Error & { code?: string }) => lost(reasonOf(error), error);
  // A thread that cannot even load its code dies before it takes the task, which would wait for ever.
  pool.on('error', failed);
  task.then(() => lost('its thread ended'), failed);
  // The thread's own end says more, and follows within milliseconds.
  port1.on('close', () => setTimeout(() => lost('its control channel closed'), 100).unref());
  return {
    pool,
    port: port1,
    task,
    onLost: (listener) => {
      tell = listener;
      for (const loss of losses) listener(...loss);
    },
  };
}

export const DEFAULT_HEAP_MEGABYTES = 512;

const reasonOf = (error: Error & { code?: string }): string =>
  error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'its thread ran out of JavaScript heap' : error.message;

/** Resident memory of a thread before it holds a tensor (docs/steps.md). */
export const THREAD_BYTES = 20 * 1024 ** 2;

/** Ahead of their plan at most so many threads are started. */
const MOST_AHEAD = 16;

/** More threads than the machine has memory for end the process rather than the session. */
export function refuseTooManyThreads(devices: number, memoryBytes = totalmem()): void {
  const most = Math.floor(memoryBytes / THREAD_BYTES);
  if (devices <= most) return;
  const each = formatBytes(THREAD_BYTES);
  throw new DeviceError(
    'too-many-devices',
    `${devices} devices are a thread each, of ${each} at least: ${formatBytes(devices * THREAD_BYTES)}, and this machine has ${formatBytes(memoryBytes)}`,
    {
      fields: { devices, most, memoryBytes },
      remedy: `--devices ${most} at most, or --backend null to play their steps`,
    },
  );
}

/**
 * Threads ahead of their plan: a thread and the kernels take about as long to come up as a small plan does to be made, and do so
 * beside it. A session takes what it needs (`threads`); the rest end with this.
 */
export class DeviceThreads implements AsyncDisposable {
  readonly #waiting: DeviceThread[] = [];

  start(count: number, simd: SimdVariant = 'strict'): void {
    // Whoever waits for the kernels hears of a failure.
    void kernelsModule(simd).catch(() => {});
    for (let i = 0; i < Math.min(count, MOST_AHEAD); i++) this.#waiting.push(startThread());
  }

  take(): DeviceThread | undefined {
    return this.#waiting.shift();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#waiting.splice(0).map(async ({ pool, port, task }) => {
        port.close();
        await pool.destroy().catch(() => {});
        await task.catch(() => {});
      }),
    );
  }
}
