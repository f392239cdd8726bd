/** Layers, blocks or convolutions in a row: more make graphs of millions of nodes, which no step gets through. */
export const MOST_LAYERS = 10_000;
