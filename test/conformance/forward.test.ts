import { beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { toReference } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { recordOf } from '../../src/ops/index.ts';
import { firstDifference, stored } from './compare.ts';
import { backendKinds, Executor } from './executor.ts';
import { cases, drawCase } from './samples.ts';

describe.each(backendKinds)('forward on %s', (kind) => {
  let executor: Executor;
  beforeAll(async () => {
    executor = await Executor.create(kind);
  });

  it.each(cases)('$title', (c) => {
    const record = recordOf(c.op);
    const graph = new Graph();
    const values = drawCase(c);
    const feeds = new Map<Tensor, HostTensor>();
    const inputs = values.map((value, i) => {
      const tensor = graph.input(`x${i}`, { dtype: value.type.dtype, shape: value.type.shape, batchAxis: null });
      feeds.set(tensor, value);
      return tensor;
    });
    const outputs = graph.add(record, inputs, c.sample.attrs);
    const types = outputs.map((t) => t.type);
    const expected = record.reference(values.map(toReference), c.sample.attrs, types);
    const results = executor.run(outputs, feeds);
    results.forEach((result, i) => {
      const reference = { type: types[i]!, data: expected[i]! };
      // Within a chain the reference device rounds as its ops one by one would, which a test of their own holds to the bit.
      const exact = (kind === 'reference' && c.op !== 'fused') || types[i]!.dtype !== 'f32';
      const tolerance = exact ? { atol: 0, rtol: 0 } : { atol: c.sample.atol ?? 1e-6, rtol: c.sample.rtol ?? 1e-5 };
      const wanted = exact ? stored(reference).data : reference.data;
      expect(firstDifference(result.data, wanted, tolerance), `output ${i}`).toBeUndefined();
    });
  });
});
