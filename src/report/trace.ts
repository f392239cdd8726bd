/**
 * Timelines in the Chrome trace format, which Perfetto (https://ui.perfetto.dev) and chrome://tracing open.
 *
 *     device            a process: pid = its number, named by metadata events (ph M)
 *     lane of a device  a thread of it: tid 1, 2, … in the order of first use; slices of one lane must nest or not overlap
 *     event             a complete slice (ph X)
 *     counter           a stacked area of the device (ph C): live bytes by category
 *     flow              an arrow between two slices (ph s → f): a transfer; each end binds to the slice around its time
 *
 * Times are microseconds, with fractions. The result is a function of its input; order is that of the input.
 * Format: "Trace Event Format", Google, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
 */
import { PartitaError } from '../core/errors.ts';

export interface TraceInput {
  readonly devices: readonly { readonly name: string }[];
  readonly events: readonly TraceEvent[];
  readonly counters?: readonly TraceCounter[];
  readonly flows?: readonly TraceFlow[];
  /** Shown by the viewers as facts about the whole trace. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface TraceEvent {
  /** Index into `devices`. */
  readonly device: number;
  /** Default `compute`. */
  readonly lane?: string;
  readonly name: string;
  readonly category: string;
  readonly startSeconds: number;
  readonly endSeconds: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

export interface TraceCounter {
  readonly device: number;
  readonly name: string;
  readonly atSeconds: number;
  /** The areas stacked, each until the counter's next event. */
  readonly values: Readonly<Record<string, number>>;
}

export interface TraceFlow {
  readonly from: TraceFlowEnd;
  readonly to: TraceFlowEnd;
  readonly name: string;
}

export interface TraceFlowEnd {
  readonly device: number;
  /** Default `compute`. */
  readonly lane?: string;
  /** Within the slice that sends or receives. */
  readonly seconds: number;
}

export interface TraceJson {
  readonly traceEvents: readonly Readonly<Record<string, unknown>>[];
  readonly displayTimeUnit: 'ms';
  readonly otherData: Readonly<Record<string, unknown>>;
}

const defaultLane = 'compute';

export function traceJson({ devices, events, counters = [], flows = [], metadata = {} }: TraceInput): TraceJson {
  const lanes = devices.map(() => new Map<string, number>());
  const place = (device: number, lane = defaultLane): { pid: number; tid: number } => {
    const known = lanes[device];
    if (!known) throw invalid(`device ${device} is not among the ${devices.length} devices`, { device });
    if (!known.has(lane)) known.set(lane, known.size + 1);
    return { pid: device, tid: known.get(lane)! };
  };

  const slices = events.map(({ device, lane, name, category, startSeconds, endSeconds, args = {} }) => {
    if (!(endSeconds >= startSeconds)) {
      throw invalid(`"${name}" on device ${device} ends at ${endSeconds} s, before its start at ${startSeconds} s`, {
        device,
        name,
      });
    }
    const ts = microseconds(startSeconds);
    return { ph: 'X', ...place(device, lane), name, cat: category, ts, dur: microseconds(endSeconds) - ts, args };
  });
  const areas = counters.map(({ device, name, atSeconds, values }) => {
    const { pid } = place(device);
    return { ph: 'C', pid, name, ts: microseconds(atSeconds), args: values };
  });
  const arrows = flows.flatMap(({ from, to, name }, id) => {
    const arrow = { name, cat: 'transfer', id };
    return [
      { ph: 's', ...place(from.device, from.lane), ts: microseconds(from.seconds), ...arrow },
      { ph: 'f', bp: 'e', ...place(to.device, to.lane), ts: microseconds(to.seconds), ...arrow },
    ];
  });
  const names = devices.flatMap(({ name }, pid) => [
    { ph: 'M', pid, name: 'process_name', args: { name } },
    { ph: 'M', pid, name: 'process_sort_index', args: { sort_index: pid } },
    ...[...lanes[pid]!].map(([lane, tid]) => ({ ph: 'M', pid, tid, name: 'thread_name', args: { name: lane } })),
  ]);
  return { traceEvents: [...names, ...slices, ...areas, ...arrows], displayTimeUnit: 'ms', otherData: metadata };
}

/** Rounded to a nanosecond hundredth, so that the text stays short. */
function microseconds(seconds: number): number {
  if (!Number.isFinite(seconds)) throw invalid(`${seconds} s is not a time`, {});
  return Math.round(seconds * 1e11) / 1e5;
}

const invalid = (what: string, fields: Record<string, unknown>): PartitaError =>
  new PartitaError('trace-invalid', `trace: ${what}`, { fields });
