import type { Graph, Tensor } from '../graph/graph.ts';
import { feedBatchAxis } from '../graph/source.ts';
import { rootOf } from '../graph/values.ts';
import { timesUntilStuck } from '../schedule/clock.ts';
import { addProductsInPlace } from './add-in-place.ts';
import { BuildContext, type BuildOptions, type GraphOptions, type Lifetimes } from './context.ts';
import { DeviceBuilder } from './device-builder.ts';
import type { StepProgram } from './instruction.ts';
import { mostAlive } from './lifetimes.ts';
import { connect, type DraftDevice, type SegmentTimes } from './messages.ts';
import { orderTasks } from './order.ts';
import { overwriteDyingInputs } from './overwrite.ts';
import { type Chunk, stage } from './staging.ts';
import { shareBytes } from './views.ts';

/** Compiles stages and a schedule into one program a device. Throws PlanError where graph and schedule do not fit. */
export const buildProgram = ({ lifetimes, ...options }: BuildOptions): StepProgram =>
  programBuilder(options)(lifetimes);

/** Programs of one schedule with these lifetimes or those: what they have in common is made once. Throws as `buildProgram`. */
export function programBuilder(options: GraphOptions): (lifetimes?: BuildOptions['lifetimes']) => StepProgram {
  let made: BuildContext | undefined;
  const drafts = new Map<string, DraftDevice>();
  const draftOf = (context: BuildContext, device: number, isPlain: boolean): DraftDevice => {
    const key = `${device} ${isPlain}`;
    const known = drafts.get(key);
    if (known) return known;
    const plain = new DeviceBuilder(context, device, isPlain).build();
    const draft = isPlain ? plain : addProductsInPlace(plain, options.backends[device]!);
    // Large programs are hardly built twice, and their drafts would fill the memory beside them.
    if (draft.buffers.length <= MOST_KEPT) drafts.set(key, draft);
    return draft;
  };
  return (lifetimes) => {
    made ??= new BuildContext(options);
    const context = made;
    return assembleProgram(context, (device, isPlain) => draftOf(context, device, isPlain), lifetimes);
  };
}

/** Buffers of a device whose draft is kept. */
const MOST_KEPT = 20_000;

function assembleProgram(
  context: BuildContext,
  draftOf: (device: number, isPlain: boolean) => DraftDevice,
  lifetimes: BuildOptions['lifetimes'],
): StepProgram {
  const { graphs, options } = context;
  const { chunks, schedule } = options;
  const lifetimesOf = (device: number): Lifetimes => lifetimes?.[device] ?? 'short';
  const isShort = (device: number): boolean => lifetimesOf(device) !== 'plain';
  const isOrdered = (device: number): boolean => ['short', 'unshared'].includes(lifetimesOf(device));
  const drafts = Array.from({ length: schedule.devices }, (_, device) => draftOf(device, !isShort(device)));
  const times = segmentTimes(options, drafts);
  const hasViews = (device: number): boolean => ['short', 'unordered'].includes(lifetimesOf(device));
  const assemble = (list: readonly DraftDevice[]) =>
    connect(list, options.postAhead ?? 1, times).map((d) => (isShort(d.device) ? overwriteDyingInputs(d) : d));
  // Samples that are computed one by one join their sums in the graph's order.
  const ordered = orderTasks(drafts, assemble, (device) => isOrdered(device) && !options.perSample);
  const devices = ordered.devices.map((d) => (hasViews(d.device) ? shareBytes(d) : d));
  const orders = ordered.orders.map((order, d) =>
    devices[d] === ordered.devices[d] ? order : { ...order, bytes: mostAlive(devices[d]!) },
  );

  const chunksOf = (tensors: readonly Tensor[]): Chunk[] =>
    tensors.map((tensor, m) => ({ tensor, samples: context.samplesOf(rootOf(tensor), m) }));
  const perMicrobatch = (find: (graph: Graph, name: string) => Tensor, names: Iterable<string>) =>
    new Map([...names].map((name) => [name, chunksOf(graphs.map((g) => find(g, name)))]));
  const feeds = stage(
    perMicrobatch(
      inputNamed,
      graphs[0]!.sources('input').map((t) => t.node.source!.name),
    ),
    (_, t) => feedBatchAxis(t.node.source!.feed!),
  );
  const results = stage(
    perMicrobatch((g, name) => g.outputs.get(name)!, graphs[0]!.outputs.keys()),
    (name) => context.resultAxis(name),
  );
  return {
    microbatches: chunks.length,
    chunks,
    devices,
    orders,
    feeds: feeds.staged,
    results: results.staged,
    feedBytes: feeds.bytes,
    resultBytes: results.bytes,
  };
}

/** By the schedule's clock; undefined where tasks run in parts, between barriers. */
function segmentTimes(
  { schedule, edges, durations = { F: 1, B: 1, W: 1 } }: GraphOptions,
  drafts: readonly DraftDevice[],
): SegmentTimes[] | undefined {
  // One segment in front of the tasks, and one behind them.
  if (drafts.some(({ device, segments }) => segments.length !== schedule.rows[device]!.length + 2)) return undefined;
  const { rowStarts, starts, ends, waiting } = timesUntilStuck(schedule, {
    durations,
    ...(edges ? { dependencies: edges } : {}),
  });
  if (waiting.length > 0) return undefined; // told where the programs are found to wait in a circle
  return drafts.map(({ device }) => {
    const [from, to] = [rowStarts[device]!, rowStarts[device]! + schedule.rows[device]!.length];
    return {
      reached: [0, 0, ...ends.subarray(from, to)],
      begun: [0, ...starts.subarray(from, to), Number.POSITIVE_INFINITY],
    };
  });
}

const inputNamed = (graph: Graph, name: string): Tensor =>
  graph.sources('input').find((t) => t.node.source!.name === name)!;
