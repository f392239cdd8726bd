/** Lowering of attention without its matrix of weights to the WebAssembly kernels. */
import type { Shape } from '../../core/types.ts';
import { type AttentionAttrs, type AttentionSizes, attentionSizes, dropoutMatrices } from '../../ops/attention.ts';
import { dropoutThreshold } from '../../ops/dropout.ts';
import { type Arg, input, type LowerRule, output, workspace } from '../kernel-call.ts';
import { gemmWorkspace } from './workspace.ts';

/** Keys a block, as in `workers/kernels/attention.ts`. */
export const keyBlock = 256;
/** The most queries a block, of so many. */
const queryBlock = (queries: number, causal: boolean): number =>
  Math.min(queries, !causal || queries > 256 ? 64 : queries > 64 ? 32 : 16);
/** What the kernels keep of a step's mask. */
export const dropStateBytes = 48;

export const up16 = (n: number): number => Math.ceil(n / 16) * 16;

/**
 * Exact scratch bytes of the kernels: blocks, never all keys of all queries. The same formula as the WebAssembly module's
 * export, written again because lowering is pure: a test holds it to the export.
 */
export function attentionWorkspace(
  kind: 'attention' | 'attentionGrad',
  { queries, keys, size, valueSize }: Omit<AttentionSizes, 'samples' | 'heads'>,
  causal: boolean,
  drops = false,
): number {
  const m = queryBlock(queries, causal);
  const n = Math.min(causal ? Math.min(queries, keys) : keys, keyBlock);
  const scores = up16(4 * m * n);
  const shared = (drops ? dropStateBytes : 0) + up16(4 * m * size) + scores + up16(4 * m);
  const products =
    kind === 'attention'
      ? [gemmWorkspace(m, n, size), gemmWorkspace(m, valueSize, n)]
      : [
          gemmWorkspace(m, n, Math.max(size, valueSize)),
          gemmWorkspace(n, Math.max(size, valueSize), m),
          gemmWorkspace(m, size, n),
        ];
  return shared + (kind === 'attention' ? up16(8 * m) : scores + (drops ? up16(4 * n) : 0)) + Math.max(...products);
}

/** (sizes…, dropout's numbers where there is any…, inputs…, outputs…, workspace). */
const attention =
  (kind: 'attention' | 'attentionGrad'): LowerRule =>
  ({ inputs, outputs, attrs }) => {
    const { causal, scale, layout, dropout } = attrs as AttentionAttrs;
    const [q, k, v] = inputs.map((t) => t.shape) as [Shape, Shape, Shape];
    const sizes = attentionSizes(q, k, v, layout);
    const args: Arg[] = [sizes.samples, sizes.heads, sizes.queries, sizes.keys, sizes.size, sizes.valueSize];
    args.push(causal ? 1 : 0, scale);
    if (dropout) {
      const samples = inputs.at(-2)!.shape[0]!;
      const { ratio, stream } = dropout;
      args.push(samples, dropoutMatrices(q, k, attrs as AttentionAttrs, samples), ...stream);
      args.push(dropoutThreshold(ratio), 1 / (1 - ratio));
    }
    args.push(...inputs.map((_, i) => input(i)), ...outputs.map((_, i) => output(i)), workspace());
    const kernel = dropout ? { attention: 'attentionDropout', attentionGrad: 'attentionDropoutGrad' }[kind] : kind;
    return { calls: [{ kernel, args }], workspaceBytes: attentionWorkspace(kind, sizes, causal, !!dropout) };
  };

export const attentionRules = {
  scaledDotProductAttention: attention('attention'),
  scaledDotProductAttentionGrad: attention('attentionGrad'),
} satisfies Readonly<Record<string, LowerRule>>;
