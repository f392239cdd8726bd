import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { experiment, makePlan } from '../../src/index.ts';
import type { ModelConfig } from '../../src/nn/models/index.ts';

interface Row {
  readonly name: string;
  readonly model: ModelConfig;
  readonly batch: number;
  readonly parameters: number;
  readonly total: number;
}
const { rows } = JSON.parse(readFileSync(new URL('../../bench/torch-memory.json', import.meta.url), 'utf8')) as {
  rows: readonly Row[];
};

// What an eager step of PyTorch keeps, as bench/torch-memory.py found it; ours is everything that a step needs.
it.each(rows)(
  '$name, batch $batch: parameters are PyTorch’s, and the peak is no higher than what its step keeps',
  (row) => {
    const { model, batch, parameters, total } = row;
    const parsed = experiment.parseExperiment({ model, optimizer: { kind: 'adam' } }, 'test');
    const prepared = experiment.prepareExperiment(parsed, { where: 'test', needsData: false, batch });
    const plan = makePlan(experiment.planRequestOf(prepared, 'train'));
    const { persistent, peakBytes } = plan.memory[0]!;
    const own = persistent.filter((p) => plan.graphs.train!.parameters.some((t) => t.name === p.name));
    expect(own.reduce((sum, p) => sum + p.bytes, 0)).toBe(parameters);
    expect(peakBytes / total).toBeLessThanOrEqual(1);
  },
);
