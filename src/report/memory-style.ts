/** How pictures show memory: the categories' colours, bars of what a peak holds, and the unit that suits the largest value. */
import { categoryName, type PeakCategory, peakCategories } from '../memory/categories.ts';
import type { Spec } from './axes.ts';

/** By category: like the palette, with grey for padding. */
export const categoryColours = ['#0072B2', '#D55E00', '#E69F00', '#009E73', '#56B4E9', '#CC79A7', '#6B4C9A', '#BBBBBB'];

/** Of lines that say what a device has. */
export const capacityColour = '#B00020';

export function byteUnit(most: number): { unit: string; divisor: number } {
  if (most >= 2 ** 30) return { unit: 'GiB', divisor: 2 ** 30 };
  if (most >= 2 ** 20) return { unit: 'MiB', divisor: 2 ** 20 };
  return { unit: 'KiB', divisor: 2 ** 10 };
}

/** Values of a peak's bar: a part a category, in `divisor` bytes. */
export const peakParts = (bytes: Readonly<Record<PeakCategory, number>>, divisor: number) =>
  peakCategories.map((c, order) => ({ category: categoryName(c), order, bytes: bytes[c] / divisor }));

/** The bars of values that hold `peakParts`, with what more there is to say of their axis. */
export const peakBars = (axis: Spec): Spec => ({
  transform: [{ filter: 'isValid(datum.bytes)' }],
  mark: { type: 'bar' },
  encoding: {
    y: { field: 'bytes', type: 'quantitative', stack: 'zero', ...axis },
    color: {
      field: 'category',
      type: 'nominal',
      title: 'held at the peak',
      scale: { domain: peakCategories.map(categoryName), range: categoryColours },
    },
    order: { field: 'order', type: 'quantitative' },
  },
});
