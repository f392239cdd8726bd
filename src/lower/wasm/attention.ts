/** Lowering of attention without its matrix of weights to the WebAssembly kernels. */
import type { Shape } from '../../core/types.ts';
import { attentionMaskKinds, maskLayout, mostMasks } from '../../ops/attention-masks.ts';
import {
  type AttentionAttrs,
  type AttentionSizes,
  attentionSizes,
  dropoutMatrices,
  maskAndDraw,
  weightsShape,
} from '../../ops/attention-sizes.ts';
import { dropoutThreshold } from '../../ops/dropout.ts';
import { type Arg, input, type LowerRule, output, workspace } from '../kernel-call.ts';

/** Queries and keys a block, as in `workers/kernels/attentionBlocks.ts`. */
export const queryBlock = 64;
export const keyBlock = 256;
const gradientKeyBlock = 128;
/** No more queries than pay for packing keys. */
const fewQueries = 2;
/** Room for a whole tile, where ragged edges are computed. */
const edgeBytes = 128;
/** What the kernels keep of a step's dropout, and of masks. */
export const dropStateBytes = 48;
export const maskStateBytes = 64;

export const up16 = (n: number): number => Math.ceil(n / 16) * 16;

/**
 * Exact scratch bytes of the kernels: blocks, never all keys of all queries. The same formula as the WebAssembly module's
 * export, written again because lowering is pure: a test holds it to the export.
 */
export function attentionWorkspace(
  kind: 'attention' | 'attentionGrad',
  { queries, keys, size, valueSize }: Omit<AttentionSizes, 'samples' | 'heads'>,
  causal: boolean,
  { drops = false, masks = false }: { readonly drops?: boolean; readonly masks?: boolean } = {},
): number {
  const isGradient = kind === 'attentionGrad';
  const m = Math.min(queries, queryBlock);
  const seen = causal ? Math.min(queries, keys) : keys;
  const n = Math.min(seen, isGradient ? gradientKeyBlock : keyBlock);
  // From row to row of scores an odd number of cache lines.
  const scores = 4 * m * (up16(n) | 16);
  const states = (drops ? dropStateBytes : 0) + (masks ? maskStateBytes : 0);
  const factors = drops ? 4 * up16(n) : 0;
  if (queries <= fewQueries) {
    return states + up16(4 * m * size) + scores + up16(4 * m) + (isGradient ? scores + factors : up16(8 * m));
  }
  const shared = states + edgeBytes + up16(4 * m * size) + scores + up16(4 * m) + 4 * size * up16(n);
  if (!isGradient) return shared + 4 * n * up16(valueSize) + up16(8 * m);
  const panels = 4 * m * (up16(size) + up16(valueSize)) + 4 * valueSize * up16(n) + 4 * n * up16(size);
  return shared + scores + panels + factors;
}

/** A pointer that the kernels take for none. */
const none = -1;

/**
 * (sizes…, dropout's six numbers, five of each of two masks, q, k, v, what else the gradient takes, the masks, samples, key,
 * outputs…, workspace): zeros and no pointers where there is no dropout or mask.
 */
const attention =
  (kind: 'attention' | 'attentionGrad'): LowerRule =>
  ({ inputs, outputs, attrs: given }) => {
    const attrs = given as AttentionAttrs;
    const { causal, scale, layout, dropout, masks = [] } = attrs;
    const [q, k, v] = inputs.map((t) => t.shape) as [Shape, Shape, Shape];
    const sizes = attentionSizes(q, k, v, layout);
    const args: Arg[] = [sizes.samples, sizes.heads, sizes.queries, sizes.keys, sizes.size, sizes.valueSize];
    args.push(causal ? 1 : 0, scale);
    const first = kind === 'attention' ? 3 : 6;
    const behind = maskAndDraw(inputs, first, attrs);
    if (dropout) {
      const samples = behind.draw[0]!.shape[0]!;
      const { ratio, stream } = dropout;
      args.push(samples, dropoutMatrices(q, k, attrs, samples), ...stream);
      args.push(dropoutThreshold(ratio), 1 / (1 - ratio));
    } else {
      args.push(0, 0, 0, 0, 0, 0);
    }
    for (let i = 0; i < mostMasks; i++) {
      const mask = behind.masks[i];
      const at = mask && maskLayout(mask.shape, weightsShape(q, k, layout))!;
      args.push(at ? attentionMaskKinds.indexOf(masks[i]!) : 0, at?.inner ?? 1);
      args.push(at?.outerStep ?? 0, at?.innerStep ?? 0, at?.rowStep ?? 0);
    }
    const operand = (i: number, isThere: boolean): Arg => (isThere ? input(i) : none);
    for (let i = 0; i < first; i++) args.push(input(i));
    for (let i = 0; i < mostMasks; i++) args.push(operand(first + i, i < masks.length));
    for (let i = 0; i < 2; i++) args.push(operand(first + masks.length + i, !!dropout));
    args.push(...outputs.map((_, i) => output(i)), workspace());
    const has = { drops: !!dropout, masks: masks.length > 0 };
    return { calls: [{ kernel: kind, args }], workspaceBytes: attentionWorkspace(kind, sizes, causal, has) };
  };

export const attentionRules = {
  scaledDotProductAttention: attention('attention'),
  scaledDotProductAttentionGrad: attention('attentionGrad'),
} satisfies Readonly<Record<string, LowerRule>>;
