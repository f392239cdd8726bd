import { memoryCategories } from '../program/instruction.ts';

/** What a device's peak is made of: what its bytes are for, and the gaps between them. Together they are the peak. */
export const peakCategories = [...memoryCategories, 'padding'] as const;
export type PeakCategory = (typeof peakCategories)[number];

const names: Readonly<Partial<Record<string, string>>> = {
  optimizerState: 'optimizer state',
  savedActivations: 'saved activations',
};

/** In words. */
export const categoryName = (category: string): string => names[category] ?? category;
