import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { CaseFiles, type TrainingCase } from '../oracle/case-files.ts';
import { trainingExperiment } from '../oracle/experiments.ts';
import { expectAll } from '../oracle/tolerance.ts';
import { partita, workFolder } from './run.ts';

// PyTorch's trainings through the command, as a user has them: a model, its data, an experiment, a result file.

const folder = workFolder();

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await partita(folder, args);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

function experiment(name: string, more: Record<string, unknown> = {}): string {
  const { json } = new CaseFiles<TrainingCase>(`training/${name}`);
  const file = `${name}.json`;
  writeFileSync(join(folder, file), JSON.stringify({ ...trainingExperiment(`training/${name}`, json), ...more }));
  return file;
}

function resultOf(file: string): Map<string, HostTensor> {
  const tensors = readSafetensors(readFileSync(join(folder, file)), file);
  return new Map([...tensors].map(([name, t]) => [name, toHostTensor(t, 'f32', name)]));
}

describe('partita train', () => {
  it.each(['mlp_sgd_momentum', 'mlp_adagrad', 'mlp_adadelta', 'mlp_rmsprop', 'mlp_adam_clip', 'mlp_adam_cosine'])(
    'makes PyTorch’s twenty steps of %s',
    async (name) => {
      const files = new CaseFiles<TrainingCase>(`training/${name}`);
      const { tolerance } = files.json;
      await run('train', experiment(name), '--devices', '3', '--microbatches', '2', '--out', `${name}.st`, '--quiet');
      const results = resultOf(`${name}.st`);
      const told = [...files.raw('expected.safetensors')].filter(([n]) => /^(loss|grad_norm|lr|final\/.*)$/.test(n));
      expectAll(results, new Map(told), (n) => {
        if (n === 'lr') return { atol: 0 };
        if (n === 'loss' || n === 'grad_norm') return tolerance[n];
        return { atol: tolerance.final.by_param![n.slice('final/'.length)]! };
      });
      expect([...results.keys()].sort()).toEqual(told.map(([n]) => n).sort());
    },
  );

  it('by a stored plan keeps clipping and the cycled momentum', async () => {
    const file = experiment('mlp_sgd', {
      steps: 6,
      learningRate: { kind: 'oneCycle', maxLr: 0.5, totalSteps: 6 },
      clip: { globalNorm: 0.2 },
      microbatches: 4,
    });
    await run('plan', file, '--devices', '2', '--plan-out', 'plan.json');
    await run('train', '--plan', 'plan.json', '--out', 'planned.st', '--run-dir', 'planned', '--quiet');
    await run('train', file, '--out', 'direct.st', '--quiet');
    const [planned, direct] = ['planned.st', 'direct.st'].map((name) => readFileSync(join(folder, name)));
    expect(planned!.equals(direct!)).toBe(true);
    const log = readFileSync(join(folder, 'planned', 'log.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const records = log.map((line) => JSON.parse(line) as { lr: number; momentum: number });
    expect(records[0]).toMatchObject({ lr: expect.closeTo(0.5 / 25, 12), momentum: expect.closeTo(0.95, 12) });
    expect(records.at(-1)).toMatchObject({
      lr: expect.closeTo(0.5 / 25 / 1e4, 12),
      momentum: expect.closeTo(0.95, 12),
    });
    expect(records.every((r) => r.momentum >= 0.85)).toBe(true);
    // Neither option is without effect.
    await run('train', file, '--out', 'unclipped.st', '--quiet', '--clip.globalNorm', '1e6');
    await run('train', file, '--out', 'uncycled.st', '--quiet', '--learningRate.cycleMomentum', 'false');
    for (const name of ['unclipped.st', 'uncycled.st']) {
      expect(readFileSync(join(folder, name)).equals(direct!)).toBe(false);
    }
    // What is clipped is still told as it was.
    expect(resultOf('unclipped.st').get('grad_norm')!.data[0]).toBe(resultOf('direct.st').get('grad_norm')!.data[0]);
  });

  it('shows the factor of clipping in the graph of the training step', async () => {
    const text = await run('graph', experiment('mlp_adam_clip'), '--mode', 'train');
    expect(text).toContain('clipFactor');
  });
});
