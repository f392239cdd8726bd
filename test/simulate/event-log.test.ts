import { describe, expect, it } from 'vitest';
import type { Action } from '../../src/simulate/index.ts';
import { type Cluster, criticalPath, idleCauses, simulate, type Wait, whyIdle } from '../../src/simulate/index.ts';
import { Choices } from '../support/random-model.ts';
import { barrier, clusterOf, compute, other, post, programOf, receive, send } from './support.ts';

interface Drawn {
  readonly programs: readonly (readonly Action[])[];
  readonly cluster: Cluster;
  readonly starts: readonly number[];
  readonly host: number;
}

/** A program that can be played, with times in whole numbers; some of them 0. */
function draw(seed: number): Drawn {
  const choices = new Choices(seed);
  const devices = 1 + choices.below(4);
  const programs: Action[][] = Array.from({ length: devices }, () => []);
  const posted = new Map<string, number>();
  const open: { from: number; to: number; message: number; isSent: boolean }[] = [];
  const short = () => choices.below(2);
  const go = (message: (typeof open)[number]) => {
    // A pair's messages are sent in their order, and received in any.
    if (message.isSent) {
      programs[message.to]!.push(receive(message.from, message.message, short()));
      open.splice(open.indexOf(message), 1);
      return;
    }
    const m = open.find((o) => o.from === message.from && o.to === message.to && !o.isSent)!;
    programs[m.from]!.push(send(m.to, m.message, choices.below(4), short()));
    m.isSent = true;
  };
  // Of some all or most devices have nothing to do.
  for (let n = seed % 8 === 0 ? choices.below(3) : choices.below(48); n > 0; n--) {
    const d = choices.below(devices);
    const what = choices.below(10);
    if (what < 3) programs[d]!.push(compute(choices.below(6)));
    else if (what === 3) programs[d]!.push(other(choices.below(3)));
    else if (n % 16 === 0) for (const own of programs) own.push(barrier(short()));
    else if (what < 7 && devices > 1) {
      const from = (d + 1 + choices.below(devices - 1)) % devices;
      const key = `${from}>${d}`;
      const message = posted.get(key) ?? 0;
      posted.set(key, message + 1);
      programs[d]!.push(post(from, message, short()));
      open.push({ from, to: d, message, isSent: false });
    } else if (open.length > 0) go(choices.pick(open));
  }
  while (open.length > 0) go(open[0]!);
  const wakes = choices.below(2) === 0;
  const [far, sends, looks] = [choices.below(4), choices.below(2), choices.pick([0, 0, 1, 4])];
  // Whoever is woken by the last of several at a barrier sleeps as long, whichever of them it was.
  const link = (from: number, to: number) => ({
    bytesPerSecond: 1,
    secondsLatency: wakes ? far + to : far + 2 * from + to,
    secondsSend: sends,
    wakes,
    secondsLook: looks,
  });
  const starts = programs.map(() => choices.pick([0, 0, 1, 5]));
  const host = choices.below(3);
  const cluster = clusterOf(devices, link);
  const costs = { ...cluster.costs, startSeconds: (d: number) => starts[d]!, stepSeconds: () => host };
  return { programs, cluster: { ...cluster, costs }, starts, host };
}

interface Log {
  readonly reached: readonly number[][];
  readonly begins: readonly number[][];
  readonly ends: readonly number[][];
  readonly step: number;
}

/** The rules of docs/simulator.md by a clock that ticks: at each second, devices begin and end what they can. */
function tick({ programs, cluster, starts, host }: Drawn): Log {
  const [reached, begins, ends] = [0, 1, 2].map(() => programs.map((): number[] => [])) as [
    number[][],
    number[][],
    number[][],
  ];
  const at = programs.map(() => 0);
  const until = programs.map((): number | null => null);
  /** Seconds at which device d may go on, had it come at `came` to wait for what happened at `happened`. */
  const woken = (came: number, happened: number, latency: number, looks = 0) => {
    if (came >= happened) return came;
    return happened - came <= looks ? happened : happened + latency;
  };
  const mayBegin = (d: number, now: number): boolean => {
    const { kind, peer, message } = programs[d]![at[d]!]!;
    const came = reached[d]![at[d]!]!;
    const endOf = (device: number, wanted: string, of: number) =>
      ends[device]![programs[device]!.findIndex((a) => a.kind === wanted && a.peer === of && a.message === message)];
    if (kind === 'send') {
      const { wakes, secondsLatency, secondsLook } = cluster.costs.link(d, peer);
      const happened = endOf(peer, 'post', d);
      return happened !== undefined && now >= woken(came, happened, wakes ? secondsLatency : 0, secondsLook);
    }
    if (kind === 'receive') {
      const { wakes, secondsLatency, secondsLook } = cluster.costs.link(peer, d);
      const happened = endOf(peer, 'send', d);
      if (happened === undefined) return false;
      if (!wakes) return now >= Math.max(came, happened + secondsLatency);
      return now >= woken(came, happened, secondsLatency, secondsLook);
    }
    if (kind !== 'barrier') return true;
    const nth = programs[d]!.slice(0, at[d]!).filter((a) => a.kind === 'barrier').length;
    const arrived = programs.map(
      (p, e) => reached[e]![p.map((a, i) => (a.kind === 'barrier' ? i : -1)).filter((i) => i >= 0)[nth]!],
    );
    if (arrived.includes(undefined)) return false;
    const opens = Math.max(...(arrived as number[]));
    const { wakes, secondsLatency, secondsLook } = cluster.costs.link((d + 1) % programs.length, d);
    return now >= woken(came, opens, wakes ? secondsLatency : 0, secondsLook);
  };
  for (let now = 0; ; now++) {
    for (let changed = true; changed; ) {
      changed = false;
      programs.forEach((program, d) => {
        if (now < starts[d]! || at[d] === program.length) return;
        const action = program[at[d]!]!;
        reached[d]![at[d]!] ??= now;
        if (until[d] === null && mayBegin(d, now)) {
          begins[d]!.push(now);
          const link = action.kind === 'send' ? cluster.costs.link(d, action.peer) : undefined;
          const transfer = link ? action.bytes / link.bytesPerSecond + link.secondsSend! : 0;
          until[d] = now + action.seconds + transfer;
          changed = true;
        }
        if (until[d] === null || until[d]! > now) return;
        ends[d]!.push(now);
        until[d] = null;
        at[d]!++;
        changed = true;
      });
    }
    if (programs.every((p, d) => at[d] === p.length && now >= starts[d]!)) {
      const last = Math.max(...programs.map((_, d) => ends[d]!.at(-1) ?? starts[d]!));
      return { reached, begins, ends, step: last + host };
    }
    if (now > 10_000) throw new Error('the program does not end');
  }
}

/** What a device does from second t to t + 1: busy with an action, or before one, or before the host's word, or done. */
function stateOf({ programs, starts }: Drawn, { begins, ends }: Log, d: number, t: number) {
  if (t < starts[d]!) return { kind: 'start', index: programs[d]!.length > 0 ? 0 : null } as const;
  const index = ends[d]!.findIndex((end) => end > t);
  if (index < 0) return { kind: 'end', index: null } as const;
  return { kind: begins[d]![index]! <= t ? ('busy' as const) : ('waits' as const), index };
}

/** Why device d is idle from t to t + 1, followed action by action through the program; null where it is busy. */
function reasonAt(drawn: Drawn, log: Log, simulation: ReturnType<typeof simulate>, d: number, t: number) {
  const { programs, starts } = drawn;
  const endOf = (e: number) => log.ends[e]!.at(-1) ?? starts[e]!;
  const last = programs.findIndex((_, e) => programs.every((_, f) => endOf(e) >= endOf(f)));
  const chain: Wait[] = [];
  const noOne = { device: null, index: null, to: null };
  for (let at = d; ; ) {
    const { kind, index } = stateOf(drawn, log, at, t);
    if (kind === 'start' || (kind === 'end' && t >= endOf(last))) {
      chain.push({ device: at, index, kind, for: kind === 'start' ? at : last });
      return { chain, root: { kind: 'host', ...noOne } };
    }
    if (kind === 'end') {
      chain.push({ device: at, index, kind, for: last });
      at = last;
      continue;
    }
    const action = programs[at]![index!]!;
    if (kind === 'busy') {
      if (chain.length === 0) return null;
      const root = action.kind === 'compute' || action.kind === 'send' ? action.kind : 'other';
      return { chain, root: { kind: root, device: at, index, to: action.kind === 'send' ? action.peer : null } };
    }
    const by = { device: action.peer, index: -1, happened: 0 };
    if (action.kind === 'barrier') {
      // Where several come last, it may be any of them.
      Object.assign(by, simulation.timeline!.at(at, index!).heldBy);
      const nth = (e: number, i: number) => programs[e]!.slice(0, i).filter((a) => a.kind === 'barrier').length;
      const came = programs.map((p, e) => {
        const own = p.findIndex((a, i) => a.kind === 'barrier' && nth(e, i) === nth(at, index!));
        return log.reached[e]![own]!;
      });
      expect(programs[by.device]![by.index]!.kind).toBe('barrier');
      expect(nth(by.device, by.index)).toBe(nth(at, index!));
      by.happened = log.reached[by.device]![by.index]!;
      expect(by.happened).toBe(Math.max(...came));
    } else {
      const wanted = action.kind === 'send' ? 'post' : 'send';
      by.index = programs[action.peer]!.findIndex(
        (a) => a.kind === wanted && a.peer === at && a.message === action.message,
      );
      by.happened = log.ends[by.device]![by.index]!;
    }
    chain.push({
      device: at,
      index,
      kind: action.kind === 'send' ? 'post' : (action.kind as 'receive' | 'barrier'),
      for: by.device,
    });
    if (t >= by.happened) return { chain, root: { kind: 'latency', device: by.device, index: by.index, to: at } };
    at = by.device;
  }
}

describe('random programs, by a log of their events', () => {
  const drawn = Array.from({ length: 100 }, (_, seed) => draw(seed + 1)).map((d) => {
    const simulation = simulate(programOf(...d.programs), d.cluster);
    return { ...d, log: tick(d), simulation };
  });

  it('happen when the rules say', () => {
    for (const { programs, starts, host, log, simulation } of drawn) {
      const played = programs.map((p, d) => p.map((_, i) => simulation.timeline!.at(d, i)));
      expect(played.map((row) => row.map((a) => a.reached))).toEqual(
        log.ends.map((row, d) => [starts[d]!, ...row].slice(0, row.length)),
      );
      for (const a of played.flat()) {
        const { peer } = programs[a.device]![a.index]!;
        expect(a.peer).toBe(peer < 0 ? null : peer);
        // Who is held up by somebody has waited; what it waited for has happened meanwhile.
        expect(a.heldBy !== null).toBe(a.begin > a.reached);
        const caused = simulation.timeline!.causedAt(a);
        expect(a.heldBy === null ? caused === a.begin : caused >= 0 && caused <= a.begin).toBe(true);
      }
      expect(played.map((row) => row.map((a) => a.begin))).toEqual(log.begins);
      expect(played.map((row) => row.map((a) => a.end))).toEqual(log.ends);
      expect(simulation).toMatchObject({ stepSeconds: log.step, hostSeconds: host, startSeconds: starts });
    }
  });

  it('are idle for the reasons that the log tells, each as long as it holds', () => {
    let [deepest, latencies] = [0, 0];
    for (const d of drawn) {
      const { programs, log, simulation } = d;
      const found = programs.map((_, device) =>
        Array.from({ length: log.step }, (_, t) => whyIdle(simulation, device, t + 0.5)),
      );
      found.forEach((row, device) => {
        const told = row.map((why) => JSON.stringify([why?.chain, why?.root]));
        row.forEach((why, t) => {
          expect(whyIdle(simulation, device, t)).toEqual(why);
          const expected = reasonAt(d, log, simulation, device, t);
          expect(why && { chain: why.chain, root: why.root }).toEqual(expected);
          if (!why) return;
          expect(why.begin <= t && t + 1 <= why.end).toBe(true);
          // It holds from its begin to its end, and neither before nor after.
          expect(new Set(told.slice(why.begin, why.end)).size).toBe(1);
          expect([told[why.begin - 1], told[why.end]]).not.toContain(told[t]);
          deepest = Math.max(deepest, why.chain.length);
          if (why.root.kind === 'latency') latencies++;
        });
        expect(whyIdle(simulation, device, log.step)).toBeNull();
        expect(whyIdle(simulation, device, -1)).toBeNull();
      });
    }
    // Not only the simple ones.
    expect(deepest).toBeGreaterThan(3);
    expect(latencies).toBeGreaterThan(100);
  });

  it('have each idle second charged to its root, and to the wait of the device itself', () => {
    for (const d of drawn) {
      const { programs, log, simulation } = d;
      const sums = new Map<string, number>();
      const waits = programs.map(() => ({ start: 0, post: 0, receive: 0, barrier: 0, end: 0 }));
      for (const [device] of programs.entries()) {
        for (let t = 0; t < log.step; t++) {
          const reason = reasonAt(d, log, simulation, device, t);
          if (!reason) continue;
          const key = `${reason.chain[0]!.kind} ${reason.root.kind} ${reason.root.device}`;
          sums.set(key, (sums.get(key) ?? 0) + 1);
          waits[device]![reason.chain[0]!.kind]++;
        }
      }
      const causes = idleCauses(simulation);
      expect(Object.fromEntries(causes.map((c) => [`${c.wait} ${c.kind} ${c.device}`, c.seconds]))).toEqual(
        Object.fromEntries(sums),
      );
      expect(causes.map((c) => c.seconds)).toEqual(causes.map((c) => c.seconds).sort((a, b) => b - a));
      expect(simulation.devices.map((s) => s.waiting)).toEqual(waits);
    }
  });

  it('have a critical path of what happened, without a gap', () => {
    for (const { programs, starts, log, simulation } of drawn) {
      const path = criticalPath(simulation);
      let now = 0;
      for (const { kind, device, index, to, begin, end } of path.segments) {
        expect(begin).toBe(now);
        now = end;
        if (kind === 'host') {
          expect({ device, index, to }).toEqual({ device: null, index: null, to: null });
          expect(end === log.step || (begin === 0 && starts.includes(end))).toBe(true);
        } else if (kind === 'latency') {
          // It ends the wait of an action of `to`, and begins with what that waits for.
          const waiting = programs[to!]!.flatMap((_, i) => {
            const { begin, reached, heldBy } = simulation.timeline!.at(to!, i);
            return reached < begin && begin === end && heldBy ? [heldBy] : [];
          });
          expect(waiting).toContainEqual({ device, index });
        } else {
          const action = programs[device!]![index!]!;
          expect(kind).toBe(action.kind === 'compute' || action.kind === 'send' ? action.kind : 'other');
          expect([begin, end]).toEqual([log.begins[device!]![index!], log.ends[device!]![index!]]);
          expect(to).toBe(action.kind === 'send' ? action.peer : null);
        }
      }
      expect(now).toBe(log.step);
      expect(path.seconds).toBe(log.step);
      const sumOf = (wanted: (s: (typeof path.segments)[number]) => boolean) =>
        path.segments.reduce((sum, s) => (wanted(s) ? sum + s.end - s.begin : sum), 0);
      for (const [kind, seconds] of Object.entries(path.secondsByKind)) {
        expect(seconds).toBe(sumOf((s) => s.kind === kind));
      }
      path.secondsByDevice.forEach((seconds, d) => {
        expect(seconds).toBe(sumOf((s) => s.device === d && s.kind !== 'latency'));
      });
      const homes = path.segments.flatMap((s) => (s.kind === 'latency' || s.device === null ? [] : [s.device]));
      const changes = homes.filter((d, i) => i > 0 && d !== homes[i - 1]).length;
      expect(path.hops).toBeGreaterThanOrEqual(changes);
    }
  });
});
