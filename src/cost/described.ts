/**
 * What a cost model's functions answer by, for those who keep answers between runs: two functions with the same description
 * answer the same. It belongs to the function and not to the model, so that `{ ...costs, link }` keeps what it took and no
 * more. A function that nobody has described has none, and what was made by it cannot be kept.
 */
type Answering = (...args: never[]) => unknown;

const descriptions = new WeakMap<Answering, () => string | undefined>();

/** Says by what `answer` answers; asked for when it is needed, at most once. */
export function described<F extends Answering>(answer: F, by: () => string | undefined): F {
  let text: { readonly is: string | undefined } | undefined;
  descriptions.set(answer, () => (text ??= { is: by() }).is);
  return answer;
}

/** undefined: nobody has said it. */
export const descriptionOf = (answer: Answering): string | undefined => descriptions.get(answer)?.();
