import { GraphError } from '../../core/errors.ts';
import { isOpName, type OpName } from '../../ops/index.ts';
import type { Lowered, LowerRule, NodeSignature } from '../kernel-call.ts';
import { attentionRules } from './attention.ts';
import { basicRules } from './basic.ts';
import { elementwiseRules } from './elementwise.ts';
import { lowerFused } from './fused.ts';
import { indexingRules } from './indexing.ts';
import { nnRules } from './nn.ts';
import { normRules } from './norm.ts';
import { recurrentRules } from './recurrent.ts';
import { updateRules } from './updates.ts';
import { windowRules } from './window.ts';

/** How every op becomes kernel calls on the WebAssembly backend. An op without a rule does not compile. */
const rules: Readonly<Record<OpName, LowerRule>> = {
  ...attentionRules,
  ...basicRules,
  ...elementwiseRules,
  fused: lowerFused,
  ...indexingRules,
  ...nnRules,
  ...normRules,
  ...recurrentRules,
  ...updateRules,
  ...windowRules,
};

export function lowerForWasm(node: NodeSignature): Lowered {
  if (!isOpName(node.op)) throw new GraphError('unknown-op', `no op is named ${node.op}`, { fields: { op: node.op } });
  return rules[node.op](node);
}
