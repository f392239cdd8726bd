import { afterEach, describe, expect, it, vi } from 'vitest';
import { defaultLink, LOOK_SECONDS } from '../../src/cost/analytic.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import { fitSends, fitWakes, linkModel, measureLink, messagesOf } from '../../src/profile/link.ts';
import { Session } from '../../src/train/session.ts';

/** Seconds for which others held up a step under way. */
let delaySeconds = 0;
vi.mock('../../src/profile/run-delay.ts', async (original) => ({
  ...(await original<object>()),
  watchRunDelay: () => () => delaySeconds,
}));

const plan = makePlan({
  model: linkModel,
  programs: { forward: { batch: 1, mode: 'forward', outputs: true } },
  microbatches: 1,
  devices: [0, 1].map(() => ({ backend: 'wasm', memory: null, speed: 1 }) as const),
  partition: { stages: { 'first*': 0, '*': 1 } },
});

type DeviceProgram = Plan['programs'][string]['devices'][number];

interface Message {
  readonly bytes: number;
  readonly at: number;
}

/** Recorded times of a step, from each message's seconds: the receiver's wait before it, its sending, and its waking. */
function timesOf({ programs }: Plan, of: (message: Message) => { waited: number; sent: number; woke: number }) {
  const [sender, receiver] = [0, 1].map((device) => programs.forward!.devices[device]!) as [
    DeviceProgram,
    DeviceProgram,
  ];
  const times = [sender, receiver].map(({ instructions }) => new Float64Array(2 * instructions.length));
  let at = 0;
  sender.instructions.forEach((send, from) => {
    if (send.kind !== 'send') return;
    const to = receiver.instructions.findIndex((r) => r.kind === 'receive' && r.message === send.message);
    const { waited, sent, woke } = of({ bytes: sender.buffers[send.buffer]!.bytes, at });
    const begin = 1000 * ++at; // milliseconds
    times[0]!.set([begin, begin + 1000 * sent], 2 * from);
    times[1]!.set([begin - 1000 * waited, begin + 1000 * (sent + woke)], 2 * to);
  });
  return times;
}

afterEach(() => {
  vi.restoreAllMocks();
  delaySeconds = 0;
});

describe('a message', () => {
  it('counts where its receiver has waited for so long before it was sent, however long it takes', () => {
    const asleep = 2 * LOOK_SECONDS;
    const times = timesOf(plan, ({ at }) => ({ waited: at === 3 ? asleep : 0, sent: asleep, woke: 2e-6 }));
    const found = messagesOf(plan, { times });
    expect(found).toHaveLength(1);
    expect(found[0]!.seconds).toBeCloseTo(asleep, 9);
    expect(found[0]!.wakeSeconds).toBeCloseTo(2e-6, 9);
  });
});

describe('what messages take', () => {
  const sizes = [4e6, 16, 1e6, 1e5];
  const exact = (bytes: number) => 3e-6 + bytes / 5e9;

  it('is that of the undisturbed among many, in any order', () => {
    // Four of ten are held up.
    const sends = sizes.flatMap((bytes) =>
      Array.from({ length: 10 }, (_, i) => ({ bytes, seconds: (i % 5 < 3 ? 1 : 1 + i) * exact(bytes) })),
    );
    const { bytesPerSecond, secondsSend } = fitSends(sends, 0.1)!;
    expect(bytesPerSecond / 5e9).toBeCloseTo(1, 9);
    expect(secondsSend * 1e6).toBeCloseTo(3, 6);
    const upper = fitSends(sends, 1)!;
    expect(upper.bytesPerSecond / 5e9).toBeCloseTo(1 / 10, 9);
  });

  it('has the rate of most sizes, and never a start below zero', () => {
    const held = sizes.map((bytes) => ({ bytes, seconds: exact(bytes) * (bytes === 4e6 ? 3 : 1) }));
    expect(fitSends(held)!.bytesPerSecond / 5e9).toBeCloseTo(1, 9);
    const early = [
      { bytes: 1000, seconds: 1e-7 },
      { bytes: 2000, seconds: 3e-7 },
    ];
    expect(fitSends(early)!.secondsSend).toBe(0);
  });

  it('to wake is that of the quick among those that woke behind the sending, where they are most', () => {
    const wakes = (...seconds: number[]) => seconds.map((wakeSeconds) => ({ wakeSeconds }));
    expect(fitWakes(wakes(0, 0, 4e-6, 4e-6))).toBeUndefined();
    const many = wakes(...Array.from({ length: 11 }, (_, i) => (1 + i) * 1e-6));
    expect(fitWakes(many, 0.1)!.secondsLatency * 1e6).toBeCloseTo(2, 9);
    expect(fitWakes(many, 0.5)!.secondsLatency * 1e6).toBeCloseTo(6, 9);
  });
});

describe('a measurement of the link', () => {
  /** Steps of given times, and how many have run. */
  function fakeSession(of: (step: number, message: Message) => { sent: number; woke: number }): number[] {
    const steps: number[] = [];
    const session = {
      run: async (_: string, __: object, { step, profile }: { step: number; profile: boolean }) => {
        expect(profile).toBe(true);
        steps.push(step);
        const times = timesOf(plan, (message) => ({ waited: 10 * LOOK_SECONDS, ...of(step, message) }));
        return { seconds: 1000, reports: times.map((t) => ({ times: t })) };
      },
      [Symbol.asyncDispose]: async () => {},
    };
    vi.spyOn(Session, 'open').mockResolvedValue(session as unknown as Session);
    return steps;
  }
  const options = { steps: 2, quantile: 0.1, copyBytesPerSecond: 7e9, signal: undefined };
  const exact = ({ bytes }: Message) => ({ sent: 3e-6 + bytes / 5e9, woke: 2e-5 });
  const expectExact = (link: Awaited<ReturnType<typeof measureLink>>) => {
    expect(link.bytesPerSecond / 5e9).toBeCloseTo(1, 6);
    expect(link.secondsSend * 1e6).toBeCloseTo(3, 4);
    expect(link.secondsLatency * 1e6).toBeCloseTo(20, 4);
  };
  const count = (n: number) => Array.from({ length: n }, (_, i) => i);

  it('leaves five steps out that begin it, and ends with the first turn that shows a link', async () => {
    const steps = fakeSession((step, message) =>
      step < 5 ? { sent: 1e-9 * message.bytes, woke: 1e-9 } : exact(message),
    );
    expectExact(await measureLink(plan, options));
    expect(steps).toEqual(count(5 + 2));
  });

  it('leaves out steps that others held up', async () => {
    fakeSession((step, message) => {
      const isHeldUp = step % 3 === 0;
      delaySeconds = isHeldUp ? 500 : 0;
      return isHeldUp ? { sent: 1e-9 + 1e-11 * message.bytes, woke: 1e-9 } : exact(message);
    });
    expectExact(await measureLink(plan, { ...options, steps: 12 }));
  });

  it.each<[string, number, (message: Message) => { sent: number; woke: number }]>([
    ['sending', 2, () => ({ sent: 1, woke: 2e-5 })],
    // Messages of all turns count, and half of them are not most.
    ['waking', 3, (message) => ({ ...exact(message), woke: -1e-6 })],
  ])('takes more turns where the first shows nothing of %s', async (_, turns, nothing) => {
    const steps = fakeSession((step, message) => (step < 7 ? nothing(message) : exact(message)));
    expectExact(await measureLink(plan, options));
    expect(steps).toEqual(count(turns * 7));
  });

  it('goes by copies and the usual latency where three turns show none', async () => {
    const steps = fakeSession(() => ({ sent: 1, woke: -1e-6 }));
    expect(await measureLink(plan, options)).toEqual({
      bytesPerSecond: 7e9,
      secondsSend: 0,
      secondsLatency: defaultLink.secondsLatency,
    });
    expect(steps).toEqual(count(3 * 7));
  });
});
