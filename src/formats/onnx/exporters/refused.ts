/** Ops that are no part of a model's forward graph. */
import { type ExportTable, none, random } from './exporter.ts';

const training = 'it belongs to a training step';
const wholeBatch = `${training}: its statistics are those of all microbatches`;

export const refusedExporters = {
  accumulate: none(`${training}: it adds microbatches`),
  adadeltaUpdate: none(`${training}: it updates a parameter`),
  adagradUpdate: none(`${training}: it updates a parameter`),
  adamUpdate: none(`${training}: it updates a parameter`),
  clipFactor: none(`${training}: it clips gradients`),
  accumulateMoments: none(`${training}: it merges statistics of microbatches`),
  batchNormWithMoments: none(wholeBatch),
  batchNormWithMomentsInputGrad: none(wholeBatch),
  channelMoments: none(wholeBatch),
  dropout: none(random),
  dropoutMask: none(random),
  fused: none('it is a chain of other ops in one pass: export the graph that a plan was made of'),
  rmspropUpdate: none(`${training}: it updates a parameter`),
  runningAverage: none(`${training}: it updates running statistics`),
  joinMoments: none(wholeBatch),
  runningMoments: none(`${training}: it updates running statistics`),
  sgdUpdate: none(`${training}: it updates a parameter`),
} satisfies Partial<ExportTable>;
