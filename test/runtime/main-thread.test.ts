import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { onBusyMachines } from '../support/busy.ts';
import { needs } from '../support/system.ts';

const built = pathToFileURL(join(import.meta.dirname, '../../dist/index.js')).href;

/**
 * Trains on two devices, each held for 50 ms in every step, in a process of its own, where nobody else's threads count; by the
 * system's account of each thread. Then nobody asks for a step for a second.
 */
const script = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { Graph, losses, makeOptimizer, makePlan, nn, Session, train } from '${built}';
  const model = {
    name: 'two layers',
    build(batch) {
      const graph = new Graph();
      const y = nn.linear(nn.linear(graph.input('x', { shape: [batch, 4] }), 8, { name: 'first' }), 2, { name: 'second' });
      return { graph, objective: [{ loss: losses.mse(y, graph.input('t', { shape: [batch, 2] })), weight: 1 }] };
    },
  };
  const wasm = { backend: 'wasm', memory: null, speed: 1 };
  const plan = makePlan({
    model,
    programs: { train: { batch: 8, mode: 'train' } },
    microbatches: 2,
    devices: [wasm, wasm],
    partition: { cuts: ['second'] },
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
  });
  const [begin, end] = [4, 24];
  const delays = Array.from({ length: end + 2 }, (_, step) => ({ kind: 'delay', step, instruction: 0, seconds: 0.05 }));
  const session = await Session.open(plan, { audit: false, faults: { 0: delays, 1: delays } });
  const zeros = (shape) => ({ type: { dtype: 'f32', shape }, data: new Float32Array(shape[0] * shape[1]) });
  const tensors = { x: zeros([8, 4]), t: zeros([8, 2]) };
  const data = { name: 'made up', steps: Infinity, stepsPerEpoch: end, batchAt: (step) => ({ epoch: 0, step, tensors }) };
  const account = () => new Map(readdirSync('/proc/self/task').map((thread) =>
    [thread, readFileSync('/proc/self/task/' + thread + '/schedstat', 'latin1').split(' ').map((n) => Number(n) / 1e9)]));
  // Of the time for which a thread had a core or wanted none: others take cores from it, and a host gives way to its devices.
  const shareOf = ([ran, waited], [ranBefore, waitedBefore], seconds) =>
    (ran - ranBefore) / (seconds - (waited - waitedBefore));
  const main = String(process.pid);
  let [before, started, share, stepSeconds] = [[0, 0], 0, 0, 0];
  for await (const { step } of train({ session, data, steps: end })) {
    if (step === begin) [before, started] = [account().get(main), performance.now()];
    if (step !== end - 1) continue;
    const took = (performance.now() - started) / 1000;
    [share, stepSeconds] = [shareOf(account().get(main), before, took), took / (end - 1 - begin)];
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  const asleep = account();
  const slept = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const idleSeconds = (performance.now() - slept) / 1000;
  const idle = [...account()].map(([thread, now]) => shareOf(now, asleep.get(thread) ?? [0, 0], idleSeconds));
  // Those who were idle are there still.
  const { seconds: last } = await session.run('train', tensors, { step: end + 1 });
  await session.close();
  console.log(JSON.stringify({ share, stepSeconds, idle, last }));
`;

it('the host sleeps while devices compute, and devices while nobody asks for a step', onBusyMachines, (context) => {
  needs(context, existsSync('/proc/self/schedstat'), "Linux's account of threads (/proc/PID/task/TID/schedstat)");
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, PARTITA_AUDIT: '0' },
    encoding: 'utf8',
    timeout: 60_000,
  });
  const { stepSeconds, share, idle, last } = JSON.parse(out.trim().split('\n').at(-1)!) as {
    readonly stepSeconds: number;
    readonly share: number;
    readonly idle: readonly number[];
    readonly last: number;
  };
  expect(stepSeconds).toBeGreaterThan(0.04);
  expect(last).toBeGreaterThan(0.04);
  // A host that looked on all the time would have 1.
  expect(share).toBeLessThan(0.25);
  // The host, two devices and whoever helps them.
  expect(idle.length).toBeGreaterThan(2);
  expect(Math.max(...idle)).toBeLessThan(0.3);
});
