import { afterEach, describe, expect, it, vi } from 'vitest';
import { SharedMemoryChannel } from '../../src/runtime/channel.ts';
import { Control, StepAborted } from '../../src/runtime/control.ts';

/** Three devices in this thread; a wait that would block is noted, and does not. */
function devices() {
  const control = Control.create(3);
  const memories = [0, 1, 2].map(() => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
  const channels = memories.map((_, device) => new SharedMemoryChannel(control, device, memories));
  const wait = vi.spyOn(control, 'waitUntil').mockImplementation(() => {});
  return { control, channels, wait, bytes: memories.map((m) => new Uint8Array(m.buffer)) };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a channel on shared memory', () => {
  it('copies a message to its place in the receiver, and counts it', () => {
    const { control, channels, wait, bytes } = devices();
    for (const channel of channels) channel.startStep();
    const [send, post, receive] = [
      channels[0]!.send(2, 0, 64, 128, 4),
      channels[2]!.post(0),
      channels[2]!.receive(0, 0),
    ];
    bytes[0]!.set([9, 1, 2, 3, 4, 9], 63);
    post();
    send();
    receive();
    expect([...bytes[2]!.subarray(127, 133)]).toEqual([0, 1, 2, 3, 4, 0]);
    expect(bytes[1]!.every((b) => b === 0)).toBe(true);
    expect([control.posted(0, 2), control.sent(0, 2)]).toEqual([1, 1]);
    expect(wait).not.toHaveBeenCalled();
    // What is bound runs in every step.
    for (const channel of channels) channel.startStep();
    bytes[0]!.set([5, 6, 7, 8], 64);
    post();
    send();
    receive();
    expect([...bytes[2]!.subarray(128, 132)]).toEqual([5, 6, 7, 8]);
    expect(wait).not.toHaveBeenCalled();
  });

  it('waits for the post and for the sending of a message’s own number, which begin at 0 each step', () => {
    const { control, channels, wait } = devices();
    const send = [0, 1].map((message) => channels[0]!.send(2, message, 0, 0, 4));
    const receive = [0, 1].map((message) => channels[2]!.receive(0, message));
    const [posted, sent] = [control.postedWord(0, 2), control.sentWord(0, 2)];
    for (const before of [0, 3, 2 ** 31 - 1]) {
      control.words.fill(before, posted, posted + 1).fill(before, sent, sent + 1);
      // The other direction counts by itself.
      control.words.fill(77, control.postedWord(2, 0), control.postedWord(2, 0) + 1);
      control.words.fill(77, control.sentWord(2, 0), control.sentWord(2, 0) + 1);
      for (const channel of channels) channel.startStep();
      wait.mockClear();
      for (const exchange of [...receive, ...send]) exchange();
      const [first, second] = [(before + 1) | 0, (before + 2) | 0];
      expect(wait.mock.calls).toEqual([
        [2, 0, sent, first],
        [2, 0, sent, second],
        [0, 2, posted, first],
        [0, 2, posted, second],
      ]);
    }
  });

  it('has a barrier that waits for every other device to come as often', () => {
    const { control, channels, wait } = devices();
    const barriers = channels.map((channel) => channel.barrier());
    const passes = (device: number) => {
      wait.mockClear();
      barriers[device]!();
      return [...wait.mock.calls];
    };
    const waitsFor = (device: number, peers: number[], times: number) =>
      peers.map((peer) => [device, peer, control.arrivedWord(peer), times]);
    expect(passes(1)).toEqual(waitsFor(1, [0, 2], 1));
    expect(passes(2)).toEqual(waitsFor(2, [0], 1));
    expect(passes(0)).toEqual([]);
    expect([0, 1, 2].map((device) => control.arrived(device))).toEqual([1, 1, 1]);
    // One that comes again waits for those that have come once.
    expect(passes(0)).toEqual(waitsFor(0, [1, 2], 2));
  });

  it('tells what was waited since the step began, and nothing where nobody had to', () => {
    const { control, channels, wait } = devices();
    let now = 1000;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    wait.mockImplementation(() => {
      now += 250;
    });
    const channel = channels[0]!;
    channel.startStep();
    expect(channel.waitedSeconds).toBe(0);
    channel.receive(1, 0)();
    channel.receive(2, 0)();
    expect(channel.waitedSeconds).toBe(0.5);
    control.countSent(1, 0);
    channel.receive(1, 0)();
    expect(channel.waitedSeconds).toBe(0.5);
    channel.startStep();
    expect(channel.waitedSeconds).toBe(0);
  });

  it('stops waiting where the step is aborted, with nothing sent', () => {
    const { control, channels, wait, bytes } = devices();
    wait.mockRestore();
    control.abort(2);
    bytes[0]!.fill(1);
    expect(channels[0]!.send(1, 0, 0, 0, 4)).toThrow(new StepAborted(2));
    expect(channels[0]!.receive(1, 0)).toThrow(new StepAborted(2));
    expect(channels[0]!.barrier()).toThrow(new StepAborted(2));
    expect([bytes[1]![0], control.sent(0, 1)]).toEqual([0, 0]);
  });
});
