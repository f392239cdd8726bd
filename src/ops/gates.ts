/** Where the gates of a recurrent layer stand: its weights, biases and pre-activations hold one block a gate, side by side. */

/** ONNX's order, with c for the cell candidate, or PyTorch's, with g for it. */
export type LstmGates = 'iofc' | 'ifgo';
/** ONNX's order, with h for the new state's candidate, or PyTorch's, with n for it. The candidate is the last in both. */
export type GruGates = 'zrh' | 'rzn';

/** Numbers of the blocks. */
export const lstmBlocks: Readonly<
  Record<LstmGates, { readonly i: number; readonly o: number; readonly f: number; readonly g: number }>
> = {
  iofc: { i: 0, o: 1, f: 2, g: 3 },
  ifgo: { i: 0, f: 1, g: 2, o: 3 },
};

export const gruBlocks: Readonly<Record<GruGates, { readonly z: number; readonly r: number; readonly n: number }>> = {
  zrh: { z: 0, r: 1, n: 2 },
  rzn: { r: 0, z: 1, n: 2 },
};
