/** Answers by the text of their question: those asked for last, whose questions together have so many characters at most. */
export class Memo<T> {
  readonly #answers = new Map<string, T>();
  readonly #most: number;
  #characters = 0;

  constructor(mostCharacters: number) {
    this.#most = mostCharacters;
  }

  /** `find` must depend on nothing but what `question` says. */
  get(question: string, find: () => T): T {
    const known = this.#answers.get(question);
    if (known !== undefined) {
      this.#answers.delete(question);
      this.#answers.set(question, known);
      return known;
    }
    const answer = find();
    this.#answers.set(question, answer);
    this.#characters += question.length;
    for (const [oldest] of this.#answers) {
      if (this.#characters <= this.#most) break;
      this.#answers.delete(oldest);
      this.#characters -= oldest.length;
    }
    return answer;
  }
}
