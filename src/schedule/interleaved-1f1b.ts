import { type Interleaving, interleavedRows } from './interleave.ts';
import type { Rule } from './placed.ts';

/**
 * 1F1B with v stages a device, looped (Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters,
 * 2021, §2.2): a v-th of the bubble, for v times the messages. Device r of p runs (v − 1)·p + 2(p − 1 − r) forwards before
 * it alternates. Megatron wants M to be a multiple of p; here the groups of microbatches may be uneven.
 *
 *     device 0  0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 ..  2B2 ..  2B3 0B2 0B3
 *     device 1  ..  1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3 ..
 */
export const interleaving1f1b: Interleaving = { hop: 2 };

export const interleaved1f1b: Rule = {
  name: 'interleaved-1f1b',
  placement: 'looped',
  stagesPerDevice: 2,
  rows: (stages, devices, M) => interleavedRows(stages, devices, M, interleaving1f1b),
};
