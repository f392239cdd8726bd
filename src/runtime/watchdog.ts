import { DeviceError } from '../core/errors.ts';
import type { Control } from './control.ts';
import type { PredictSeconds } from './device-cluster.ts';

const TICK_MS = 100;
/** The shortest time after which a device that makes no progress counts as stuck. */
export const LEAST_HANG_SECONDS = 2;

/** A device that was never seen at work may only be late to start: a crowded machine gets this long. */
const LATE_START_SECONDS = 10;

export interface WatchdogActions {
  readonly describe: (device: number) => string;
  readonly microbatch: (device: number) => number | null;
  /** `device` null: all wait for each other. */
  readonly stuck: (device: number | null, error: DeviceError) => void;
}

/**
 * Looks at the control block ten times a second while a step runs. A device that computes one instruction for longer than
 * max(2 s, factor × its predicted time) is stuck; where every device waits and none moves for 2 s (10 s while one was
 * never seen at work), the ring of waits is named. Both end the step.
 */
export class Watchdog {
  readonly #timer: NodeJS.Timeout;

  constructor(control: Control, devices: number, predict: PredictSeconds, factor: number, actions: WatchdogActions) {
    const since = new Array<number>(devices).fill(performance.now());
    const last = new Array<string>(devices).fill('');
    const seen = new Array<boolean>(devices).fill(false);
    this.#timer = setInterval(() => {
      const now = performance.now();
      for (let d = 0; d < devices; d++) {
        const progress = control.progress(d);
        seen[d] ||= control.state(d) !== 'idle';
        if (progress !== last[d] || control.state(d) === 'idle') {
          last[d] = progress;
          since[d] = now;
        }
      }
      const states = Array.from({ length: devices }, (_, d) => control.state(d));
      for (let d = 0; d < devices; d++) {
        if (states[d] !== 'running') continue;
        const at = control.position(d);
        const limit = Math.max(LEAST_HANG_SECONDS, factor * predict(d, at));
        const seconds = (now - since[d]!) / 1000;
        if (seconds > limit) {
          actions.stuck(
            d,
            new DeviceError(
              'device-stuck',
              `device ${d} is stuck at instruction ${at}, ${actions.describe(d)}: no progress for ${seconds.toFixed(1)} s (limit ${limit.toFixed(1)} s)`,
              {
                fields: {
                  device: d,
                  instruction: at,
                  microbatch: actions.microbatch(d),
                  seconds,
                  limitSeconds: limit,
                },
                remedy: 'run it again; where the machine is only slow, with a larger hangFactor',
              },
            ),
          );
          return;
        }
      }
      const waiting = states.flatMap((s, d) => (s === 'waiting' ? [d] : []));
      const patience = seen.every(Boolean) ? LEAST_HANG_SECONDS : LATE_START_SECONDS;
      const settled = waiting.every((d) => now - since[d]! > patience * 1000);
      if (waiting.length > 0 && settled && states.every((s) => s !== 'running')) {
        const ring = waiting.map(
          (d) => `device ${d} waits for device ${control.waitingOn(d)} in ${actions.describe(d)}`,
        );
        actions.stuck(
          null,
          new DeviceError('devices-waiting', `no device makes progress: ${ring.join('; ')}`, {
            fields: {
              waiting: waiting.map((d) => ({
                device: d,
                on: control.waitingOn(d),
                instruction: control.position(d),
                microbatch: actions.microbatch(d),
              })),
            },
            remedy: 'run it again; where the machine is only slow, on fewer devices',
          }),
        );
      }
    }, TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
