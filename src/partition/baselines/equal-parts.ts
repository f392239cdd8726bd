import { alongOrder } from './along-order.ts';

/** As many parts on each device as on any other. */
export const equalParts = alongOrder('equal', 'as many parts on each device as on any other', (_, order, stages) =>
  Array.from({ length: stages - 1 }, (_, s) => Math.round(((s + 1) * order.length) / stages)),
);
