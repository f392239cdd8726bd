// Every sample of every op, written to a file and run by onnxruntime: its outputs are the f64 reference's.
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../src/core/types.ts';
import { exportOnnx } from '../../../src/formats/onnx/export.ts';
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

const exported = cases.filter(({ op }) => exporters[op].kind !== 'none');

describe.skipIf(skipped)('exported ops in onnxruntime', () => {
  it.each(exported)('$title', async (c) => {
    const { graph, inputs, outputs } = graphOf(c);
    const values = drawCase(c);
    const reference = evaluate(outputs, new Map(inputs.map((t, i) => [t, toReference(values[i]!)])));
    const feeds: Record<string, HostTensor> = Object.fromEntries(values.map((value, i) => [`x${i}`, value]));
    const opset = /^(max|min)$/.test(String(c.sample.attrs.reduction)) ? 18 : 17;
    const results = await runOnnx(exportOnnx(graph, { opset, integers: 'INT32' }), feeds, 'int32');
    reference.forEach(({ type, data }, i) => {
      const result = results.get(`y${i}`)!;
      expect(result.shape).toEqual(type.shape);
      const { atol = 1e-6, rtol = 1e-5 } = c.sample;
      expect(firstDifference(result.data, data, { atol, rtol })).toBeUndefined();
    });
  });
});
