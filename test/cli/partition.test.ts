import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { partita, workFolder } from './run.ts';

const graphFile = fileURLToPath(new URL('../../examples/placement/graph.json', import.meta.url));
const profileFile = fileURLToPath(new URL('../../examples/placement/profile.txt', import.meta.url));
const instance = fileURLToPath(
  new URL('../partition/instances/operator-graphs/layer/bert24_training.json', import.meta.url),
);
const onnxFile = fileURLToPath(new URL('../oracle/cases/training/mlp_sgd/model.onnx', import.meta.url));

async function json(args: readonly string[], folder = workFolder()) {
  const { code, stdout, stderr } = await partita(folder, ['partition', ...args, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

async function refused(args: readonly string[], folder = workFolder()) {
  const { code, stdout, stderr } = await partita(folder, ['partition', ...args, '--json']);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return { exit: code, ...JSON.parse(stdout).error };
}

describe('partition', () => {
  it('places an operator graph: published optimum, all nodes of the file', async () => {
    const result = await json([instance, '--contiguous', '--compare']);
    expect(result).toMatchObject({
      version: 1,
      command: 'partition',
      gap: 0,
      method: 'ideals',
      load: 'sum',
      contiguous: true,
    });
    expect(result.objective).toBeCloseTo(41.7458, 4);
    expect(result.lowerBound).toBe(result.objective);
    expect(Object.keys(result.assignment)).toHaveLength(64);
    expect(new Set(Object.values(result.assignment))).toEqual(new Set([0, 1, 2, 3, 4, 5]));
    expect(result.compared.map((c: { method: string }) => c.method)).toEqual([
      'pipedream',
      'blocks',
      'parameters',
      'equal',
      'single',
    ]);
    expect(result.compared.at(-1).objective).toBeCloseTo(217.813, 3);
  });

  it('names CPUs, and lets them stand anywhere', async () => {
    const { assignment, devices, objective } = await json([graphFile, '--cpus', '1', '--contiguous']);
    expect(objective).toBe(34.25);
    expect(Object.values(assignment)).toContain('cpu0');
    expect(devices.map((d: { name: unknown }) => d.name)).toEqual([0, 1, 2, 'cpu0']);
    expect(devices[3].capacityBytes).toBeNull();
  });

  it('places a layer profile, in its own unit', async () => {
    const args = [profileFile, '--devices', '3', '--link-bandwidth', '5e9', '--contiguous'];
    expect(await json(args)).toMatchObject({ objective: 14.8, unit: 'ms', load: 'max', gap: 0 });
    // Without a bandwidth transfers are free.
    const { devices } = await json([profileFile, '--devices', '6', '--contiguous']);
    expect(Math.max(...devices.map((d: { load: number }) => d.load))).toBeCloseTo(12.3, 9);
  });

  it('places experiments and ONNX models by predicted times', async () => {
    const folder = workFolder();
    const experiment = { model: { kind: 'mlp', hidden: [8, 8], inputs: 4, classes: 3 }, devices: 3, microbatches: 2 };
    writeFileSync(join(folder, 'e.json'), JSON.stringify(experiment));
    const trained = await json(['e.json', '--contiguous'], folder);
    expect(trained).toMatchObject({ unit: 's', gap: 0, format: 'training step of mlp' });
    expect(trained.devices).toHaveLength(3);
    const forward = await json([onnxFile, '--devices', '2', '--contiguous'], folder);
    expect(forward.format).toMatch(/^forward pass/);
    expect(forward.objective).toBeGreaterThan(0);
  });

  it('prints loads, bound and baselines', async () => {
    const { code, stdout } = await partita(workFolder(), ['partition', graphFile, '--contiguous', '--compare']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/largest load 49 \(optimal\) by ideals/);
    expect(stdout).toMatch(/^device 1 .*█{30}.*720 B of 900 B$/m);
    expect(stdout).toMatch(/^single +not possible/m);
  });

  it('refuses what does not fit, with the memory that would do', async () => {
    const error = await refused([graphFile, '--contiguous', '--memory', '799']);
    expect(error).toMatchObject({ exit: 1, code: 'placement-does-not-fit', leastCapacityBytes: 800 });
    expect(error.remedy).toMatch(/^--memory 800/);
    await json([graphFile, '--contiguous', '--memory', '800']);
  });

  it.each([
    ['no file', ['none.json'], 2, 'file-not-found'],
    ['a method that is none', [graphFile, '--method', 'ideal'], 2, 'command-line'],
    ['a bandwidth beside costs', [graphFile, '--link-bandwidth', '1e9'], 2, 'command-line'],
    ['CPUs of a profile', [profileFile, '--cpus', '1'], 2, 'no-cpu-times'],
    ['a batch of a profile', [profileFile, '--batch', '4'], 2, 'command-line'],
    ['no devices', [graphFile, '--devices', '0'], 2, 'no-devices'],
    ['a memory that is none', [graphFile, '--memory', 'much'], 2, 'memory-size'],
    ['a flag that is none', [graphFile, '--microbatches', '4'], 2, 'command-line'],
    ['no graph', [], 2, 'command-line'],
  ])('refuses %s', async (_, args, exit, code) => {
    expect(await refused(args)).toMatchObject({ exit, code });
  });

  it('refuses an experiment that cannot be read as every command does', async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 'twice.json'), '{"model": {"kind": "mlp"}, "devices": 2, "devices": 3}');
    writeFileSync(join(folder, 'cut.json'), '{"model": {"kind": "mlp"}, "devices": ');
    writeFileSync(join(folder, 'graph.json'), '{"nodes": [], "edges": [], "edges": []}');
    expect(await refused(['twice.json'], folder)).toMatchObject({ exit: 2, code: 'experiment-json', key: 'devices' });
    expect(await refused(['cut.json'], folder)).toMatchObject({ exit: 2, code: 'experiment-json' });
    expect(await refused(['graph.json'], folder)).toMatchObject({ exit: 1, code: 'graph-json', key: 'edges' });
  });

  it('refuses files that are neither', async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 'a.json'), '{"nodes": [');
    writeFileSync(join(folder, 'b.txt'), 'hello');
    expect(await refused(['a.json'], folder)).toMatchObject({ exit: 1, code: 'graph-json' });
    expect(await refused(['b.txt'], folder)).toMatchObject({ exit: 1, code: 'layer-profile' });
  });
});
