import { type Interleaving, interleavedRows } from './interleave.ts';
import type { Rule } from './placed.ts';

/**
 * Zero bubble H1 (Qi et al., Zero Bubble Pipeline Parallelism, ICLR 2024, §2.2): 1F1B with the backward split. Weight
 * gradients, for which nobody waits, stay r microbatches behind on device r and fill the gaps: a third of 1F1B's bubble
 * where F = B = W, with no device above the p microbatches that 1F1B's first one holds.
 *
 *     device 0  F0
 */
export const interleavingH1: Interleaving = { hop: 1, weightDelay: (r) => r };

export const zbH1: Rule = {
  name: 'zb-h1',
  placement: 'straight',
  stagesPerDevice: 1,
  rows: (stages, devices, M) => interleavedRows(stages, devices, M, interleavingH1),
};
