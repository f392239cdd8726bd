// The operator cases of ONNX for arithmetic, comparisons, logic, casts and activations: by the graph, and by host and graph.
import { describe, expect, it } from 'vitest';
import { activations } from '../../../src/formats/onnx/operators/activations.ts';
import { elementwise } from '../../../src/formats/onnx/operators/elementwise.ts';
import { caseNames, differs, hasCases, type OperatorCase, readCase, runCase } from './operator-case.ts';

const operators = new Set(Object.keys({ ...elementwise, ...activations }));

/** Cases that are not held to their outputs, with the reason; a case of another kind that fails is a fault. */
const exceptions: readonly (readonly [names: RegExp, why: string])[] = [
  [/STRING/, 'no tensor of a graph holds strings'],
  [/BFLOAT16/, 'the files hold the bits of bfloat16 as UINT16'],
];

/** Cases whose nodes are all ours (or constants): others test the operators of other files. */
const ours = !hasCases
  ? []
  : caseNames().flatMap((name): [string, OperatorCase][] => {
      if (exceptions.some(([names]) => names.test(name))) return [];
      try {
        const c = readCase(name);
        const { nodes } = c.model.graph;
        const made = nodes.every((n) => operators.has(n.opType) || ['Constant', 'Identity'].includes(n.opType));
        return made && nodes.some((n) => operators.has(n.opType)) ? [[name, c]] : [];
      } catch {
        return []; // sequences and such, which belong to no tensor operator
      }
    });

describe.runIf(hasCases)('ONNX operator cases', () => {
  it('are there for every operator that has some', () => {
    const covered = new Set(ours.flatMap(([, c]) => c.model.graph.nodes.map((n) => n.opType)));
    // Operators younger than the cases (opset 17 and before), which the graphs below test.
    expect([...operators].filter((op) => !covered.has(op))).toEqual(['Gelu', 'Mish']);
    expect(ours.length).toBeGreaterThan(200);
  });

  describe.each(['none', 'integers', 'all'] as const)('with constants: %s', (constants) => {
    it.each(ours)('%s', (_, c) => {
      expect(differs(runCase(c, { constants }), c)).toBeUndefined();
    });
  });
});
