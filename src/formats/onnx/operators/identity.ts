import type { OperatorTable } from '../operator.ts';

/** The same value under another name: no node. */
export const identity: OperatorTable = { Identity: (context) => [context.input(0)] };
