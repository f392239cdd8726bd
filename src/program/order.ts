/**
 * Tasks whose nodes run in another order than the graph's, so that fewer bytes are alive at once. Only the tasks that hold a
 * device's peak are changed, and only where the whole device's peak falls; the order of a sum over microbatches is the
 * schedule's and stays, so that no bit changes.
 */
import { PlanError } from '../core/errors.ts';
import { Memo } from '../core/memo.ts';
import type { Buffer, ComputeInstruction, DeviceProgram, TaskOrder } from './instruction.ts';
import { liveBytes, mentions, mostAlive } from './lifetimes.ts';
import type { DraftDevice, DraftInstruction } from './messages.ts';
import { findOrder, type OrderProblem, type OrderUnit, type OrderValue, peakOfOrder } from './order-search.ts';
import { overwritable } from './overwrite.ts';

export interface OrderedDevices {
  readonly devices: DeviceProgram[];
  readonly orders: TaskOrder[];
}

/** `assemble` makes programs of drafts: posts, message numbers, overwriting. */
export function orderTasks(
  drafts: readonly DraftDevice[],
  assemble: (drafts: readonly DraftDevice[]) => DeviceProgram[],
  mayChange: (device: number) => boolean,
): OrderedDevices {
  const given = assemble(drafts);
  const before = given.map(mostAlive);
  const budget = { nodes: MOST_NODES };
  let found = drafts.map(
    (draft, d): Improved =>
      mayChange(draft.device) ? improve(draft, given[d]!, budget) : { draft, tasks: [], exact: false },
  );
  let devices = given;
  while (found.some(({ tasks }) => tasks.length > 0)) {
    const assembled = withoutCircle(() => assemble(found.map(({ draft }) => draft)));
    if (!assembled) {
      found = found.map((one, d) => ({ ...one, draft: drafts[d]!, tasks: [] }));
      devices = given;
      break;
    }
    devices = assembled;
    // Posts stand by the messages of several devices, so what comes of it is measured on the programs themselves.
    const useless = devices.map((device, d) => found[d]!.tasks.length > 0 && mostAlive(device) >= before[d]!);
    const worse = devices.some((device, d) => found[d]!.tasks.length === 0 && mostAlive(device) > before[d]!);
    if (!worse && !useless.includes(true)) break;
    found = found.map((one, d) => (worse || useless[d] ? { ...one, draft: drafts[d]!, tasks: [] } : one));
    devices = given;
  }
  return {
    devices,
    orders: devices.map((device, d) => ({
      graphOrderBytes: before[d]!,
      bytes: mostAlive(device),
      tasks: found[d]!.tasks,
      exact: found[d]!.exact,
    })),
  };
}

/**
 * undefined where the devices would wait for each other in a circle: tasks that wait for other devices in their midst (a
 * value that is needed back) may do so in one order of their nodes and not in another.
 */
function withoutCircle(assemble: () => DeviceProgram[]): DeviceProgram[] | undefined {
  try {
    return assemble();
  } catch (error) {
    if (error instanceof PlanError && error.code === 'program-deadlock') return undefined;
    throw error;
  }
}

/** Orders by what is to be ordered: microbatches in the steady state have the same task, and so do plans of one model. */
const known = new Memo<ReturnType<typeof findOrder> & { readonly graphPeak: number }>(8_000_000);

interface Improved {
  readonly draft: DraftDevice;
  readonly tasks: readonly string[];
  readonly exact: boolean;
}

/** Nodes of all tasks that are looked at: some seconds, but counted. Devices behind them keep the order of the graph. */
const MOST_NODES = 200_000;

/** Lowers the highest task, then the one that is highest then, until one cannot be lowered. */
function improve(draft: DraftDevice, program: DeviceProgram, budget: { nodes: number }): Improved {
  const live = liveBytes(program);
  const ranges = segmentRanges(draft, program);
  const peaks = ranges.map(({ from, to }) => live.subarray(from, to).reduce((a, b) => Math.max(a, b), 0));
  const segments = [...draft.segments];
  const changed: number[] = [];
  const seen = new Set<number>();
  const facts = mentions(program);
  let exact = true;
  for (;;) {
    const top = peaks.reduce((best, peak, s) => (peak > peaks[best]! ? s : best), 0);
    const units = seen.has(top) ? undefined : unitsOf(segments[top]!);
    if (!units) break;
    seen.add(top);
    budget.nodes -= units.computes.length;
    if (budget.nodes < 0) return { draft, tasks: [], exact: false };
    const problem = problemOf(units, program.buffers, facts, ranges[top]!);
    const answer = known.get(JSON.stringify(problem), () => ({
      ...findOrder(problem),
      graphPeak: graphPeakOf(problem),
    }));
    exact &&= answer.exact;
    if (answer.peak >= answer.graphPeak) break;
    peaks[top]! -= answer.graphPeak - answer.peak;
    segments[top] = emit(units, answer.order);
    changed.push(top);
  }
  changed.sort((a, b) => a - b);
  const tasks = changed.map((s) => taskOf(segments[s]!));
  return { draft: { ...draft, segments }, tasks, exact };
}

/** Where the instructions of a segment stand in the program: its posts from `from` on, its own from `body` to before `to`. */
interface Range {
  readonly from: number;
  readonly body: number;
  readonly to: number;
}

function segmentRanges({ segments }: DraftDevice, { instructions }: DeviceProgram): Range[] {
  let at = 0;
  return segments.map((segment) => {
    const from = at;
    while (instructions[at]?.kind === 'post') at++;
    const body = at;
    at += segment.length;
    return { from, body, to: at };
  });
}

const taskOf = (segment: readonly DraftInstruction[]): string =>
  segment.find((i): i is ComputeInstruction => i.kind === 'compute')!.task;

interface Units {
  readonly computes: readonly { readonly compute: ComputeInstruction; readonly behind: readonly DraftInstruction[] }[];
  /** Inputs and receives by their buffer: in front of its first use. */
  readonly openers: ReadonlyMap<number, DraftInstruction>;
}

/** Beyond so many nodes a task keeps the graph's order: the search would take longer than all else. */
const MOST_UNITS = 600;

/** A task's segment as what may change places; undefined for what is no task, or too small or too large to order. */
function unitsOf(segment: readonly DraftInstruction[]): Units | undefined {
  const computes: { compute: ComputeInstruction; behind: DraftInstruction[] }[] = [];
  const openers = new Map<number, DraftInstruction>();
  for (const instruction of segment) {
    const unit = computes.at(-1);
    switch (instruction.kind) {
      case 'compute':
        if (instruction.task === 'U') return undefined;
        computes.push({ compute: instruction, behind: [] });
        break;
      case 'input':
      case 'receive':
        openers.set(instruction.buffer, instruction);
        break;
      case 'send':
      case 'output':
        if (!unit?.compute.outputs.includes(instruction.buffer)) return undefined;
        unit.behind.push(instruction);
        break;
      default:
        return undefined;
    }
  }
  return computes.length > 2 && computes.length <= MOST_UNITS ? { computes, openers } : undefined;
}

function emit({ computes, openers }: Units, order: readonly number[]): DraftInstruction[] {
  const opened = new Set<number>();
  return order.flatMap((u) => {
    const { compute, behind } = computes[u]!;
    const opening = compute.inputs.filter((id) => openers.has(id) && !opened.has(id));
    for (const id of opening) opened.add(id);
    return [...new Set(opening)].map((id) => openers.get(id)!).concat(compute, behind);
  });
}

function problemOf(
  { computes, openers }: Units,
  buffers: readonly Buffer[],
  { first, last }: ReturnType<typeof mentions>,
  { body, to }: Range,
): OrderProblem {
  const index = new Map<number, number>();
  const values: OrderValue[] = [];
  const numberOf = (id: number): number => {
    let v = index.get(id);
    if (v === undefined) {
      index.set(id, (v = values.length));
      values.push({ bytes: buffers[id]!.bytes, atStart: first[id]! < body, stays: last[id]! >= to });
    }
    return v;
  };
  const moves = (id: number): boolean => buffers[id]!.persistent === null;
  const made = new Set<number>();
  /** Units that last wrote a buffer, and those that have read it since. */
  const writers = new Map<number, number>();
  const readers = new Map<number, number[]>();
  const units = computes.map(({ compute }, u): OrderUnit => {
    const { inputs, outputs, workspace } = compute;
    const after = new Set<number>();
    for (const id of [...inputs, ...outputs]) if (writers.has(id)) after.add(writers.get(id)!);
    for (const id of outputs) for (const r of readers.get(id) ?? []) after.add(r);
    for (const id of inputs) readers.set(id, [...(readers.get(id) ?? []), u]);
    for (const id of outputs) {
      writers.set(id, u);
      readers.set(id, []);
    }
    after.delete(u);
    const makes = outputs.filter((id) => moves(id) && first[id]! >= body && !made.has(id) && !openers.has(id));
    for (const id of makes) made.add(id);
    const takesOver = makes.includes(outputs[0]!);
    return {
      after: [...after],
      uses: [...new Set([...inputs, ...outputs])].filter(moves).map(numberOf),
      makes: makes.map(numberOf),
      scratch: workspace === null ? 0 : buffers[workspace]!.bytes,
      output: takesOver ? numberOf(outputs[0]!) : -1,
      over: takesOver ? overwritable(compute).filter(moves).map(numberOf) : [],
    };
  });
  return { units, values };
}

const graphPeakOf = (problem: OrderProblem): number =>
  peakOfOrder(
    problem,
    problem.units.map((_, u) => u),
  );
