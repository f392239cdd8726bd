/** Experiments: the JSON file's description, and the way from it to a plan and its data. */
export { parseExperiment } from './parse.ts';
export { type PreparedExperiment, planRequestOf, prepareExperiment, readParameters } from './prepare.ts';
export { type Experiment, experimentSchema } from './schema.ts';
