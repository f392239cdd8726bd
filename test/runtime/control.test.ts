import { afterEach, describe, expect, it, vi } from 'vitest';
import { BRIEF_LOOK_SECONDS } from '../../src/cost/analytic.ts';
import { Control, StepAborted, type StepOrder } from '../../src/runtime/control.ts';

const order = (more: Partial<StepOrder> = {}): StepOrder => ({
  program: 0,
  step: 0,
  profile: false,
  area: 0,
  isAhead: false,
  ...more,
});

/** Devices that would wake up: whose bell the change rings. */
function rung(control: Control, change: () => void): number[] {
  const bells = () => Array.from({ length: control.devices }, (_, d) => control.words[16 + 64 * d]!);
  const before = bells();
  change();
  return bells().flatMap((bell, d) => (bell === before[d] ? [] : [d]));
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the control block', () => {
  it('rings the bell of whoever may wait for a change', () => {
    const control = Control.create(3);
    expect(rung(control, () => control.countSent(0, 2))).toEqual([2]);
    expect(rung(control, () => control.countPosted(0, 2))).toEqual([0]);
    expect(rung(control, () => control.countArrived(1))).toEqual([0, 2]);
    expect(rung(control, () => control.countMail(1))).toEqual([1]);
    expect(rung(control, () => control.give(order()))).toEqual([0, 1, 2]);
    expect(rung(control, () => control.decide(1, true))).toEqual([0, 1, 2]);
    expect(rung(control, () => control.abort(1))).toEqual([0, 1, 2]);
    // Nor what stands behind the last device's words.
    expect([control.sent(0, 0), control.posted(0, 0)]).toEqual([0, 0]);
  });

  it('counts each pair and direction by itself', () => {
    const control = Control.create(3);
    control.countSent(0, 2);
    control.countPosted(2, 1);
    const pairs = [0, 1, 2].flatMap((from) => [0, 1, 2].map((to) => [from, to] as const));
    for (const [from, to] of pairs) {
      expect(control.sent(from, to)).toBe(from === 0 && to === 2 ? 1 : 0);
      expect(control.posted(from, to)).toBe(from === 2 && to === 1 ? 1 : 0);
    }
    expect(control.reached(control.sentWord(0, 2), 1)).toBe(true);
    expect(control.reached(control.postedWord(2, 1), 2)).toBe(false);
  });

  it('keeps the latest two orders apart, and how they ended', () => {
    const control = Control.create(2);
    const [first, second] = [order({ program: 1, step: 7, profile: true }), order({ step: 8, area: 1, isAhead: true })];
    expect([control.give(first), control.give(second), control.orders]).toEqual([1, 2, 2]);
    expect([control.orderAt(1), control.orderAt(2)]).toEqual([first, second]);
    expect(control.end(0, 1, 'plain', 0.5, 0.25)).toBe(false);
    expect(control.end(0, 2, 'detailed', 2, 1)).toBe(false);
    expect(control.end(1, 1, 'plain')).toBe(true);
    expect(control.end(1, 2, 'plain')).toBe(true);
    expect([control.outcome(0, 1), control.outcome(0, 2)]).toEqual(['plain', 'detailed']);
    expect(control.seconds(0, 1)).toEqual({ seconds: 0.5, busySeconds: 0.25 });
    expect(control.seconds(0, 2)).toEqual({ seconds: 2, busySeconds: 1 });
    control.give(order());
    expect([control.outcome(0, 3), control.outcome(0, 2)]).toEqual(['none', 'detailed']);
  });

  it('lets counters wrap', () => {
    const control = Control.create(1);
    const word = control.arrivedWord(0);
    control.words[word] = 2 ** 31 - 1;
    control.countArrived(0);
    expect(control.arrived(0)).toBe(-(2 ** 31));
    expect(control.reached(word, 2 ** 31 - 1)).toBe(true);
    expect(control.reached(word, -(2 ** 31) + 1)).toBe(false);
  });

  it('knows mail that was read before it was counted', () => {
    const control = Control.create(1);
    expect(control.hasMail(0, 1)).toBe(false);
    control.countMail(0);
    expect([control.hasMail(0, 1), control.hasMail(0, 0)]).toEqual([false, true]);
    expect(control.waitForWork(0, 0, 0)).toBe(true);
  });

  it('keeps the first culprit, whom a waiting device throws', () => {
    const control = Control.create(2);
    control.abort(1);
    control.abort(-1);
    expect(() => control.waitUntil(0, 1, control.sentWord(1, 0), 1)).toThrow(new StepAborted(1));
    control.reset();
    control.throwIfAborted();
    control.abort(-1);
    expect(() => control.throwIfAborted()).toThrow(new StepAborted(-1));
  });

  it('begins again behind a step given up, but for orders and mail', () => {
    const control = Control.create(2);
    control.give(order());
    control.countMail(1);
    control.countSent(0, 1);
    control.countPosted(1, 0);
    control.countArrived(1);
    control.abort(0);
    control.reset();
    expect([control.sent(0, 1), control.posted(1, 0), control.arrived(1), control.aborted]).toEqual([0, 0, 0, false]);
    expect([control.orders, control.hasMail(1, 0)]).toEqual([1, true]);
  });

  it('decides for one order ahead: to go on, or not', () => {
    const control = Control.create(1);
    for (const isWanted of [true, false]) {
      const at = control.give(order({ isAhead: true }));
      expect(control.isDecided(at)).toBe(false);
      control.decide(at, isWanted);
      expect(control.waitForDecision(0, at)).toBe(isWanted);
    }
  });
});

describe('a device that waits', () => {
  it('sleeps on a bell read before its condition, can be called, and tells on whom it waits', () => {
    const control = Control.create(2);
    const before = control.progress(0);
    const notify = vi.spyOn(Atomics, 'notify');
    const reached = vi.spyOn(control, 'reached');
    const word = control.sentWord(1, 0);
    const sleep = vi.spyOn(Atomics, 'wait').mockImplementationOnce((_, bell, seen) => {
      expect([control.state(0), control.waitingOn(0)]).toEqual(['waiting', 1]);
      // What changes between the look and the sleep: the bell is another, and the sleep no sleep.
      expect(notify).toHaveBeenCalledTimes(1);
      expect(Atomics.load(control.words, bell)).toBe((seen as unknown as number) + 1);
      control.countSent(1, 0);
      return 'not-equal';
    });
    const look = Control.prototype.reached;
    let isAsleep = false;
    reached.mockImplementation((at, goal) => {
      const result = look.call(control, at, goal);
      if (!isAsleep && control.state(0) === 'waiting') {
        isAsleep = true;
        control.ring(0);
      }
      return result;
    });
    control.waitUntil(0, 1, word, 1);
    expect(sleep).toHaveBeenCalledTimes(1);
    expect(notify).toHaveBeenCalledTimes(2);
    expect(control.state(0)).toBe('running');
    expect(control.progress(0)).not.toBe(before);
    control.ring(0);
    expect(notify).toHaveBeenCalledTimes(2);
  });

  it('is woken for what it sleeps for alone, and when that has come', () => {
    const control = Control.create(3);
    const notify = vi.spyOn(Atomics, 'notify');
    const calls = (change: () => void) => {
      notify.mockClear();
      change();
      return notify.mock.calls.length;
    };
    const sleep = vi.spyOn(Atomics, 'wait');
    const whileAsleep = (look: () => void) =>
      sleep.mockImplementationOnce(() => {
        look();
        return 'ok';
      });
    whileAsleep(() => {
      for (const other of [
        () => control.countSent(2, 0),
        () => control.countSent(1, 2),
        () => control.countPosted(0, 1),
        () => control.countArrived(1),
        () => control.countMail(0),
        () => control.give(order()),
        () => control.decide(1, true),
      ]) {
        expect(calls(other)).toBe(0);
      }
      expect([1, 2].map(() => calls(() => control.countSent(1, 0)))).toEqual([0, 1]);
    });
    control.waitUntil(0, 1, control.sentWord(1, 0), 2);
    whileAsleep(() => expect(calls(() => control.countPosted(0, 1))).toBe(1));
    control.waitUntil(0, 1, control.postedWord(0, 1), 2);
    whileAsleep(() => expect(calls(() => control.countArrived(2))).toBe(1));
    control.waitUntil(0, 2, control.arrivedWord(2), 1);
    whileAsleep(() => expect(calls(() => control.decide(2, true))).toBe(1));
    expect(control.waitForDecision(0, 2)).toBe(true);
    whileAsleep(() => {
      expect(calls(() => control.countSent(1, 0))).toBe(0);
      expect(calls(() => control.countMail(0))).toBe(1);
    });
    expect(control.waitForWork(0, 1, 1)).toBe(true);
    expect(sleep).toHaveBeenCalledTimes(5);
    whileAsleep(() => expect(calls(() => control.abort(2))).toBe(1));
    expect(() => control.waitUntil(0, 1, control.sentWord(1, 0), 9)).toThrow(StepAborted);
  });

  /** The clock moves by 1 µs a look at it; how long, in seconds, a device looks on that waits for what comes while it sleeps. */
  function lookedOn(control: Control, wait: (control: Control) => void, call: (control: Control) => void): number {
    let [now, asleepAt] = [0, Number.NaN];
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 1e-3));
    vi.spyOn(Atomics, 'wait').mockImplementationOnce(() => {
      asleepAt = now;
      call(control);
      return 'ok';
    });
    wait(control);
    return asleepAt / 1000;
  }
  const waitForMessage = (control: Control) => control.waitUntil(0, 1, control.sentWord(1, 0), 1);
  const sendMessage = (control: Control) => control.countSent(1, 0);

  it('looks on for as long as it is told before it sleeps, and briefly where it is told nothing', () => {
    const looks = [undefined, null, 5e-5, 3e-4].map((seconds) => {
      const control = Control.create(2);
      if (seconds !== undefined) control.lookOn(seconds);
      return lookedOn(control, waitForMessage, sendMessage);
    });
    [BRIEF_LOOK_SECONDS, BRIEF_LOOK_SECONDS, 5e-5, 3e-4].forEach((seconds, i) => {
      expect(looks[i]! / seconds).toBeGreaterThanOrEqual(1);
      expect(looks[i]! - seconds).toBeLessThan(3e-6);
    });
  });

  it('does not look at the clock where cores are short, whatever it is told, nor long while the host decides', () => {
    const short = new Control(Control.create(2).buffer, 2, 1);
    short.lookOn(1);
    expect(lookedOn(short, waitForMessage, sendMessage)).toBe(0);
    const control = Control.create(2);
    control.lookOn(1);
    const held = (c: Control) => expect(c.waitForDecision(0, 1)).toBe(true);
    expect(lookedOn(control, held, (c) => c.decide(1, true))).toBeLessThan(2 * BRIEF_LOOK_SECONDS);
  });

  it('looks on for the next order behind a step, once', () => {
    const control = Control.create(2);
    const forOrder = (c: Control) => c.waitForWork(0, 0, 0);
    const none = () => {};
    control.lookOn(3e-4);
    expect(lookedOn(control, forOrder, none)).toBeCloseTo(3e-4, 5);
    expect(lookedOn(control, forOrder, none)).toBe(0);
    control.lookOn(3e-4);
    expect(lookedOn(control, forOrder, none)).toBeCloseTo(3e-4, 5);
    // Not for long: the host may want the core to give it.
    control.lookOn(1);
    expect(lookedOn(control, forOrder, none)).toBeCloseTo(5e-4, 5);
    const short = new Control(Control.create(2).buffer, 2, 1);
    short.lookOn(1);
    expect(lookedOn(short, forOrder, none)).toBe(0);
  });

  it('takes work that comes while it looks on without sleeping', () => {
    for (const come of [(c: Control) => c.give(order()), (c: Control) => c.countMail(0)]) {
      const control = Control.create(2);
      control.lookOn(1);
      let now = 0;
      vi.spyOn(performance, 'now').mockImplementation(() => {
        if (++now === 100) come(control);
        return now / 1000;
      });
      const sleep = vi.spyOn(Atomics, 'wait');
      sleep.mockClear();
      expect(control.waitForWork(0, 0, 0)).toBe(true);
      expect([now, sleep.mock.calls.length]).toEqual([100, 0]);
    }
  });

  it('goes on without sleeping where what it waits for comes while it looks on', () => {
    const control = Control.create(2);
    control.lookOn(1);
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => {
      if (++now === 100) control.countSent(1, 0);
      return now / 1000;
    });
    const [sleep, notify] = [vi.spyOn(Atomics, 'wait'), vi.spyOn(Atomics, 'notify')];
    waitForMessage(control);
    expect([now, sleep.mock.calls.length, notify.mock.calls.length]).toEqual([100, 0, 0]);
  });

  it('for work too: an order given while it lies down wakes it', () => {
    const control = Control.create(1);
    const notify = vi.spyOn(Atomics, 'notify');
    const sleep = vi.spyOn(Atomics, 'wait').mockImplementationOnce(() => {
      control.give(order());
      return 'ok';
    });
    expect(control.waitForWork(0, 0, 0)).toBe(true);
    expect([sleep.mock.calls.length, notify.mock.calls.length]).toEqual([1, 1]);
    // There is work already: no sleep.
    expect(control.waitForWork(0, 0, 0)).toBe(true);
    expect(sleep).toHaveBeenCalledTimes(1);
    sleep.mockImplementationOnce(() => 'timed-out');
    expect(control.waitForWork(0, 1, 0)).toBe(false);
  });
});

class Asleep extends Error {}

/**
 * Weaves the calls of two threads: `first` is held in front of its atomic operation number `at`, `second` runs to its end
 * or until it sleeps, `first` goes on, and who slept is woken by a notification alone. A sleep that nobody ends is an error.
 * False where `first` has no such operation.
 */
function weave(at: number, first: () => void, second: () => void): boolean {
  let count = 0;
  let isFirst = true;
  let isSecondDone = false;
  let asleepAt = -1;
  const runSecond = () => {
    isFirst = false;
    try {
      second();
      isSecondDone = true;
    } catch (error) {
      if (!(error instanceof Asleep)) throw error;
    }
    isFirst = true;
  };
  const step = () => {
    if (isFirst && count++ === at && !isSecondDone) runSecond();
  };
  for (const name of ['load', 'store', 'add', 'sub', 'compareExchange'] as const) {
    const real = Atomics[name] as (...args: readonly unknown[]) => unknown;
    vi.spyOn(Atomics, name).mockImplementation(((...args: readonly unknown[]) => {
      step();
      return real(...args);
    }) as never);
  }
  vi.spyOn(Atomics, 'notify').mockImplementation((_, bell) => {
    step();
    if (asleepAt !== bell) return 0;
    asleepAt = -1;
    return 1;
  });
  vi.spyOn(Atomics, 'wait').mockImplementation((words, bell, seen) => {
    step();
    if (words[bell] !== seen) return 'not-equal';
    asleepAt = bell;
    if (!isFirst) throw new Asleep();
    if (!isSecondDone) runSecond();
    if (asleepAt !== -1) throw new Error(`asleep for good, the other held in front of operation ${at}`);
    return 'ok';
  });
  first();
  if (asleepAt !== -1) throw new Error(`asleep for good, the other held in front of operation ${at}`);
  vi.restoreAllMocks();
  if (!isSecondDone && count > at) second();
  return count > at;
}

describe('a device that waits and who calls it, in every order of their operations', () => {
  /** Few looks before it sleeps; what was decided of an order before is the opposite. */
  const fresh = () => {
    const control = new Control(Control.create(2).buffer, 2, 1);
    control.decide(control.give(order({ isAhead: true })), false);
    control.give(order({ program: 3, step: 5 }));
    for (const device of [0, 1]) control.end(device, 1, 'plain');
    return control;
  };
  const asked = order({ program: 1, step: 9, profile: true, area: 1 });
  const pairs: Record<string, [wait: (control: Control) => void, call: (control: Control) => void]> = {
    'an order': [
      (control) => {
        expect(control.waitForWork(0, 2, 0)).toBe(true);
        expect([control.orders, control.orderAt(3)]).toEqual([3, asked]);
        expect(control.outcome(0, 3)).toBe('none');
        expect([0, 1].map((device) => control.end(device, 3, 'plain'))).toEqual([false, true]);
      },
      (control) => control.give(asked),
    ],
    mail: [(control) => expect(control.waitForWork(0, 2, 0)).toBe(true), (control) => control.countMail(0)],
    'a message': [
      (control) => control.waitUntil(0, 1, control.sentWord(1, 0), 1),
      (control) => control.countSent(1, 0),
    ],
    'a place to send to': [
      (control) => control.waitUntil(0, 1, control.postedWord(0, 1), 1),
      (control) => control.countPosted(0, 1),
    ],
    'a barrier': [
      (control) => control.waitUntil(0, 1, control.arrivedWord(1), 1),
      (control) => control.countArrived(1),
    ],
    'a decision': [(control) => expect(control.waitForDecision(0, 2)).toBe(true), (control) => control.decide(2, true)],
    'an end': [
      (control) => {
        try {
          control.waitUntil(0, 1, control.sentWord(1, 0), 1);
          expect.unreachable();
        } catch (error) {
          if (error instanceof Asleep) throw error;
          expect(error).toEqual(new StepAborted(1));
        }
      },
      (control) => control.abort(1),
    ],
  };

  it.each(Object.keys(pairs))('%s: none sleeps for good, and what is read is whole', (name) => {
    const [wait, call] = pairs[name]!;
    let ways = 0;
    for (const isWaiterFirst of [true, false]) {
      for (let at = 0; ; at++, ways++) {
        const control = fresh();
        const [first, second] = isWaiterFirst ? [wait, call] : [call, wait];
        const isWoven = weave(
          at,
          () => first(control),
          () => second(control),
        );
        if (!isWoven) break;
      }
    }
    expect(ways).toBeGreaterThan(8);
  });

  it('the last device to end an order says so when all is noted', () => {
    for (let at = 0; ; at++) {
      const control = fresh();
      control.end(1, 2, 'plain', 3, 2);
      const look = () => {
        if (control.outcome(0, 2) === 'none') return;
        expect(control.seconds(0, 2)).toEqual({ seconds: 5, busySeconds: 4 });
      };
      let isLast = false;
      if (!weave(at, () => (isLast = control.end(0, 2, 'detailed', 5, 4)), look)) break;
      expect([isLast, control.outcome(0, 2)]).toEqual([true, 'detailed']);
    }
  });
});
