/** A mixed-integer linear programme: minimize column 0, rows sparse. Plain data, for a thread. */
export interface MilpModel {
  readonly columns: number;
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly integer: Uint8Array;
  /** Row r: columns `indices[starts[r]] …`, their coefficients, and bounds. */
  readonly starts: Int32Array;
  readonly indices: Int32Array;
  readonly coefficients: Float64Array;
  readonly rowLower: Float64Array;
  readonly rowUpper: Float64Array;
}

/** A column, minus a column, plus a constant; −1: none. */
export interface Term {
  readonly plus: number;
  readonly minus: number;
  readonly constant: number;
}

export type Entry = readonly [term: Term, coefficient: number];

export const single = (column: number): Term => ({ plus: column, minus: -1, constant: 0 });

/** What loads are multiplied by, so that the load that is reached is 1; where that is none they stay as they are. */
export const unitOfLoads = (reached: number): number => (1 / reached < Number.POSITIVE_INFINITY ? 1 / reached : 1);

export class ColumnList {
  readonly #lower: number[] = [];
  readonly #upper: number[] = [];
  readonly #integer: number[] = [];

  get count(): number {
    return this.#lower.length;
  }

  add(lower: number, upper: number, integer: boolean): number {
    this.#lower.push(lower);
    this.#upper.push(upper);
    this.#integer.push(integer ? 1 : 0);
    return this.#lower.length - 1;
  }

  data() {
    return {
      lower: Float64Array.from(this.#lower),
      upper: Float64Array.from(this.#upper),
      integer: Uint8Array.from(this.#integer),
    };
  }
}

export class RowList {
  readonly #starts: number[] = [0];
  readonly #indices: number[] = [];
  readonly #coefficients: number[] = [];
  readonly #lower: number[] = [];
  readonly #upper: number[] = [];

  add(indices: readonly number[], coefficients: readonly number[], lower: number, upper: number): void {
    this.#indices.push(...indices);
    this.#coefficients.push(...coefficients);
    this.#starts.push(this.#indices.length);
    this.#lower.push(lower);
    this.#upper.push(upper);
  }

  /** Terms written out; a column named twice gets the sum. */
  combine(entries: readonly Entry[], lower: number, upper: number): void {
    const sums = new Map<number, number>();
    let constant = 0;
    for (const [{ plus, minus, constant: c }, factor] of entries) {
      if (plus >= 0) sums.set(plus, (sums.get(plus) ?? 0) + factor);
      if (minus >= 0) sums.set(minus, (sums.get(minus) ?? 0) - factor);
      constant += c * factor;
    }
    const terms = [...sums].filter(([, factor]) => factor !== 0);
    this.add(
      terms.map(([column]) => column),
      terms.map(([, factor]) => factor),
      lower - constant,
      upper - constant,
    );
  }

  data() {
    return {
      starts: Int32Array.from(this.#starts),
      indices: Int32Array.from(this.#indices),
      coefficients: Float64Array.from(this.#coefficients),
      rowLower: Float64Array.from(this.#lower),
      rowUpper: Float64Array.from(this.#upper),
    };
  }
}
