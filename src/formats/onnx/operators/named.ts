import type { OperatorContext } from '../operator.ts';

/** What an attribute's text stands for, by the names that ONNX gives. */
export function named<T>(
  context: OperatorContext,
  attribute: string,
  whenMissing: string,
  names: Readonly<Record<string, T>>,
): T {
  const text = context.string(attribute, whenMissing);
  if (Object.hasOwn(names, text)) return names[text]!;
  return context.invalid(`${attribute} "${text}" is none of ${Object.keys(names).join(', ')}`);
}
