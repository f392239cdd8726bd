import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toHost, toReference } from '../../src/graph/evaluate.ts';
import type { Graph, Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { buildTrainingGraph } from '../../src/optim/training-graph.ts';
import { makePlan, type Plan, type PlanRequest } from '../../src/plan/plan.ts';
import { Session, type SessionOptions } from '../../src/train/session.ts';
import { toHex } from '../support/models.ts';
import { CaseFiles, type GradientCase } from './case-files.ts';
import { gradientGraphs, gradientModel } from './graphs.ts';
import { expectAll, type Tolerance } from './tolerance.ts';

// Gradients of whole models against PyTorch's: first by the op records' references in f64, then on devices, where every
// layout with the same number of microbatches must also give the same bytes and the memory that was planned.

interface Setting {
  /** More devices than nodes cannot be used. */
  readonly devices?: number;
  readonly audit?: boolean;
  readonly threads?: boolean;
}

const settings: Readonly<Record<string, Setting>> = {
  expr: { audit: true, threads: true },
  cnn_5x5: { audit: true, threads: true },
  d2l_mlp_tanh_nobias: { audit: true },
  d2l_mlp_relu_bias: { audit: true },
  ops_softmax: { audit: true },
  ops_broadcast: { audit: true, threads: true },
  conv_zoo_pool: { audit: true },
  gpt_mini: { threads: true },
};

interface Layout {
  readonly devices: number;
  readonly schedule: 'gpipe' | '1f1b';
  readonly options: SessionOptions;
}

function layoutsOf({ devices = 3, audit = false, threads = false }: Setting): Layout[] {
  const local = { transport: 'local', audit } as const;
  return [
    { devices: 1, schedule: '1f1b', options: local },
    { devices: 1, schedule: 'gpipe', options: { transport: 'local' } },
    { devices, schedule: 'gpipe', options: local },
    { devices, schedule: '1f1b', options: local },
    ...(threads ? [{ devices, schedule: '1f1b', options: { transport: 'threads' } } as const] : []),
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
  const request: PlanRequest = {
    model: gradientModel(name, files, gradientGraphs[name]!),
    programs: { grad: { batch: json.microbatch.batch_size ?? 1, mode: 'gradients', outputs: true } },
    microbatches,
    schedule: layout.schedule,
    partition: 'auto',
    devices: Array.from({ length: layout.devices }, () => ({ backend: 'wasm', memory: null, speed: 1 }) as const),
    l2: json.l2 ?? undefined,
    inputGradients: true,
  };
  return makePlan(request);
}

async function run(plan: Plan, batch: Readonly<Record<string, HostTensor>>, options: SessionOptions) {
  await using session = await Session.open(plan, options);
  const { results } = await session.run('grad', batch);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return results;
}

/** Plays the whole training graph in f64, each result rounded once. */
function reference(files: CaseFiles<GradientCase>, name: string): Map<string, HostTensor> {
  const { json } = files;
  const model = gradientModel(name, files, gradientGraphs[name]!).build(json.microbatch.batch_size ?? 1);
  const fetch = { outputs: true, gradients: true, inputGradients: true };
  const graph = buildTrainingGraph(model, { l2: json.l2 ?? undefined, fetch });
  const feeds = feedsOf(graph, files.tensors('inputs.safetensors'), json.microbatch.batch_size ?? 1);
  const values = evaluate([...graph.outputs.values()], feeds);
  return new Map([...graph.outputs.keys()].map((output, i) => [output, toHost(values[i]!)]));
}

function feedsOf(graph: Graph, batch: Readonly<Record<string, HostTensor>>, size: number): Map<Tensor, RefTensor> {
  const scalar = (value: number): RefTensor => ({ type: { dtype: 'f32', shape: [] }, data: Float64Array.of(value) });
  const feeds = new Map<Tensor, RefTensor>();
  for (const input of graph.sources('input')) {
    const { feed, name } = input.node.source!;
    if (feed!.kind === 'data') feeds.set(input, toReference(batch[name]!));
    else if (feed!.kind === 'inverseElements') feeds.set(input, scalar(1 / (feed!.perSample * size)));
    else if (feed!.kind === 'inverseCount') feeds.set(input, scalar(1 / batch[feed!.target]!.data.length));
  }
  for (const parameter of graph.parameters) {
    const { init } = parameter.node.source!;
    if (init?.kind === 'data') feeds.set(parameter, toReference({ type: parameter.type, data: init.data }));
  }
  return feeds;
}

const names = Object.keys(gradientGraphs);
const cases = new Map(names.map((name) => [name, new CaseFiles<GradientCase>(`gradients/${name}`)]));

describe.each(names)('gradients of %s', (name) => {
  const files = cases.get(name)!;
  const { json } = files;
  const tolerance = toleranceOf(json);

  it('in f64 are PyTorch’s', () => {
    const actual = reference(files, name);
    expectAll(actual, files.raw('expected.safetensors'), tolerance);
    const gradients = [...actual.keys()].filter((key) => key.startsWith('grad/'));
    expect(gradients.sort()).toEqual(json.parameters.map((p) => `grad/${p.name}`).sort());
  });

  it.each([...json.microbatch.counts])('on devices, %i microbatches', async (microbatches) => {
    const batch = files.tensors('inputs.safetensors');
    const expected = expectedFor(files, microbatches);
    let bytes: string[] | undefined;
    for (const layout of layoutsOf(settings[name] ?? {})) {
      const results = await run(planFor(files, name, microbatches, layout), batch, layout.options);
      if (expected) expectAll(results, expected, tolerance);
      const hex = [...results].map(([key, t]) => `${key} ${toHex(t)}`).sort();
      bytes ??= hex;
      expect(hex).toEqual(bytes);
    }
  });
});
