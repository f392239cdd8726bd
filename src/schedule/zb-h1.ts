import { type Interleaving, interleavedRows } from './interleave.ts';
import type { Rule } from './placed.ts';

/**
 * Zero bubble H1 (Qi et al., Zero Bubble Pipeline Parallelism, ICLR 2024, §2.2): 1F1B with the backward split. Weight
 * gradients, for which nobody waits, stay r microbatches behind on device r and fill the gaps: a third of 1F1B's bubble
 * where F = B = W, with no device above the p microbatches that 1F1B's first one holds.
 *
 *     device 0  F0 F1 F2 .. .. B0 W0 F3 B1 W1 F4 B2 W2 B3 W3 B4 W4
 *     device 1  .. F0 F1 .. B0 F2 B1 W0 F3 B2 W1 F4 B3 W2 B4 W3 W4
 *     device 2  .. .. F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 F4 B4 W2 W3 W4
 */
export const interleavingH1: Interleaving = { hop: 1, weightDelay: (r) => r };

export const zbH1: Rule = {
  name: 'zb-h1',
  placement: 'straight',
  stagesPerDevice: 1,
  rows: (stages, devices, M) => interleavedRows(stages, devices, M, interleavingH1),
};
