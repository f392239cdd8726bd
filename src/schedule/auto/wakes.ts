/** Times are kept in a heap of (time, device): a device looks for work when it is free and when something arrives. */
export class Wakes {
  #times: number[] = [];
  #devices: number[] = [];

  get size(): number {
    return this.#times.length;
  }

  push(time: number, device: number): void {
    const [times, devices] = [this.#times, this.#devices];
    let i = times.length;
    times.push(time);
    devices.push(device);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.#before(time, device, up)) break;
      times[i] = times[up]!;
      devices[i] = devices[up]!;
      i = up;
    }
    times[i] = time;
    devices[i] = device;
  }

  /** The earliest; ties go to the lower device, so that a run is reproducible. */
  pop(): { time: number; device: number } {
    const [times, devices] = [this.#times, this.#devices];
    const top = { time: times[0]!, device: devices[0]! };
    const [time, device] = [times.pop()!, devices.pop()!];
    const n = times.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && this.#before(times[child + 1]!, devices[child + 1]!, child)) child++;
        if (this.#before(time, device, child)) break;
        times[i] = times[child]!;
        devices[i] = devices[child]!;
        i = child;
      }
      times[i] = time;
      devices[i] = device;
    }
    return top;
  }

  #before(time: number, device: number, other: number): boolean {
    const t = this.#times[other]!;
    return time < t || (time === t && device < this.#devices[other]!);
  }
}
