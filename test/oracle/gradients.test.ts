import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost } from '../../src/graph/evaluate.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { CaseFiles, type GradientCase } from './case-files.ts';
import { casePath, gradientModel } from './experiments.ts';
import { bytesOf, type Layout, planOn, using } from './layouts.ts';
import { feedsOf } from './reference.ts';
import { expectAll, type Tolerance } from './tolerance.ts';

// Gradients of whole models against PyTorch's: first by the op records' references in f64, then on devices, where every
// layout with the same number of microbatches must also give the same bytes and the memory that was planned.

const audited = new Set([
  'expr',
  'cnn_5x5',
  'd2l_mlp_tanh_nobias',
  'd2l_mlp_relu_bias',
  'ops_softmax',
  'ops_broadcast',
]);
const threaded = new Set(['expr', 'cnn_5x5', 'ops_broadcast', 'gpt_mini', 'resnet_block']);

/** Auditing reads all memory around every instruction: for small cases and few microbatches. */
function layoutsOf(name: string, microbatches: number): Layout[] {
  const local = { transport: 'local', audit: audited.has(name) && microbatches <= 4 } as const;
  return [
    { devices: 1, schedule: '1f1b', options: { transport: 'local' } },
    { devices: 1, schedule: 'gpipe', options: { transport: 'local' } },
    { devices: 3, schedule: 'gpipe', options: local },
    { devices: 3, schedule: '1f1b', options: local },
    ...(threaded.has(name) ? [{ devices: 3, schedule: '1f1b', options: { transport: 'threads' } } as const] : []),
  ];
}

const toleranceOf =
  ({ tolerance }: GradientCase) =>
  (name: string): Tolerance => ({
    rtol: tolerance.rtol,
    atol: tolerance.tensors[name]?.atol ?? tolerance.atol_default,
  });

/** Where microbatches change what is computed (BatchNorm), the case has other values for each of their numbers. */
function expectedFor(files: CaseFiles<GradientCase>, microbatches: number) {
  const { batchnorm_changes_result: changes, expected_per_count: perCount } = files.json.microbatch;
  const file = changes && microbatches > 1 ? perCount[microbatches] : 'expected.safetensors';
  return file === undefined ? undefined : files.raw(file);
}

function planFor(files: CaseFiles<GradientCase>, name: string, microbatches: number, layout: Layout): Plan {
  const { json } = files;
  return planOn(layout, {
    model: gradientModel(`gradients/${name}`, modelFile(json, microbatches), json),
    programs: { grad: { batch: json.microbatch.batch_size ?? 1, mode: 'gradients', outputs: true } },
    microbatches,
    l2: json.l2 ?? undefined,
    inputGradients: true,
  });
}

/** A file whose fixed sizes have the batch baked in is cut by its twin with a symbolic batch. */
const modelFile = ({ microbatch }: GradientCase, microbatches: number): string =>
  microbatch.static_graph_rebatchable === false && microbatches > 1 ? 'model_dynamic.onnx' : 'model.onnx';

/** Plays the whole training graph in f64, each result rounded once. */
function reference(files: CaseFiles<GradientCase>, name: string): Map<string, HostTensor> {
  const { json } = files;
  const model = gradientModel(`gradients/${name}`, 'model.onnx', json).build(json.microbatch.batch_size ?? 1);
  const fetch = { outputs: true, gradients: true, inputGradients: true };
  const graph = buildTrainingGraph(model, { l2: json.l2 ?? undefined, fetch });
  const feeds = feedsOf(graph, files.tensors('inputs.safetensors'), json.microbatch.batch_size ?? 1);
  const values = evaluate([...graph.outputs.values()], feeds);
  return new Map([...graph.outputs.keys()].map((output, i) => [output, toHost(values[i]!)]));
}

const names = readdirSync(casePath('gradients', ''));
const cases = new Map(names.map((name) => [name, new CaseFiles<GradientCase>(`gradients/${name}`)]));

describe.each(names)('gradients of %s', (name) => {
  const files = cases.get(name)!;
  const { json } = files;
  const tolerance = toleranceOf(json);

  it('in f64 are PyTorch’s', () => {
    const actual = reference(files, name);
    // f64 on both sides leaves the rounding of constants to f32: far less than what f32 runs are allowed.
    expectAll(actual, files.raw('expected.safetensors'), (key) => {
      const { atol, rtol } = tolerance(key);
      return { atol: atol / 100, rtol: rtol! / 100 };
    });
    const gradients = [...actual.keys()].filter((key) => key.startsWith('grad/'));
    expect(gradients.sort()).toEqual(json.parameters.map((p) => `grad/${p.name}`).sort());
  });

  it.each([...json.microbatch.counts])('on devices, %i microbatches', async (microbatches) => {
    const batch = files.tensors('inputs.safetensors');
    const expected = expectedFor(files, microbatches);
    let bytes: string[] | undefined;
    const plans = new Map<string, Plan>();
    for (const layout of layoutsOf(name, microbatches)) {
      const key = `${layout.schedule} on ${layout.devices}`;
      const plan = plans.get(key) ?? planFor(files, name, microbatches, layout);
      plans.set(key, plan);
      const { results } = await using(plan, layout.options, (session) => session.run('grad', batch));
      if (expected) expectAll(results, expected, tolerance);
      bytes ??= bytesOf(results);
      expect(bytesOf(results)).toEqual(bytes);
    }
  });
});
