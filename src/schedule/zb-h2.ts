import { type Interleaving, interleavedRows } from './interleave.ts';
import type { Rule } from './placed.ts';

/**
 * Zero bubble H2 (Qi et al., ICLR 2024, §2.3): twice the warm-up, 2(p − r) − 1 forwards on device r, and weight gradients
 * 2r microbatches behind. No bubble in the steady state where F = B = W, and every device holds 2p − 1 microbatches.
 *
 *     device 0  F0 F1 F2 F3 F4 B0 W0 F5 B1 W1 B2 W2 B3 W3 B4 W4 B5 W5 .. ..
 *     device 1  .. F0 F1 F2 B0 F3 B1 F4 B2 W0 F5 B3 W1 B4 W2 B5 W3 W4 W5 ..
 *     device 2  .. .. F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 W0 F5 B5 W1 W2 W3 W4 W5
 */
export const interleavingH2: Interleaving = { hop: 2, weightDelay: (r) => 2 * r };

export const zbH2: Rule = {
  name: 'zb-h2',
  placement: 'straight',
  stagesPerDevice: 1,
  rows: (stages, devices, M) => interleavedRows(stages, devices, M, interleavingH2),
};
