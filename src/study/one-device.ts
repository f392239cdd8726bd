import type { Experiment } from '../train/experiment/schema.ts';

/** The same training without anything that says how, and not what, to compute. */
export const onOneDevice = (experiment: Experiment): Experiment => ({
  ...experiment,
  links: undefined,
  devices: 1,
  partition: 'auto',
  schedule: undefined,
  stagesPerDevice: undefined,
});
