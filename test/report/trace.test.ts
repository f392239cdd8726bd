import { describe, expect, it } from 'vitest';
import { traceJson } from '../../src/report/trace.ts';

const devices = [{ name: 'device 0' }, { name: 'device 1' }];
const event = { device: 0, name: 'F0', category: 'forward', startSeconds: 0.001, endSeconds: 0.0015 };

describe('trace', () => {
  const trace = traceJson({
    devices,
    events: [
      { ...event, args: { microbatch: 0 } },
      {
        ...event,
        device: 1,
        lane: 'receive',
        name: 'recv',
        category: 'transfer',
        startSeconds: 0.002,
        endSeconds: 0.003,
      },
    ],
    counters: [{ device: 1, name: 'live bytes', atSeconds: 0.002, values: { parameters: 8, gradients: 0 } }],
    flows: [{ name: 'h', from: { device: 0, seconds: 0.0015 }, to: { device: 1, lane: 'receive', seconds: 0.0025 } }],
    metadata: { schedule: '1f1b' },
  });
  const of = (ph: string) => trace.traceEvents.filter((e) => e.ph === ph);

  it('has complete events in microseconds, pid = device', () => {
    expect(of('X')).toEqual([
      { ph: 'X', pid: 0, tid: 1, name: 'F0', cat: 'forward', ts: 1000, dur: 500, args: { microbatch: 0 } },
      { ph: 'X', pid: 1, tid: 1, name: 'recv', cat: 'transfer', ts: 2000, dur: 1000, args: {} },
    ]);
  });

  it('names devices and lanes', () => {
    const named = of('M').filter((e) => e.name !== 'process_sort_index');
    expect(named.map((e) => [e.pid, e.tid, e.name, (e.args as { name: string }).name])).toEqual([
      [0, undefined, 'process_name', 'device 0'],
      [0, 1, 'thread_name', 'compute'],
      [1, undefined, 'process_name', 'device 1'],
      [1, 1, 'thread_name', 'receive'],
      [1, 2, 'thread_name', 'compute'],
    ]);
  });

  it('counts bytes and draws transfers', () => {
    expect(of('C')).toEqual([{ ph: 'C', pid: 1, name: 'live bytes', ts: 2000, args: { parameters: 8, gradients: 0 } }]);
    expect(of('s')).toEqual([{ ph: 's', pid: 0, tid: 1, ts: 1500, name: 'h', cat: 'transfer', id: 0 }]);
    expect(of('f')).toEqual([{ ph: 'f', bp: 'e', pid: 1, tid: 1, ts: 2500, name: 'h', cat: 'transfer', id: 0 }]);
  });

  it('survives JSON', () => {
    expect(JSON.parse(JSON.stringify(trace))).toEqual(trace);
    expect(trace).toMatchObject({ displayTimeUnit: 'ms', otherData: { schedule: '1f1b' } });
  });

  it('refuses what a viewer would draw wrongly', () => {
    const failing = expect.objectContaining({ code: 'trace-invalid' });
    expect(() => traceJson({ devices, events: [{ ...event, endSeconds: 0 }] })).toThrow(failing);
    expect(() => traceJson({ devices, events: [{ ...event, startSeconds: Number.NaN }] })).toThrow(failing);
    expect(() => traceJson({ devices, events: [{ ...event, endSeconds: Number.POSITIVE_INFINITY }] })).toThrow(failing);
    expect(() => traceJson({ devices, events: [{ ...event, device: 2 }] })).toThrow(failing);
  });
});
