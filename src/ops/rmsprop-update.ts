import { requireNonNegative, updateOp } from './update-record.ts';

export type RmspropAttrs = {
  readonly alpha: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Keeps a buffer; how much of it is `hyper`'s to say. */
  readonly momentum: boolean;
  /** Divide by the gradient's standard deviation instead of its root mean square. */
  readonly centered: boolean;
};

export const rmspropState = ({
  momentum,
  centered,
}: Pick<RmspropAttrs, 'momentum' | 'centered'>): readonly string[] => [
  'squareAvg',
  ...(centered ? ['gradAvg'] : []),
  ...(momentum ? ['momentum'] : []),
];

const plain: RmspropAttrs = { alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: false, centered: false };

export const rmspropUpdateOp = updateOp<RmspropAttrs>({
  name: 'rmspropUpdate',
  doc: "torch.optim.RMSprop: d = factor·g + weightDecay·w; v' = alpha·v + (1 − alpha)·d²; a' = alpha·a + (1 − alpha)·d if centered; s = d / (√(centered ? max(v' − a'², 0) : v') + eps), a variance that rounding makes negative counting as 0 (PyTorch: NaN); with momentum s = buf' = momentum·buf + s; w' = w − lr·s. Inputs w, g, v (squareAvg), [a (gradAvg)], [buf], hyper = [lr], with a buffer [lr, momentum], [factor]; outputs w', v', [a'], [buf'].",
  state: rmspropState,
  hyper: ({ momentum }) => (momentum ? ['lr', 'momentum'] : ['lr']),
  check: ({ alpha, eps, weightDecay }) => {
    requireNonNegative('alpha', alpha);
    requireNonNegative('eps', eps);
    requireNonNegative('weightDecay', weightDecay);
  },
  element: (w, g, [v, ...more], [lr, momentum], { alpha, eps, weightDecay, momentum: hasBuffer, centered }) => {
    const d = g + weightDecay * w;
    const v1 = alpha * v! + (1 - alpha) * d * d;
    const average = centered ? [alpha * more[0]! + (1 - alpha) * d] : [];
    const variance = centered ? Math.max(v1 - average[0]! ** 2, 0) : v1;
    const scaled = d / (Math.sqrt(variance) + eps);
    const step = hasBuffer ? momentum! * more.at(-1)! + scaled : scaled;
    return [w - lr! * step, v1, ...average, ...(hasBuffer ? [step] : [])];
  },
  flops: ({ weightDecay, momentum, centered }) =>
    9 + (weightDecay === 0 ? 0 : 2) + (centered ? 6 : 0) + (momentum ? 2 : 0),
  // Mean squares above the squares of the means, as those of real gradients.
  range: (state) =>
    state === 'squareAvg' ? { low: 0.5, high: 1 } : state === 'gradAvg' ? { low: -0.5, high: 0.5 } : {},
  samples: [
    { name: 'plain', attrs: plain, hyper: [0.01] },
    { name: 'weight decay, clipped', attrs: { ...plain, weightDecay: 0.3 }, hyper: [0.1], factor: 0.25 },
    { name: 'momentum', attrs: { ...plain, alpha: 0.9, momentum: true }, hyper: [0.1, 0.8] },
    { name: 'centered', attrs: { ...plain, alpha: 0.9, centered: true }, hyper: [0.1] },
    {
      name: 'centered, momentum, eps large enough to tell where it is added',
      attrs: { ...plain, alpha: 0.7, eps: 0.05, centered: true, momentum: true },
      hyper: [0.1, 0.8],
    },
  ],
  badAttrs: [
    { attrs: { ...plain, alpha: -1 }, message: 'alpha must not be negative, got -1' },
    { attrs: { ...plain, eps: -1 }, message: 'eps must not be negative, got -1' },
  ],
});
