// Every sample of every op, written to a file and run by onnxruntime: its outputs are the f64 reference's.
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../src/core/types.ts';
import { exportOnnx } from '../../../src/formats/onnx/export.ts';
import type { Exporter } from '../../../src/formats/onnx/exporters/exporter.ts';
import { exporters } from '../../../src/formats/onnx/exporters/index.ts';
import { evaluate, toReference } from '../../../src/graph/evaluate.ts';
import { Graph } from '../../../src/graph/graph.ts';
import { recordOf } from '../../../src/ops/index.ts';
import { firstDifference } from '../../conformance/compare.ts';
import { type Case, cases, drawCase } from '../../conformance/samples.ts';
import { runOnnx, skipped } from '../../support/onnxruntime.ts';

/** The op alone: its inputs fed, all of its outputs results. */
function graphOf({ op, sample }: Case) {
  const graph = new Graph();
  const inputs = sample.inputs.map(({ shape, dtype = 'f32' }, i) =>
    graph.input(`x${i}`, { dtype, shape, batchAxis: null }),
  );
  const outputs = graph.add(recordOf(op), inputs, sample.attrs, op);
  outputs.forEach((tensor, i) => void graph.output(`y${i}`, tensor, { batchAxis: null }));
  return { graph, inputs, outputs };
}

const nan = 'ONNX does not say where NaN stands, and onnxruntime compares it as it comes';

/** Samples that onnxruntime gives another value for than the record, and why; one that agrees after all fails. */
const differing: Readonly<Record<string, string>> = {
  'argMax: first of several NaN': nan,
  'argMax: last of several NaN': nan,
  'argMin: first of several NaN': nan,
  'argMin: last of several NaN': nan,
  'cast: f32 to i32': 'ONNX leaves floats beyond the integers undefined',
  'maxPool: NaN and −∞': nan,
  'maxPool: dilated, uneven padding': 'onnxruntime refuses padding as large as the window without its gaps',
  'pow: i32, column and row': 'onnxruntime computes integer powers in doubles, which do not wrap around',
  'scatterElements: max, ties and NaN': nan,
  'topK: ties and special values': nan,
  'topK: ties and special values, smallest': nan,
};

/** Samples that end the whole process: −2³¹ / −1 is a trap of the processor. */
const crashing = ['div', 'mod', 'fmod'].map((op) => `${op}: i32, wrapping around`);

/** Bounds wider than the record's, where onnxruntime is less exact. */
const wider: Readonly<Record<string, { readonly atol: number; readonly why: string }>> = {
  'elu: small negative values': { atol: 1e-7, why: 'Elu is computed as eˣ − 1' },
};

/** Refused as a whole, or with these attributes. */
const refusalOf = (c: Case): string | undefined => {
  const { graph } = graphOf(c);
  const node = graph.nodes.find((n) => n.op?.name === c.op)!;
  let exporter = exporters[c.op] as Exporter;
  const signature = {
    inputTypes: node.inputs.map((t) => t.type),
    outputTypes: node.outputs.map((t) => t.type),
    wants: () => true,
    opset: 17,
  };
  while (exporter.kind === 'choice') exporter = exporter.of(signature, node.attrs);
  return exporter.kind === 'none' ? exporter.why : undefined;
};

const exported = cases.filter((c) => refusalOf(c) === undefined && !crashing.includes(c.title));

describe.skipIf(skipped)('exported ops in onnxruntime', () => {
  it.each(exported.filter(({ title }) => !(title in differing)))('$title', async (c) => {
    await agree(c);
  });

  it.each(Object.entries(differing))('%s: differs, as %s', async (title) => {
    const found = exported.find((c) => c.title === title);
    expect(found).toBeDefined();
    await expect(agree(found!)).rejects.toThrow();
  });

  // Newer versions write reductions, and nothing else, in another way.
  it.each(
    exported.filter(({ op }) => exporters[op] === exporters.sum || ['max', 'mean', 'prod', 'logSumExp'].includes(op)),
  )('opset 19: $title', async (c) => {
    await agree(c, 19);
  });
});

describe('ops that are not exported', () => {
  it('some only with dropout', () => {
    const titles = cases
      .filter((c) => c.op.startsWith('scaledDotProductAttention') && refusalOf(c))
      .map((c) => c.title);
    expect(titles).toHaveLength(10);
    for (const title of titles) expect(title).toContain('dropped');
  });

  it.each(cases.filter((c) => refusalOf(c) !== undefined))('$title: refused by name, with the reason', (c) => {
    const why = refusalOf(c)!;
    expect(() => exportOnnx(graphOf(c).graph)).toThrow(
      expect.objectContaining({ code: 'onnx-export', fields: { problems: [{ node: c.op, op: c.op, why }] } }),
    );
  });
});

async function agree(c: Case, version?: number): Promise<void> {
  const { graph, inputs, outputs } = graphOf(c);
  const values = drawCase(c);
  const reference = evaluate(outputs, new Map(inputs.map((t, i) => [t, toReference(values[i]!)])));
  const feeds: Record<string, HostTensor> = Object.fromEntries(values.map((value, i) => [`x${i}`, value]));
  const opset = version ?? (/^(max|min)$/.test(String(c.sample.attrs.reduction)) ? 18 : 17);
  const results = await runOnnx(exportOnnx(graph, { opset, integers: 'INT32' }), feeds, 'int32');
  reference.forEach(({ type, data }, i) => {
    const result = results.get(`y${i}`)!;
    expect(result.shape).toEqual(type.shape);
    const { atol = 1e-6, rtol = 1e-5 } = { ...c.sample, ...wider[c.title] };
    expect(firstDifference(result.data, data, { atol, rtol })).toBeUndefined();
  });
}
