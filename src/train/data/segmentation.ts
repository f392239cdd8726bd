/** Segmentation made from classified images of one channel: whoever names a pixel's class must recognise the image. */
import { PartitaError } from '../../core/errors.ts';
import type { HostTensor } from '../../core/types.ts';
import type { Dataset } from './dataset.ts';

/** Pixels below it are background. */
const inkThreshold = 0.25;

/**
 * The same images x f32 [1, H, W] with a class for each pixel, y i32 [H, W]: 0 where the pixel is below a quarter of full
 * ink, else 1 + the image's class.
 */
export function segmentationOf(images: Dataset): Dataset {
  const { x, y } = images.tensors;
  if (
    images.classes === undefined ||
    y?.sampleShape.length !== 0 ||
    x?.sampleShape.length !== 3 ||
    x.sampleShape[0] !== 1
  ) {
    throw new PartitaError(
      'segmentation-data',
      `${images.name} is not a data set of classified images of one channel`,
      {
        fields: { data: images.name },
        remedy: 'data of the kind digits or fashion-mnist',
      },
    );
  }
  const sampleShape = x.sampleShape.slice(1);
  return {
    name: `${images.name}, pixels`,
    size: images.size,
    tensors: { x, y: { dtype: 'i32', sampleShape } },
    classes: images.classes + 1,
    ...(images.contents && {
      contents: (visit) => {
        visit(`a class a pixel, background below ${inkThreshold}`);
        images.contents!(visit);
      },
    }),
    batch(indices) {
      const batch = images.batch(indices);
      return { ...batch, y: labelled(batch.x!, batch.y!, [indices.length, ...sampleShape]) };
    },
  };
}

function labelled(x: HostTensor, y: HostTensor, shape: readonly number[]): HostTensor {
  const pixels = x.data.length / y.data.length;
  const data = Int32Array.from(x.data as Float32Array, (ink, i) =>
    ink < inkThreshold ? 0 : 1 + y.data[Math.floor(i / pixels)]!,
  );
  return { type: { dtype: 'i32', shape }, data };
}
