import { UsageError } from '../core/errors.ts';

/**
 * The speed of a device over time, piecewise constant, again from the beginning when it ends: a core whose clock changes or
 * whose neighbours come and go. Speed 1 is that of the cost model.
 */
export class SpeedTrace {
  /** Seconds at which pieces begin, from 0, and behind them the end. */
  readonly #times: Float64Array;
  /** Work done until then: the integral of the speed, seconds of the cost model. */
  readonly #work: Float64Array;

  /**
   * `seconds[i]` at `speeds[i]`, one behind another.
   *
   * @throws UsageError where they are not as many, none, or not positive.
   */
  constructor(seconds: ArrayLike<number>, speeds: ArrayLike<number>) {
    const { length } = seconds;
    this.#times = new Float64Array(length + 1);
    this.#work = new Float64Array(length + 1);
    let isSound = length > 0 && speeds.length === length;
    for (let i = 0; i < length; i++) {
      this.#times[i + 1] = this.#times[i]! + seconds[i]!;
      this.#work[i + 1] = this.#work[i]! + seconds[i]! * speeds[i]!;
      isSound &&= seconds[i]! > 0 && speeds[i]! > 0;
    }
    if (!isSound || !Number.isFinite(this.#times[length]! + this.#work[length]!)) {
      throw new UsageError(
        'speed-trace-invalid',
        'a trace of speeds has a piece or more, each of positive length and speed',
        {
          fields: { seconds: length, speeds: speeds.length },
          remedy: 'give as many speeds as seconds, all above 0',
        },
      );
    }
  }

  /** Its length, seconds. */
  get seconds(): number {
    return this.#times.at(-1)!;
  }

  /** When work of so many seconds at speed 1 ends that begins at a time from 0. */
  end(begin: number, work: number): number {
    if (work === 0) return begin;
    return this.#timeAt(this.#workAt(begin) + work);
  }

  #workAt(time: number): number {
    return along(time, this.#times, this.#work);
  }

  #timeAt(work: number): number {
    return along(work, this.#work, this.#times);
  }
}

/** y at x of the line through points (xs, ys) that goes on with copies of itself. */
function along(x: number, xs: Float64Array, ys: Float64Array): number {
  const last = xs.length - 1;
  const laps = Math.floor(x / xs[last]!);
  const rest = x - laps * xs[last]!;
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle]! <= rest) low = middle;
    else high = middle;
  }
  const share = (rest - xs[low]!) / (xs[high]! - xs[low]!);
  return laps * ys[last]! + ys[low]! + share * (ys[high]! - ys[low]!);
}
