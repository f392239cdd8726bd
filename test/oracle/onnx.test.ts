import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CaseFiles, type GradientCase } from './case-files.ts';
import { casePath, gradientExperiment, gradientsOf } from './experiments.ts';
import { bytesOf, type Layout } from './layouts.ts';
import { expectAll, type Tolerance } from './tolerance.ts';

// The other exports of the models of gradients.test.ts: with a symbolic batch, in an older version of the operators. And what
// a file with fixed sizes says where they cannot be changed.

const layouts: readonly Layout[] = [
  { devices: 1, schedule: '1f1b', options: { transport: 'local' } },
  { devices: 3, schedule: '1f1b', options: { transport: 'local' } },
];

const names = readdirSync(casePath('gradients', '')).filter((name) =>
  existsSync(casePath(`gradients/${name}`, 'model_dynamic.onnx')),
);

describe.each(names)('%s.onnx', (name) => {
  const folder = `gradients/${name}`;
  const files = new CaseFiles<GradientCase>(folder);
  const { microbatch, tolerance } = files.json;
  const toleranceOf = (key: string): Tolerance => ({
    rtol: tolerance.rtol,
    atol: tolerance.tensors[key]?.atol ?? tolerance.atol_default,
  });
  const buffers = existsSync(casePath(folder, 'buffers_after.safetensors')) ? 'buffers_after.safetensors' : undefined;
  const rebatchable = microbatch.static_graph_rebatchable !== false;
  const models = ['model.onnx', 'model_dynamic.onnx', 'model_opset13.onnx'].filter(
    (m) => existsSync(casePath(folder, m)) && (m !== 'model.onnx' || !rebatchable),
  );

  it.each(models.flatMap((model) => microbatch.counts.map((microbatches) => ({ model, microbatches }))))(
    '$model, $microbatches microbatches',
    async ({ model, microbatches }) => {
      const differs = microbatch.batchnorm_changes_result && microbatches > 1;
      const file = differs ? microbatch.expected_per_count[microbatches] : 'expected.safetensors';
      if (model !== 'model_dynamic.onnx' && microbatches > 1 && !rebatchable) {
        const experiment = { ...gradientExperiment(folder, model, files.json), microbatches };
        await expect(gradientsOf(experiment, { transport: 'local' })).rejects.toMatchObject({
          code: 'onnx-batch-size',
          fields: { node: expect.stringContaining('Reshape'), fileBatch: microbatch.batch_size },
        });
        return;
      }
      let bytes: string[] | undefined;
      for (const { devices, schedule, options } of layouts) {
        const experiment = { ...gradientExperiment(folder, model, files.json), devices, schedule, microbatches };
        const results = await gradientsOf(experiment, options);
        if (file) expectAll(results, files.raw(file), toleranceOf);
        if (buffers && microbatches === 1) expectAll(results, files.raw(buffers), toleranceOf);
        bytes ??= bytesOf(results);
        expect(bytesOf(results)).toEqual(bytes);
      }
    },
  );

  // Batch statistics of the whole batch: whatever the microbatches, the values are those of one.
  it.each(microbatch.batchnorm_changes_result ? microbatch.counts : [])(
    'batchNorm exact is PyTorch’s whole batch, %i microbatches',
    async (microbatches) => {
      const experiment = gradientExperiment(folder, 'model_dynamic.onnx', files.json);
      let bytes: string[] | undefined;
      for (const devices of [1, 3]) {
        const results = await gradientsOf(
          { ...experiment, devices, schedule: undefined, microbatches, batchNorm: 'exact' },
          { transport: 'local', audit: microbatches <= 2 },
        );
        expectAll(results, files.raw('expected.safetensors'), toleranceOf);
        expectAll(results, files.raw('buffers_after.safetensors'), toleranceOf);
        bytes ??= bytesOf(results);
        expect(bytesOf(results)).toEqual(bytes);
      }
    },
  );
});
