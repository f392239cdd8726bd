import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { createBackend } from '../../src/backends/create-backend.ts';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { median } from '../../src/core/statistics.ts';
import { SharedMemoryChannel } from '../../src/runtime/channel.ts';
import { Control } from '../../src/runtime/control.ts';
import { Device } from '../../src/runtime/device.ts';
import { createMemory } from '../../src/runtime/device-cluster.ts';
import { imagesOf } from '../../src/train/start-devices.ts';
import { planOf, threeLayers } from '../support/models.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** V8's smallest object has 16 bytes. */
const SMALLEST = 16;

/**
 * Bytes that one run allocates: the median over windows of a few runs, most of which no collection falls into. Code is compiled
 * before.
 */
async function allocated(run: () => void | Promise<void>, warmUp = 1000): Promise<number> {
  for (let i = 0; i < warmUp; i++) await run();
  const [windows, runs] = [41, 10];
  const bytes: number[] = [];
  collect();
  for (let w = 0; w < windows; w++) {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < runs; i++) await run();
    bytes.push((process.memoryUsage().heapUsed - before) / runs);
  }
  return median(bytes);
}

describe('a step allocates nothing', () => {
  it('for its instructions: less than half an object for each, report and all', async () => {
    const microbatches = 64;
    const plan = planOf(threeLayers, { batch: 2 * microbatches, microbatches, optimizer: { kind: 'adam' } });
    const program = plan.programs.train!;
    const control = Control.create(1);
    const memory = createMemory(0, { backend: 'wasm', bytes: plan.memory[0]!.peakBytes, capacity: null });
    const device = new Device({
      device: 0,
      memory,
      control,
      channel: new SharedMemoryChannel(control, 0, [memory]),
      backend: createBackend('wasm', { kernels: await kernelsModule(), memory }),
      poison: 'standard',
      audit: false,
      faults: [],
      now: () => performance.now(),
      exit: () => {},
    });
    device.attachStaging([new SharedArrayBuffer(program.feedBytes)], [new SharedArrayBuffer(program.resultBytes)]);
    device.load('train', imagesOf(plan, 'train', program)[0]!);
    const { instructions } = program.devices[0]!;
    expect(instructions.length).toBeGreaterThan(500);
    let step = 0;
    const bytes = await allocated(async () => {
      await device.step({ program: 'train', step: step++ });
    });
    expect(bytes).toBeLessThan((SMALLEST / 2) * instructions.length);
  });

  it('for what devices exchange', async () => {
    const control = Control.create(2);
    const memories = [0, 1].map(() => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
    const [from, to] = memories.map((_, d) => new SharedMemoryChannel(control, d, memories)) as [
      SharedMemoryChannel,
      SharedMemoryChannel,
    ];
    const messages = 200;
    const exchanges = Array.from({ length: messages }, (_, m) => [
      to.post(0),
      from.send(1, m, 0, 64, 16),
      to.receive(0, m),
    ]).flat();
    const bytes = await allocated(() => {
      from.startStep();
      to.startStep();
      for (let i = 0; i < exchanges.length; i++) void exchanges[i]!();
    });
    expect(bytes).toBeLessThan((SMALLEST / 2) * exchanges.length);
  });
});
