import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { UsageError } from '../core/errors.ts';
import { formatBytes, formatCount, formatSeconds } from '../core/format.ts';
import { parseBytes } from '../core/memory-size.ts';
import { packageRoot } from '../core/package-root.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { type PackingBuffer, parsePackingCsv, writePackingCsv } from '../formats/packing-csv.ts';
import { readText } from '../formats/read-file.ts';
import type { Packing } from '../memory/pack-blocks.ts';
import type { PackReport, PackTask } from '../memory/pack-task.ts';
import { type Invocation, numberOf, refuseOverwriting, textOf } from './invocation.ts';
import { CommandClock } from './partition-clock.ts';

const defaultTimeLimit = 60;

export async function run(invocation: Invocation): Promise<number> {
  const { file, signal } = invocation;
  if (file === undefined) {
    throw new UsageError('command-line', 'pack needs the file of a table', { remedy: 'partita pack buffers.csv' });
  }
  const size = textOf(invocation, 'capacity');
  const capacity = size === undefined ? undefined : parseBytes(size, '--capacity');
  const timeLimit = numberOf(invocation, 'timeLimit', 'time-limit', { example: 10 }) ?? defaultTimeLimit;
  const out = textOf(invocation, 'out');
  refuseOverwriting('out', out, [{ what: 'the table', path: file }]);
  const table = parsePackingCsv(readText(file), file);
  const started = performance.now();
  const packing = await pack(table.buffers, capacity, new CommandClock(timeLimit).secondsFor(1), signal);
  const { offsets, height, maxLive, lowerBound } = packing;
  const fits = capacity === undefined || height <= capacity;
  if (out !== undefined && fits) await writeFileAtomic(out, writePackingCsv(table, offsets));
  const result = {
    version: 1,
    command: 'pack',
    buffers: offsets.length,
    height,
    maxLive,
    lowerBound,
    ratio: ratioOf(packing),
    capacity: capacity ?? null,
    fits,
    interrupted: signal.aborted,
    seconds: (performance.now() - started) / 1000,
    out: fits ? (out ?? null) : null,
  };
  process.stdout.write(invocation.json ? `${JSON.stringify(result)}\n` : textOfResult(file, result, out));
  return fits ? 0 : 1;
}

const ratioOf = ({ height, maxLive }: Packing): number => (maxLive > 0 ? height / maxLive : 1);

interface Result extends Omit<Packing, 'offsets'> {
  readonly buffers: number;
  readonly ratio: number;
  readonly capacity: number | null;
  readonly fits: boolean;
  readonly interrupted: boolean;
  readonly seconds: number;
  readonly out: string | null;
}

function textOfResult(file: string, result: Result, asked: string | undefined): string {
  const { buffers, height, maxLive, lowerBound, ratio, capacity, fits, interrupted, seconds, out } = result;
  const size = (bytes: number): string =>
    bytes < 1024 ? `${bytes} B` : `${formatCount(bytes)} B (${formatBytes(bytes)})`;
  const quality = height <= lowerBound ? 'the least there is' : `none is below ${size(lowerBound)}`;
  const lines = [
    `${file}: ${formatCount(buffers)} buffers, ${formatSeconds(seconds)}${interrupted ? ', interrupted: the best so far' : ''}`,
    `height ${size(height)}, most alive at once ${size(maxLive)}, ratio ${ratio.toFixed(3)}; ${quality}`,
  ];
  if (capacity !== null) {
    const missing = lowerBound > capacity ? 'does not fit' : 'no layout found';
    lines.push(`capacity ${size(capacity)}: ${fits ? 'fits' : missing}`);
  }
  if (out !== null) lines.push(`written to ${out}`);
  if (!fits) {
    // A table beyond the capacity that was asked for would be taken for one within it.
    const unwritten = asked === undefined ? '' : `nothing is written to ${asked}: `;
    lines.push(`${unwritten}--capacity ${height} takes the layout above`);
  }
  return `${lines.join('\n')}\n`;
}

/** In a thread: the search does not yield, and an interruption is to be answered with the best so far. */
function pack(
  buffers: readonly PackingBuffer[],
  capacity: number | undefined,
  seconds: number,
  signal: AbortSignal,
): Promise<Packing> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const task: PackTask = {
    blocks: buffers.map(({ lower, upper, size }) => ({ first: lower, last: upper - 1, bytes: size })),
    unit: buffers.reduce((unit, { size }) => greatestDivisor(unit, size), 0) || 1,
    capacity,
    endsAt: Date.now() + seconds * 1000,
    stop,
  };
  const onAbort = (): void => {
    Atomics.store(stop, 0, 1);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return new Promise<Packing>((resolve, reject) => {
    const worker = new Worker(join(packageRoot(), 'dist', 'workers', 'pack.node.js'), { workerData: task });
    worker.once('message', ({ packing }: PackReport) => resolve(packing));
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread of the search ended without an answer')));
  }).finally(() => signal.removeEventListener('abort', onAbort));
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));
