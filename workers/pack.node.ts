// What the thread of `partita pack` runs: the search does not yield, so it has a thread of its own, and signals are heard.
import { parentPort, workerData } from 'node:worker_threads';
import { packBlocks } from '../src/memory/pack-blocks.ts';
import type { PackReport, PackTask } from '../src/memory/pack-task.ts';

const { blocks, unit, capacity, endsAt, stop } = workerData as PackTask;
const shouldStop = (): boolean => Date.now() >= endsAt || Atomics.load(stop, 0) !== 0;
const report: PackReport = { packing: packBlocks(blocks, { unit, capacity, shouldStop }) };
parentPort!.postMessage(report);
