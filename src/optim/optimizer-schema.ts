/** The options of each optimizer: what an experiment file and `makeOptimizer` take, with ranges and defaults. */
import { boolean, list, number, optional, string, union } from '../core/schema.ts';

const lr = (value: number) => number({ min: 0, default: value, doc: 'learning rate' });
const weightDecay = (value: number) => number({ min: 0, default: value, doc: 'weight decay' });
const momentum = () => number({ min: 0, default: 0, doc: 'momentum' });
const eps = (value: number) => number({ min: 0, default: value, doc: 'added to the denominator' });
const noDecay = optional(list(string(), { doc: 'parameters without weight decay' }));
const adam = (decay: number) => ({
  lr: lr(1e-3),
  betas: list(number({ min: 0, below: 1 }), {
    default: [0.9, 0.999],
    doc: 'decay of the running means',
    check: (v) => (v.length === 2 ? undefined : 'two numbers'),
  }),
  eps: eps(1e-8),
  weightDecay: weightDecay(decay),
  amsgrad: boolean({ default: false, doc: 'use the largest second moment so far' }),
  noDecay,
});
export const optimizerSchema = union(
  {
    sgd: {
      lr: lr(0.1),
      momentum: momentum(),
      dampening: number({ default: 0, doc: 'dampening of the momentum' }),
      nesterov: boolean({ default: false, doc: "Nesterov's momentum" }),
      weightDecay: weightDecay(0),
      noDecay,
    },
    adagrad: {
      lr: lr(1e-2),
      lrDecay: number({ min: 0, default: 0, doc: 'step t, from 1, takes lr / (1 + (t − 1)·lrDecay)' }),
      weightDecay: weightDecay(0),
      initialAccumulatorValue: number({ min: 0, default: 0, doc: 'first value of the sums of squares' }),
      eps: eps(1e-10),
      noDecay,
    },
    adadelta: {
      lr: lr(1),
      rho: number({ min: 0, max: 1, default: 0.9, doc: 'decay of the running means' }),
      eps: number({ min: 0, default: 1e-6, doc: 'added under both roots' }),
      weightDecay: weightDecay(0),
      noDecay,
    },
    rmsprop: {
      lr: lr(1e-2),
      alpha: number({ min: 0, default: 0.99, doc: 'decay of the running means' }),
      eps: eps(1e-8),
      weightDecay: weightDecay(0),
      momentum: momentum(),
      centered: boolean({ default: false, doc: "divide by the gradient's standard deviation" }),
      noDecay,
    },
    adam: adam(0),
    adamw: adam(1e-2),
  },
  { fallback: 'sgd', default: {}, doc: "PyTorch's optimizers" },
);
