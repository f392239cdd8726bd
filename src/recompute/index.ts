/** Computing forward values again for the backward pass instead of keeping them. */
export { type Blocks, blocksOf } from './blocks.ts';
export { BackwardTable, type ForwardPlan, forwardPlans, type RecomputeChain } from './chain.ts';
export { type RecomputeChoice, type RecomputeMode, recomputeModes, type StageRecompute } from './choice.ts';
export { cutRecompute } from './cut.ts';
export { type RuledStage, type StageOption, StageOptions, stageOptions } from './optimal.ts';
export { withRecompute } from './rewrite.ts';
export { selectiveRecompute } from './selective.ts';
export { sqrtRecompute } from './sqrt.ts';
export { type StageForward, stageForwards } from './stage-forward.ts';
export { recomputedStages, type StageReport } from './stage-report.ts';
export { type Weight, weigh } from './weigh.ts';
