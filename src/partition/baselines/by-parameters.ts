import { cutChain } from '../chain.ts';
import { alongOrder } from './along-order.ts';

/** Equal bytes of parameters, whatever their layers take in time: DeepSpeed's `partition_method="parameters"`, its default. */
export const byParameters = alongOrder(
  'parameters',
  "equal bytes of parts, whatever they take in time (DeepSpeed's default)",
  (problem, order, stages) => cutChain({ weight: order.map((p) => problem.parts[p]!.bytes) }, { exactly: stages }).cuts,
);
