/** Words by themselves: the help of the command names them, and loads nothing that obeys them. */
export const batchNormModes = ['micro', 'deferred', 'exact'] as const;

/**
 * - `micro`: each microbatch is normalised by its own statistics; running statistics follow them one after the other.
 * - `deferred`: the same, but running statistics follow those of the whole batch, once a step (torchgpipe's
 *   DeferredBatchNorm; Kim et al., "torchgpipe", 2020).
 * - `exact`: all microbatches are normalised by the statistics of the whole batch, as without microbatches. They wait for
 *   each other at every such layer, forwards and backwards.
 */
export type BatchNormMode = (typeof batchNormModes)[number];
