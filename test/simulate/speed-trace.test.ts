import { describe, expect, it } from 'vitest';
import { SpeedTrace, simulate } from '../../src/simulate/index.ts';
import { clusterOf, compute, post, programOf, receive, send } from './support.ts';

describe('a trace of speeds', () => {
  const seconds = [0.5, 0.25, 1, 0.125];
  const speeds = [1, 0.5, 2, 0.25];

  it('ends work where the integral of the speed has done it, and begins again at its end', () => {
    const trace = new SpeedTrace(seconds, speeds);
    const lap = seconds.reduce((a, b) => a + b, 0);
    expect(trace.seconds).toBe(lap);
    /** Speed at a time, by definition. */
    const speedAt = (time: number) => {
      let at = time % lap;
      for (let i = 0; i < seconds.length; i++) {
        if (at < seconds[i]!) return speeds[i]!;
        at -= seconds[i]!;
      }
      return speeds[0]!;
    };
    for (const begin of [0, 0.3, 0.6, 1.8, 4.4]) {
      for (const work of [0.05, 0.4, 3.7]) {
        let [time, done] = [begin, 0];
        const dt = 1e-4;
        for (; done < work; time += dt) done += speedAt(time + dt / 2) * dt;
        expect(Math.abs(trace.end(begin, work) - time)).toBeLessThan(1e-3);
      }
      expect(trace.end(begin, 0)).toBe(begin);
    }
  });

  it('slows down what a device computes and sends, from the moment at which the step begins', () => {
    const program = programOf([compute(1), send(1, 0, 10)], [post(0, 0), receive(0, 0), compute(1)]);
    const play = (begin: number) =>
      simulate(program, clusterOf(2), {
        speeds: [new SpeedTrace([2, 2], [0.5, 1]), new SpeedTrace([1], [0.25])],
        begin,
      });
    // Computing and a copy of one second each at half speed for two seconds; then latency .5, and a second at a quarter.
    const slow = play(0);
    expect(slow.devices[0]).toMatchObject({ computeSeconds: 2, sendSeconds: 1, contentionSeconds: 0 });
    expect(slow.devices[1]!.computeSeconds).toBe(4);
    expect(slow.stepSeconds).toBe(3 + 0.5 + 4);
    expect(play(2).devices[0]).toMatchObject({ computeSeconds: 1, sendSeconds: 1 });
    expect(play(3).devices[0]).toMatchObject({ computeSeconds: 1, sendSeconds: 2 });
    expect(play(3).stepSeconds).toBe(3 + 0.5 + 4);
    // What a send takes of its own is slowed down too, and its transfer begins behind that.
    const own = programOf([send(1, 0, 10, 1)], [post(0, 0), receive(0, 0)]);
    const { devices } = simulate(own, clusterOf(2), { speeds: [new SpeedTrace([2, 2], [0.5, 1])] });
    expect(devices[0]).toMatchObject({ otherSeconds: 2, sendSeconds: 1 });
  });

  it('refuses what is none', () => {
    for (const [s, v] of [
      [[], []],
      [[1], [1, 2]],
      [
        [1, 0],
        [1, 1],
      ],
      [[1], [0]],
      [[1], [Number.NaN]],
      [[1], [Number.POSITIVE_INFINITY]],
    ] as const) {
      expect(() => new SpeedTrace(s, v)).toThrow(expect.objectContaining({ code: 'speed-trace-invalid' }));
    }
  });
});
