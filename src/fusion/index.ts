/** Elementwise nodes that follow each other, as one pass over memory. */
export { type Fused, fuseElementwise } from './fuse.ts';
export { fusionGroups, mayFuse } from './groups.ts';
