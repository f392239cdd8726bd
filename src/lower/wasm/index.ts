import { GraphError } from '../../core/errors.ts';
import { isOpName, type OpName } from '../../ops/index.ts';
import type { Lowered, LowerRule, NodeSignature } from '../kernel-call.ts';
import { basicRules } from './basic.ts';
import { nnRules } from './nn.ts';
import { windowRules } from './window.ts';

/** How every op becomes kernel calls on the WebAssembly backend. An op without a rule does not compile. */
const rules: Readonly<Record<OpName, LowerRule>> = { ...basicRules, ...nnRules, ...windowRules };

export function lowerForWasm(node: NodeSignature): Lowered {
  if (!isOpName(node.op)) throw new GraphError('unknown-op', `no op is named ${node.op}`, { fields: { op: node.op } });
  return rules[node.op](node);
}
