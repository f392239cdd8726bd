/**
 * Physical quantities in files. Any that a machine could have fits; what is beyond all machines is a slip of the hand, and would
 * make times that are no finite number.
 */
import { number, type Schema } from './schema.ts';

const LEAST = 1e-30;
const MOST = 1e30;

interface About {
  readonly doc?: string;
  readonly default?: number;
}

/** Of something a second, or a factor: above 0. */
export const rate = (about: About = {}): Schema<number> =>
  number({
    above: 0,
    ...about,
    check: (value) => (value >= LEAST && value <= MOST ? undefined : `a number from ${LEAST} to ${MOST}`),
  });

/** A time, or an amount of work: from 0. */
export const amount = (about: About = {}): Schema<number> =>
  number({ min: 0, ...about, check: (value) => (value <= MOST ? undefined : `a number from 0 to ${MOST}`) });
