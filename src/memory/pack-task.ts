import type { Block } from './greedy-layout.ts';
import type { Packing } from './pack-blocks.ts';

/** What the thread of `workers/pack.node.ts` is given. */
export interface PackTask {
  readonly blocks: readonly Block[];
  readonly unit: number;
  readonly capacity: number | undefined;
  /** When the search stops, in milliseconds since 1970. */
  readonly endsAt: number;
  /** One word on shared memory: not 0 stops the search. */
  readonly stop: Int32Array;
}

/** Its only message. */
export interface PackReport {
  readonly packing: Packing;
}
