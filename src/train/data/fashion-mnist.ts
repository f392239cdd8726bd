/** Fashion-MNIST, or anything in MNIST's form: x f32 [1, 28, 28] in 0..1, y i32 []. 60,000 samples to train, 10,000 to test. */
import { FormatError } from '../../core/errors.ts';
import { parseIdx } from '../../formats/idx.ts';
import { type Dataset, datasetOf } from './dataset.ts';

/** Where Debian's package puts its files. */
export const fashionMnistFolder = '/usr/share/datasets/fashion-mnist';

/** File names in the folder, without `.gz`. */
export const fashionMnistFiles = {
  train: { images: 'train-images-idx3-ubyte', labels: 'train-labels-idx1-ubyte' },
  test: { images: 't10k-images-idx3-ubyte', labels: 't10k-labels-idx1-ubyte' },
} as const;

export interface NamedBytes {
  readonly bytes: Uint8Array;
  readonly where: string;
}

/** From unpacked IDX files. */
export function fashionMnistFrom(name: string, images: NamedBytes, labels: NamedBytes): Dataset {
  const x = parseIdx(images.bytes, images.where);
  const y = parseIdx(labels.bytes, labels.where);
  const [count, height, width] = x.shape;
  if (x.shape.length !== 3 || y.shape.length !== 1 || count !== y.shape[0]) {
    throw new FormatError(
      'fashion-mnist-shape',
      `${images.where} has sizes [${x.shape.join(', ')}], ${labels.where} [${y.shape.join(', ')}]; [n, height, width] and [n] are needed`,
      {
        fields: { images: x.shape, labels: y.shape },
        remedy: 'give the images and the labels of the same samples, as data.dir has them when it is fetched',
      },
    );
  }
  if (x.data.length === 0) {
    throw new FormatError('fashion-mnist-empty', `${images.where} has sizes [${x.shape.join(', ')}]: no pixels`, {
      fields: { file: images.where, images: x.shape },
      remedy: `fetch ${images.where} again`,
    });
  }
  const wrong = y.data.findIndex((label) => label > 9);
  if (wrong >= 0) {
    throw new FormatError('fashion-mnist-label', `${labels.where}: label ${wrong} is ${y.data[wrong]}, not 0..9`, {
      fields: { file: labels.where, index: wrong, value: y.data[wrong] },
      remedy: `fetch ${labels.where} again`,
    });
  }
  return datasetOf(
    name,
    count!,
    {
      x: { dtype: 'f32', sampleShape: [1, height!, width!], values: x.data, divisor: 255 },
      y: { dtype: 'i32', sampleShape: [], values: y.data },
    },
    { classes: 10 },
  );
}
