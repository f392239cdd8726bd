/** How pictures show memory: the categories' names and colours, and the unit that suits the largest value. */
import { memoryCategories } from '../program/instruction.ts';

export const categoryNames: Readonly<Record<string, string>> = {
  optimizerState: 'optimizer state',
  savedActivations: 'saved activations',
};
export const categories = [...memoryCategories, 'padding' as const];
/** Like the palette, with grey for padding. */
export const categoryColours = ['#0072B2', '#D55E00', '#E69F00', '#009E73', '#56B4E9', '#CC79A7', '#6B4C9A', '#BBBBBB'];

/** Of lines that say what a device has. */
export const capacityColour = '#B00020';

export function byteUnit(most: number): { unit: string; divisor: number } {
  if (most >= 2 ** 30) return { unit: 'GiB', divisor: 2 ** 30 };
  if (most >= 2 ** 20) return { unit: 'MiB', divisor: 2 ** 20 };
  return { unit: 'KiB', divisor: 2 ** 10 };
}
