import { describe, expect, it } from 'vitest';
import { GraphError } from '../../src/core/errors.ts';
import { formatType } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import { TypeRuleError } from '../../src/graph/op-record.ts';
import { type OpName, recordOf, records } from '../../src/ops/index.ts';

const names = Object.keys(records) as OpName[];

describe('op records', () => {
  it('stand in the table under their own names, in alphabetical order', () => {
    expect(names.map((name) => recordOf(name).name)).toEqual(names);
    expect([...names].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))).toEqual(names);
  });

  it.each(names)('%s says what it is, and can be tested', (name) => {
    const record = recordOf(name);
    expect(record.doc.length).toBeGreaterThan(20);
    expect(record.samples.length).toBeGreaterThan(0);
    expect(record.badSamples.length).toBeGreaterThan(0);
  });

  it.each(names)('%s: costs are counts', (name) => {
    const record = recordOf(name);
    for (const sample of record.samples) {
      const inputs = sample.inputs.map(({ dtype = 'f32', shape }) => ({ dtype, shape }));
      const { flops, bytes } = record.cost(inputs, record.infer(inputs, sample.attrs), sample.attrs);
      expect(Number.isInteger(flops) && flops >= 0, `flops ${flops}`).toBe(true);
      expect(Number.isInteger(bytes) && (bytes > 0 || record.alias), `bytes ${bytes}`).toBe(true);
    }
  });

  it.each(names)('%s refuses its bad samples', (name) => {
    const record = recordOf(name);
    for (const bad of record.badSamples) {
      const infer = () => record.infer(bad.inputs, bad.attrs);
      expect(infer).toThrow(TypeRuleError);
      expect(infer).toThrow(bad.message);

      const graph = new Graph();
      const inputs = bad.inputs.map((type, i) => graph.input(`x${i}`, { ...type, batchAxis: null }));
      try {
        graph.add(record, inputs, bad.attrs);
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(GraphError);
        const { message, fields } = error as GraphError;
        expect(message).toContain(`${name}(${bad.inputs.map(formatType).join(', ')})`);
        expect(fields).toMatchObject({ op: name, shapes: bad.inputs.map((t) => t.shape) });
      }
    }
  });
});
