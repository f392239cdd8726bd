import type { OperatorContext } from '../operator.ts';

/**
 * Refuses what stands where another version of the operators has it: read by the rules of the file's own version it would
 * be as if it were not there. `places`: attributes that are inputs from version `since` on, and which.
 */
export function refuseMoved(context: OperatorContext, since: number, places: Readonly<Record<string, number>>): void {
  const { opset } = context;
  for (const [name, input] of Object.entries(places)) {
    if (opset >= since && context.has(name)) {
      context.invalid(
        `in version ${opset} of the operators ${name} is input ${input}, and it is given as an attribute`,
      );
    }
    if (opset < since && context.optional(input) !== undefined) {
      context.invalid(
        `in version ${opset} of the operators ${name} is an attribute, and it is given as input ${input}`,
      );
    }
  }
}
