import { type Interleaving, interleavedRows } from './interleave.ts';
import type { Rule } from './placed.ts';

/**
 * Zero bubble H2 (Qi et al., ICLR 2024, §2.3): twice the warm-up, 2(p − r) − 1 forwards on device r, and weight gradients
 * 2r microbatches behind. No bubble in the steady state where F = B = W, and every device holds 2p − 1 microbatches.
 *
 *     device 0  F0
 */
export const interleavingH2: Interleaving = { hop: 2, weightDelay: (r) => 2 * r };

export const zbH2: Rule = {
  name: 'zb-h2',
  placement: 'straight',
  stagesPerDevice: 1,
  rows: (stages, devices, M) => interleavedRows(stages, devices, M, interleavingH2),
};
