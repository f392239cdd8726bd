// The operator cases of ONNX for convolution, pooling, padding, interpolation and pixel blocks.
import { describe, expect, it } from 'vitest';
import { convOperators } from '../../../src/formats/onnx/operators/conv.ts';
import { poolOperators } from '../../../src/formats/onnx/operators/pool.ts';
import { resizeOperators } from '../../../src/formats/onnx/operators/resize.ts';
import { casesOf, differs, hasCases, runCase } from './operator-case.ts';

const operators = new Set(Object.keys({ ...convOperators, ...poolOperators, ...resizeOperators }));

/** Others test the operators of other files. */
const ours = casesOf(operators, ['Constant', 'Identity']);

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there for every operator that has some', () => {
    const covered = new Set(ours.flatMap(([, c]) => c.model.graph.nodes.map((n) => n.opType)));
    expect([...operators].filter((op) => !covered.has(op))).toEqual(['GlobalLpPool', 'LpPool']);
    expect(ours.length).toBeGreaterThan(100);
  });

  // Amounts, scales and sizes must be known at import.
  describe.each(['rest', 'all'] as const)('with constants: %s', (constants) => {
    it.each(ours)('%s', (_, c) => {
      expect(differs(runCase(c, { constants }), c, 1e-4, 1e-6)).toBeUndefined();
    });
  });
});
