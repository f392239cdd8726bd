import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Control } from '../../src/runtime/control.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Devices in these states, looked after with instructions predicted to take `seconds`. */
function watched(states: readonly Parameters<Control['setState']>[1][], seconds = 0) {
  const control = Control.create(states.length);
  states.forEach((state, d) => void control.setState(d, state, state === 'waiting' ? (d + 1) % states.length : -1));
  const stuck = vi.fn();
  const actions = { describe: (d: number) => `work of ${d}`, microbatch: (d: number) => d + 5, stuck };
  const watchdog = new Watchdog(control, states.length, (device, at) => seconds * (device + at), 10, actions);
  /** Devices that counted as stuck within so many milliseconds. */
  const after = (milliseconds: number) => {
    vi.advanceTimersByTime(milliseconds);
    return stuck.mock.calls.map(([device]) => device as number | null);
  };
  return { control, watchdog, stuck, after };
}

describe('the watchdog', () => {
  it('gives every instruction two seconds, and more where more is predicted of it', () => {
    const short = watched(['idle', 'running'], 0.01);
    expect(short.after(1950)).toEqual([]);
    expect(short.after(300)[0]).toBe(1);
    const error = short.stuck.mock.calls[0]![1];
    expect(error).toMatchObject({ code: 'device-stuck', fields: { device: 1, instruction: 0, microbatch: 6 } });
    expect(error.fields.limitSeconds).toBe(2);
    expect(error.fields.seconds).toBeGreaterThan(2);
    expect(error.message).toMatch(
      /^device 1 is stuck at instruction 0, work of 1: no progress for 2\.\d s \(limit 2\.0 s\)$/,
    );
    short.watchdog.stop();
    // By the device's own position: 10 · 0.1 · (1 + 3) s.
    const long = watched(['idle', 'running'], 0.1);
    long.control.setPosition(1, 3);
    expect(long.after(3950)).toEqual([]);
    expect(long.after(300)[0]).toBe(1);
    expect(long.stuck.mock.calls[0]![1].fields.limitSeconds).toBeCloseTo(4, 9);
    long.watchdog.stop();
  });

  it('begins anew with every instruction, and looks at nobody that is idle', () => {
    const { control, after, watchdog } = watched(['running', 'idle']);
    for (let at = 1; at < 5; at++) {
      expect(after(1500)).toEqual([]);
      control.setPosition(0, at);
    }
    control.setState(0, 'idle');
    expect(after(20_000)).toEqual([]);
    control.setState(0, 'running'); // its time begins here
    expect(after(1900)).toEqual([]);
    expect(after(300)[0]).toBe(0);
    watchdog.stop();
  });

  it('lets devices wait as long as one of them works', () => {
    const { control, after, watchdog } = watched(['waiting', 'running'], 1);
    control.setPosition(1, 9);
    expect(after(20_000)).toEqual([]);
    control.setPosition(1, 10);
    control.setState(1, 'waiting', 0);
    expect(after(1900)).toEqual([]); // it has only just come to where it waits
    expect(after(300)[0]).toBeNull();
    watchdog.stop();
  });

  it('gives one that was never seen at work ten seconds to begin', () => {
    const { control, after, watchdog } = watched(['waiting', 'idle']);
    expect(after(9900)).toEqual([]);
    expect(after(300)[0]).toBeNull();
    watchdog.stop();
    // It has been, and is idle again: two.
    const other = watched(['waiting', 'running']);
    other.after(150);
    other.control.setState(1, 'idle');
    expect(other.after(1700)).toEqual([]);
    expect(other.after(400)[0]).toBeNull();
    other.watchdog.stop();
    expect(control.state(1)).toBe('idle');
  });

  it('says nothing once it is stopped, nor where all are idle', () => {
    const stopped = watched(['running']);
    stopped.watchdog.stop();
    expect(stopped.after(60_000)).toEqual([]);
    const idle = watched(['idle', 'idle']);
    expect(idle.after(60_000)).toEqual([]);
    idle.watchdog.stop();
  });
});
