// Updates against f64, for every length of the tail, with and without clipping, as lowering calls them.
import { describe, expect, it } from 'vitest';
import type { OpRecord } from '../../src/graph/op-record.ts';
import { lowerForWasm } from '../../src/lower/wasm/index.ts';
import { recordOf } from '../../src/ops/index.ts';
import { type Arg, expectClose, f32, normal, run } from './harness.ts';

const sizes = [1, 2, 3, 4, 7, 21];

/** Values of a sample's inputs with n elements: state that is squares stays positive. */
function valuesOf(op: OpRecord, sample: OpRecord['samples'][number], n: number): Float32Array[] {
  const tensors = op.infer(
    sample.inputs.map((t) => ({ dtype: 'f32', shape: t.shape })),
    sample.attrs,
  ).length;
  return sample.inputs.map(({ values, low = -1, high = 1 }, i) => {
    if (i > tensors) return Float32Array.from(values!);
    return normal(n, i + 1).map((v) => low + ((high - low) * (1 + Math.tanh(v))) / 2);
  });
}

describe.each(['sgdUpdate', 'adamUpdate', 'adagradUpdate', 'adadeltaUpdate', 'rmspropUpdate'] as const)(
  '%s',
  (name) => {
    const op = recordOf(name);
    it.each(op.samples.flatMap((sample) => sizes.map((n) => [sample.name!, n, sample] as const)))(
      '%s, %i elements',
      (_, n, sample) => {
        const values = valuesOf(op, sample, n);
        const inputs = values.map((_, i) => ({
          dtype: 'f32' as const,
          shape: sample.inputs[i]!.values ? sample.inputs[i]!.shape : [n],
        }));
        const outputs = op.infer(inputs, sample.attrs);
        const { calls } = lowerForWasm({ op: name, inputs, outputs, attrs: sample.attrs });
        expect(calls).toHaveLength(1);
        // Outputs lie where their inputs do.
        const owner = new Map(op.inPlace);
        const args = calls[0]!.args.map((arg): Arg => {
          if (typeof arg === 'number') return arg;
          return 'output' in arg
            ? { inout: values[owner.get(arg.output)!]! }
            : { in: values[(arg as { input: number }).input]! };
        });
        const reference = op.reference(
          values.map((v, i) => ({ type: inputs[i]!, data: Float64Array.from(v) })),
          sample.attrs,
          outputs,
        );
        const got = run(calls[0]!.kernel, ...args);
        // In the order of the kernel's arguments: the weight, then the state.
        const order = calls[0]!.args.flatMap((arg) => (typeof arg === 'object' && 'output' in arg ? [arg.output] : []));
        expect(order).toHaveLength(reference.length);
        for (const [i, output] of order.entries()) expectClose(got[i]!, [...reference[output]!], 1e-5, 1e-6);
      },
    );
  },
);

describe('clipFactor', () => {
  it('is PyTorch’s factor, and NaN where the norm is', () => {
    const factor = (squares: number[], most: number) =>
      run('clipFactor', squares.length, { in: Float32Array.from(squares) }, f32(1), most)[0]![0];
    expect(factor([9, 16], 2.5)).toBe(Math.fround(2.5 / (5 + 1e-6)));
    expect(factor([9, 16], 5.1)).toBe(1);
    expect(factor([0], 1e-7)).toBe(Math.fround(0.1));
    expect(factor([1, Number.NaN], 1)).toBeNaN();
    expect(factor([1, Number.POSITIVE_INFINITY], 1)).toBe(0);
  });
});
