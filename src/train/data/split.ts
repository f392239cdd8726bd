/** Holding out a part of the data for evaluation. */

import { UsageError } from '../../core/errors.ts';
import { requireArgument, requireKinds, shown } from '../../core/options.ts';
import { permutation } from '../../core/random.ts';
import { type Dataset, type Split, subset } from './dataset.ts';

/**
 * Holds out round(fraction · size) samples chosen by the seed, at least one and not all; both parts keep the data's order.
 * A data set whose samples overlap (text) is cut by position instead.
 */
export function holdOut(dataset: Dataset, fraction: number, seed: number): Split {
  const isSet = typeof dataset?.batch === 'function';
  requireArgument('holdOut', isSet, 'a data set', dataset, "holdOut(openDataset({ kind: 'digits' }), 0.1, 0)");
  requireKinds('holdOut', { fraction: ['figure', fraction], seed: ['index', seed] });
  if (!(fraction > 0 && fraction < 1)) {
    throw new UsageError('split-fraction', `the held-out fraction must lie between 0 and 1, not ${shown(fraction)}`, {
      fields: { fraction },
      remedy: '0.1',
    });
  }
  requireKinds('holdOut', { 'dataset.size': ['index', dataset.size] });
  if (dataset.holdOut) return dataset.holdOut(fraction);
  if (dataset.size < 2) {
    throw new UsageError('split-size', `${dataset.name}: ${dataset.size} samples cannot be split`, {
      fields: { dataset: dataset.name, size: dataset.size },
      remedy: 'give a data set of two samples or more',
    });
  }
  const count = Math.min(Math.max(Math.round(dataset.size * fraction), 1), dataset.size - 1);
  const order = permutation(seed, 'split', dataset.size);
  return {
    train: subset(dataset, order.slice(count).sort(), `${dataset.name} (train)`),
    heldOut: subset(dataset, order.slice(0, count).sort(), `${dataset.name} (held out)`),
  };
}
