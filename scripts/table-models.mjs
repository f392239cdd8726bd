// The models of the tables in docs/memory-lifetimes.md and docs/memory-layout.md: each built-in kind, of a size that plans
// quickly.
export const models = [
  { kind: 'mlp', inputs: 784, hidden: [256, 256], classes: 10 },
  { kind: 'lenet', size: 28, classes: 10 },
  { kind: 'resnet', size: 16, classes: 10, widths: [16, 32], blocks: 2 },
  { kind: 'unet', size: 32, classes: 2, depth: 2, width: 8 },
  { kind: 'gpt', vocab: 64, context: 64, layers: 4, heads: 4, width: 64 },
  { kind: 'lstm', vocab: 64, context: 32, hidden: 64, numLayers: 2 },
];
