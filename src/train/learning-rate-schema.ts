/** The options of each rule of the rate: what an experiment file and `makeLearningRate` take, with ranges and defaults. */
import { boolean, choice, integer, list, number, union } from '../core/schema.ts';

const steps = (doc: string) => integer({ min: 1, doc });
const totalSteps = steps('steps of the whole schedule');
export const learningRateSchema = union(
  {
    constant: {},
    step: {
      stepSize: steps('steps between two reductions'),
      gamma: number({ above: 0, default: 0.1, doc: 'factor of a reduction' }),
    },
    cosine: {
      tMax: steps('steps down to the least rate'),
      etaMin: number({ min: 0, default: 0, doc: 'least rate' }),
    },
    warmupCosine: {
      warmupSteps: integer({ min: 0, doc: 'steps of linear warm-up' }),
      totalSteps,
      minRatio: number({ min: 0, max: 1, default: 0, doc: 'least rate over lr' }),
    },
    oneCycle: {
      maxLr: number({ min: 0, doc: "highest rate; takes the place of the optimizer's lr" }),
      totalSteps,
      pctStart: number({ min: 0, max: 1, default: 0.3, doc: 'part of the steps in which the rate rises' }),
      divFactor: number({ above: 0, default: 25, doc: 'maxLr over the first rate' }),
      finalDivFactor: number({ above: 0, default: 1e4, doc: 'first rate over the last' }),
      anneal: choice(['cos', 'linear'], { default: 'cos', doc: 'along half a cosine or a line' }),
      cycleMomentum: boolean({ default: true, doc: 'momentum (of adam: beta1) falls while the rate rises' }),
      baseMomentum: number({ min: 0, below: 1, default: 0.85, doc: 'least momentum' }),
      maxMomentum: number({ min: 0, below: 1, default: 0.95, doc: 'largest momentum' }),
    },
    values: { values: list(number({ min: 0 }), { minLength: 1, doc: 'one rate a step' }) },
  },
  { fallback: 'constant', default: {}, doc: 'how the rate changes from step to step' },
);
