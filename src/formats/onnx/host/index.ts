/**
 * Evaluation of known values while a model is imported: exporters write out the arithmetic of shapes as nodes (Shape,
 * Gather, Concat, Reshape …), and a graph has its shapes before it has values.
 */
import { elementwise } from './elementwise.ts';
import type { HostRule } from './host.ts';
import { indexBy } from './index-by.ts';
import { make } from './make.ts';
import { move } from './move.ts';
import { reduce } from './reduce.ts';
import { sound } from './sound.ts';

export interface HostOperator {
  readonly rule: HostRule;
  /** Needs only the types of its inputs, so that they may be tensors of the graph, or asks itself for what it must know. */
  readonly onTypes: boolean;
}

const table: ReadonlyMap<string, HostRule> = new Map(
  [elementwise, make, move, indexBy, reduce, sound].flatMap((rules) => Object.entries(rules)),
);
const onTypes: ReadonlySet<string> = new Set(['Shape', 'Size', 'EyeLike', ...Object.keys(sound)]);

export function hostRuleOf(opType: string): HostOperator | undefined {
  const rule = table.get(opType);
  return rule && { rule, onTypes: onTypes.has(opType) };
}

/** Names of all operators that are evaluated where their inputs are known. */
export const hostOperatorNames = (): string[] => [...table.keys()].sort();
