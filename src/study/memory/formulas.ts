/** Formulas by which people estimate memory elsewhere, for columns beside what a plan knows. All are bytes. */

/** f32. */
const WIDTH = 4;

/**
 * Weights, their gradients and the optimizer's state: 4 bytes each in f32, so 16 a parameter with Adam. Rajbhandari et al.
 * ("ZeRO", 2020) count 16 too for Adam in mixed precision: 2 + 2 in 16 bits, and 12 of weights and moments in 32.
 */
export const trainingStateBytes = (parameters: number, statesEach: number): number =>
  WIDTH * (2 + statesEach) * parameters;

export const predictionStateBytes = (parameters: number): number => WIDTH * parameters;

export interface TransformerActivations {
  readonly layers: number;
  readonly heads: number;
  readonly width: number;
  readonly sequence: number;
  /** Sequences of a microbatch. */
  readonly microbatch: number;
  /** Devices that share the layers evenly, and the microbatches that each holds at most. */
  readonly inFlight: readonly number[];
}

/**
 * What the layers save for their backward (Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
 * Models", 2022, equation 1): s·b·h·(34 + 5·a·s/h) bytes a layer in 16 bits, dropout masks of one byte included, hidden
 * layers of 4h. Of p stages each holds L/p layers of every microbatch in flight. Embedding, head and loss are not in it.
 */
export function korthikantiBytes({
  layers,
  heads,
  width,
  sequence,
  microbatch,
  inFlight,
}: TransformerActivations): number {
  const layer = sequence * microbatch * width * (34 + (5 * heads * sequence) / width);
  return inFlight.reduce((sum, held) => sum + (held * layers * layer) / inFlight.length, 0);
}

export interface HiddenLayer {
  /** Features, hidden units, outputs; samples of the batch. */
  readonly inputs: number;
  readonly hidden: number;
  readonly outputs: number;
  readonly batch: number;
}

/**
 * The textbook's network (Zhang et al., "Dive into Deep Learning", §5.3): z = W₁x + b₁, h = φ(z), o = W₂h + b₂, a loss of o.
 * The peak of an execution that frees what nothing reads any more and lets φ, φ′ and the loss's gradient overwrite what they
 * read; no workspace.
 *
 *     predict  weights, and the two ends of a product: x, z, or h, o
 *     train    x and h are kept. Largest is ∂h = W₂ᵀ∂o (x, h, ∂o, ∂h and the gradient of W₂, b₂), or ∂W₁ (x, ∂z, all gradients)
 */
export function textbookBytes({ inputs: d, hidden: h, outputs: q, batch: n }: HiddenLayer): {
  readonly training: number;
  readonly prediction: number;
} {
  const first = h * (d + 1);
  const second = q * (h + 1);
  const weights = first + second;
  return {
    training: WIDTH * (weights + Math.max(second + n * (d + 2 * h + q), first + second + n * (d + h))),
    prediction: WIDTH * (weights + n * Math.max(d + h, h + q)),
  };
}
