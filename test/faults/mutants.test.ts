import { describe, expect, it, vi } from 'vitest';
import { Audit } from '../../src/runtime/audit.ts';
import { Control } from '../../src/runtime/control.ts';
import type { DeviceImage } from '../../src/runtime/device-image.ts';
import { fillWords, poisonWord } from '../../src/runtime/poison.ts';
import { Watchdog } from '../../src/runtime/watchdog.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, threeLayers } from '../support/models.ts';

const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };
const plan = planOf(threeLayers, { devices: 3, microbatches: 4, partition: { cuts: ['matmul_1', 'matmul_2'] } });

it.each(['local', 'threads'] as const)(
  '%s: no update runs while a device still has gradients to compute',
  async (transport) => {
    const { devices } = plan.programs.train!;
    const lastBackward = devices[0]!.instructions.findLastIndex((i) => i.kind === 'compute' && i.task.includes('B'));
    const firstUpdate = devices[2]!.instructions.findIndex((i) => i.kind === 'compute' && i.op === 'sgdUpdate');
    // Both devices would fail; device 2, which has all its gradients long before, must not get as far.
    const faults = {
      0: [
        { kind: 'delay', step: 0, instruction: lastBackward - 1, seconds: 0.3 },
        { kind: 'throw', step: 0, instruction: lastBackward },
      ],
      2: [{ kind: 'throw', step: 0, instruction: firstUpdate }],
    } as const;
    await using session = await Session.open(plan, { transport, faults });
    await expect(session.run('train', batch)).rejects.toMatchObject({
      fields: { device: 0, instruction: lastBackward },
    });
  },
);

describe('audit of one instruction', () => {
  const poison = poisonWord('standard');
  const buffer = (id: number) => ({
    id,
    name: `b${id}`,
    type: { dtype: 'f32', shape: [4] } as const,
    bytes: 16,
    category: 'temporaries' as const,
    persistent: null,
  });
  const image: DeviceImage = {
    program: {
      device: 0,
      buffers: [buffer(0), buffer(1)],
      instructions: [{ kind: 'copy', from: 0, buffer: 1 }],
    },
    offsets: [0, 16],
    peerOffsets: [[0, 16]],
    deaths: [[]],
    feeds: [],
    results: [],
    persistent: [],
  };
  /** Memory whose first buffer holds `read` values and whose second is given `written` ones. */
  const audit = (read: number, written: number) => {
    const floats = new Float32Array(new SharedArrayBuffer(64));
    fillWords(floats.buffer, 0, 64, poison);
    floats.fill(1, 0, read);
    const checker = new Audit(floats.buffer, 0, poison);
    checker.start();
    checker.before(image, 0);
    floats.fill(2, 4, 4 + written);
    checker.after(image, 0);
  };

  it('passes what is whole', () => {
    expect(() => audit(4, 4)).not.toThrow();
  });

  it('finds one word of poison in what is read, and one word left out of what is written', () => {
    expect(() => audit(3, 4)).toThrow(/reads 4 bytes of poison in b0/);
    expect(() => audit(4, 3)).toThrow(/left 4 bytes of b1 unwritten/);
  });
});

it('an abort rings the bell of every device: nobody waits for the backstop', () => {
  const control = Control.create(3);
  const before = control.words.slice();
  control.abort(1);
  const changed = [...control.words.keys()].filter((i) => control.words[i] !== before[i]);
  expect(changed.length).toBe(1 + 3); // the abort itself, and three bells
});

it('a device may take the stated multiple of its predicted time before it counts as stuck', () => {
  vi.useFakeTimers();
  try {
    const control = Control.create(1);
    control.setState(0, 'running');
    control.setPosition(0, 7);
    const stuck = vi.fn();
    const watchdog = new Watchdog(control, 1, () => 0.5, 10, { describe: () => 'it', microbatch: () => null, stuck });
    vi.advanceTimersByTime(4500);
    expect(stuck).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1000);
    expect(stuck).toHaveBeenCalled();
    expect(stuck.mock.calls[0]![1]).toMatchObject({ fields: { device: 0, instruction: 7, limitSeconds: 5 } });
    watchdog.stop();
  } finally {
    vi.useRealTimers();
  }
});

it('the measured peak is found in memory, not in the plan', async () => {
  const faults = { 1: [{ kind: 'wild-write', step: 0, instruction: 0 }] } as const;
  const session = await Session.open(plan, { transport: 'local', audit: false, faults });
  await session.run('train', batch);
  const [measured, planned] = [await session.measuredPeaks(), session.plannedPeaks()];
  expect(measured[0]).toBe(planned[0]);
  expect(measured[1]).toBe(65536); // the last byte of its page
  await session.close().catch(() => {}); // it may refuse the difference
});

it('devices that all wait, with nobody at work, are named with what they wait for', () => {
  vi.useFakeTimers();
  try {
    const control = Control.create(2);
    control.setState(0, 'waiting', 1);
    control.setState(1, 'waiting', 0);
    const stuck = vi.fn();
    const watchdog = new Watchdog(control, 2, () => 0, 10, { describe: (d) => `it ${d}`, microbatch: () => 3, stuck });
    vi.advanceTimersByTime(1900);
    expect(stuck).not.toHaveBeenCalled();
    vi.advanceTimersByTime(400);
    expect(stuck.mock.calls[0]![0]).toBeNull();
    expect(stuck.mock.calls[0]![1]).toMatchObject({
      code: 'devices-waiting',
      fields: {
        waiting: [
          { device: 0, on: 1, microbatch: 3 },
          { device: 1, on: 0, microbatch: 3 },
        ],
      },
    });
    watchdog.stop();
  } finally {
    vi.useRealTimers();
  }
});
