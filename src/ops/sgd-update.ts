import { require } from '../graph/op-record.ts';
import { requireNonNegative, updateOp } from './update-record.ts';

export type SgdAttrs = {
  /** Keeps a buffer; how much of it is `hyper`'s to say. */
  readonly momentum: boolean;
  readonly dampening: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
};

export const sgdState = ({ momentum }: Pick<SgdAttrs, 'momentum'>): readonly string[] => (momentum ? ['momentum'] : []);

const plain: SgdAttrs = { momentum: false, dampening: 0, nesterov: false, weightDecay: 0 };
const heavy: SgdAttrs = { ...plain, momentum: true };

export const sgdUpdateOp = updateOp<SgdAttrs>({
  name: 'sgdUpdate',
  doc: "torch.optim.SGD: d = factor·g + weightDecay·w; buf' = first ? d : momentum·buf + (1 − dampening)·d; w' = w − lr·(nesterov ? d + momentum·buf' : buf'); without momentum w' = w − lr·d. Inputs w, g, [buf], hyper = [lr], with a buffer [lr, first (1 on the first step, else 0), momentum], [factor]; outputs w', [buf'].",
  state: sgdState,
  hyper: ({ momentum }) => (momentum ? ['lr', 'first', 'momentum'] : ['lr']),
  check: ({ momentum, dampening, nesterov, weightDecay }) => {
    requireNonNegative('weightDecay', weightDecay);
    require(!nesterov || (momentum && dampening === 0), 'nesterov needs a momentum and no dampening');
  },
  element: (w, g, [buf], [lr, first, momentum], attrs) => {
    const d = g + attrs.weightDecay * w;
    if (!attrs.momentum) return [w - lr! * d];
    const next = first ? d : momentum! * buf! + (1 - attrs.dampening) * d;
    return [w - lr! * (attrs.nesterov ? d + momentum! * next : next), next];
  },
  flops: ({ momentum, nesterov, weightDecay }) =>
    2 + (momentum ? 3 : 0) + (nesterov ? 2 : 0) + (weightDecay === 0 ? 0 : 2),
  range: () => ({}),
  samples: [
    { name: 'plain', attrs: plain, hyper: [0.1] },
    { name: 'weight decay', attrs: { ...plain, weightDecay: 0.01 }, hyper: [0.1] },
    { name: 'clipped, weight decay', attrs: { ...plain, weightDecay: 0.5 }, hyper: [0.1], factor: 0.25 },
    { name: 'momentum, first step', attrs: { ...heavy, dampening: 0.25 }, hyper: [0.05, 1, 0.9] },
    { name: 'momentum, dampening', attrs: { ...heavy, dampening: 0.25 }, hyper: [0.05, 0, 0.9] },
    {
      name: 'nesterov, weight decay, clipped',
      attrs: { ...heavy, nesterov: true, weightDecay: 0.1 },
      hyper: [0.05, 0, 0.75],
      factor: 0.5,
    },
  ],
  badAttrs: [
    { attrs: { ...plain, nesterov: true }, message: 'nesterov needs a momentum' },
    { attrs: { ...heavy, nesterov: true, dampening: 0.1 }, message: 'nesterov needs a momentum and no dampening' },
    { attrs: { ...plain, weightDecay: -1 }, message: 'weightDecay must not be negative, got -1' },
  ],
});
