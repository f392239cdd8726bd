// Names of the models of the races, known without the library.

/** What a model is, for tables. */
export const titles = {
  mlp: 'MLP 784-512-512-10, batch 128',
  gpt: 'GPT, 4 layers of 128, 4 heads, 64 tokens, batch 16',
  cnn: 'LeNet-like, 28 × 28, batch 64',
  resnet: 'ResNet-18-like (16 to 128 channels), 3 × 32 × 32, batch 32',
  lstm: 'LSTM of 128 units, 64 steps, batch 32',
};

export const modelNames = Object.keys(titles);
