/** Lowering of attention without its matrix of weights to the WebAssembly kernels. */
import { type AttentionAttrs, type AttentionSizes, attentionSizes } from '../../ops/attention.ts';
import { input, type LowerRule, output, workspace } from '../kernel-call.ts';
import { gemmWorkspace } from './workspace.ts';

/** Queries and keys a block, as in `workers/kernels/attention.ts`. */
export const queryBlock = 64;
export const keyBlock = 256;

export const up16 = (n: number): number => Math.ceil(n / 16) * 16;

/**
 * Exact scratch bytes of the kernels: blocks, never all keys of all queries. The same formula as the WebAssembly module's
 * export, written again because lowering is pure: a test holds it to the export.
 */
export function attentionWorkspace(
  kind: 'attention' | 'attentionGrad',
  { queries, keys, size, valueSize }: Omit<AttentionSizes, 'samples' | 'heads'>,
  causal: boolean,
): number {
  const m = Math.min(queries, queryBlock);
  const n = Math.min(causal ? Math.min(queries, keys) : keys, keyBlock);
  const scores = up16(4 * m * n);
  const shared = up16(4 * m * size) + scores + up16(4 * m);
  const products =
    kind === 'attention'
      ? [gemmWorkspace(m, n, size), gemmWorkspace(m, valueSize, n)]
      : [
          gemmWorkspace(m, n, Math.max(size, valueSize)),
          gemmWorkspace(n, Math.max(size, valueSize), m),
          gemmWorkspace(m, size, n),
        ];
  return shared + (kind === 'attention' ? up16(8 * m) : scores) + Math.max(...products);
}

const attention =
  (kernel: 'attention' | 'attentionGrad'): LowerRule =>
  ({ inputs, outputs, attrs }) => {
    const { causal, scale, layout } = attrs as AttentionAttrs;
    const [q, k, v] = inputs as [(typeof inputs)[number], (typeof inputs)[number], (typeof inputs)[number]];
    const sizes = attentionSizes(q.shape, k.shape, v.shape, layout);
    const args = [
      ...[sizes.samples, sizes.heads, sizes.queries, sizes.keys, sizes.size, sizes.valueSize, causal ? 1 : 0, scale],
      ...inputs.map((_, i) => input(i)),
      ...outputs.map((_, i) => output(i)),
      workspace(),
    ];
    return { calls: [{ kernel, args }], workspaceBytes: attentionWorkspace(kernel, sizes, causal) };
  };

export const attentionRules = {
  scaledDotProductAttention: attention('attention'),
  scaledDotProductAttentionGrad: attention('attentionGrad'),
} satisfies Readonly<Record<string, LowerRule>>;
