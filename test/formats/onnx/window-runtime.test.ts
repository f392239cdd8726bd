// Operators of windows, padding and interpolation beside ONNX Runtime: what the published operator cases leave out.
import { describe, expect, it } from 'vitest';
import { uniform } from '../../../src/core/random.ts';
import { elementCount } from '../../../src/core/types.ts';
import { type AttributeValue, type NodeInput, ours, theirs } from './runtime-compare.ts';

interface Case {
  readonly op: string;
  readonly opset: number;
  /** Shape of the first input, which is fed. */
  readonly x: readonly number[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** The other inputs, which stand in the file; null: left out. */
  readonly constants?: readonly (NodeInput | null)[];
  /** MaxPool's second output is wanted too. */
  readonly indices?: boolean;
}

const floats = (data: readonly number[], dims: readonly number[] = [data.length]): NodeInput => ({
  dims,
  data,
  constant: true,
});
const ints = (...data: number[]): NodeInput => ({ dtype: 'INT64', dims: [data.length], data, constant: true });

async function compare({ op, opset, x, attributes, constants = [], indices }: Case, title: string): Promise<void> {
  const data = uniform({ seed: 4, stream: title }, elementCount(x)).map((u) => Math.fround(2 * u - 1));
  const model = {
    opType: op,
    opset,
    inputs: [{ dims: x, data: [...data] }, ...constants],
    ...(attributes ? { attributes } : {}),
    ...(indices ? { outputs: ['FLOAT', 'INT64'] as const } : {}),
  };
  const found = ours(model);
  for (const [k, wanted] of (await theirs(model)).entries()) {
    expect(found[k]!.type.shape, `output ${k}`).toEqual(wanted.dims);
    wanted.data.forEach((w, i) => {
      const value = found[k]!.data[i]!;
      expect(Math.abs(value - w), `output ${k}[${i}]: ${value} for ${w}`).toBeLessThan(2e-5 + 1e-5 * Math.abs(w));
    });
  }
}

const cases: Readonly<Record<string, Case>> = {};
const add = (title: string, c: Case) => Object.assign(cases, { [title]: c });
const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.fround(Math.sin(3 * i + 1)));
const weight = (...dims: number[]): NodeInput => floats(numbers(elementCount(dims)), dims);

for (const auto_pad of ['SAME_UPPER', 'SAME_LOWER', 'VALID']) {
  for (const [x, k, strides, dilations] of [
    [[2, 3, 10], [4], [3], [1]],
    [
      [1, 3, 7, 6],
      [2, 3],
      [2, 3],
      [1, 1],
    ],
    [
      [1, 3, 5, 6, 4],
      [2, 3, 2],
      [2, 1, 3],
      [1, 1, 1],
    ],
    [
      [1, 3, 9, 8],
      [2, 2],
      [1, 1],
      [3, 2],
    ],
  ] as const) {
    const title = `${k.length} axes, ${auto_pad}, strides ${strides}, dilations ${dilations}`;
    const attributes = { auto_pad, strides, dilations };
    add(`Conv: ${title}`, { op: 'Conv', opset: 11, x, attributes, constants: [weight(4, 3, ...k), weight(4)] });
    add(`MaxPool: ${title}`, { op: 'MaxPool', opset: 12, x, attributes: { ...attributes, kernel_shape: k } });
    if (dilations.every((d) => d === 1)) {
      add(`AveragePool: ${title}`, {
        op: 'AveragePool',
        opset: 11,
        x,
        attributes: { auto_pad, strides, kernel_shape: k },
      });
      add(`LpPool: ${title}`, { op: 'LpPool', opset: 11, x, attributes: { auto_pad, strides, kernel_shape: k, p: 3 } });
      add(`ConvTranspose: ${title}`, {
        op: 'ConvTranspose',
        opset: 11,
        x,
        attributes: { auto_pad, strides },
        constants: [weight(3, 4, ...k)],
      });
    }
  }
}
add('Conv: groups, kernel_shape, uneven pads', {
  op: 'Conv',
  opset: 11,
  x: [2, 4, 6, 7],
  constants: [weight(6, 2, 3, 2)],
  attributes: { group: 2, kernel_shape: [3, 2], pads: [0, 1, 2, 0], strides: [2, 1] },
});
add('ConvTranspose: groups, dilation, output_padding, pads', {
  op: 'ConvTranspose',
  opset: 11,
  x: [2, 4, 4, 3],
  constants: [weight(4, 3, 3, 2), weight(6)],
  attributes: { group: 2, dilations: [2, 1], strides: [2, 3], output_padding: [1, 2], pads: [1, 0, 2, 1] },
});
add('ConvTranspose: one axis, output_shape', {
  op: 'ConvTranspose',
  opset: 11,
  x: [1, 2, 5],
  constants: [weight(2, 3, 4)],
  attributes: { strides: [2], output_shape: [10] },
});
for (const count_include_pad of [0, 1]) {
  add(`AveragePool: uneven pads, count_include_pad ${count_include_pad}`, {
    op: 'AveragePool',
    opset: 11,
    x: [1, 2, 6, 7],
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 2, 1], count_include_pad },
  });
  add(`AveragePool: ceil_mode, count_include_pad ${count_include_pad}`, {
    op: 'AveragePool',
    opset: 11,
    x: [1, 2, 6, 8],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1, count_include_pad },
  });
}
for (const storage_order of [0, 1]) {
  add(`MaxPool: indices of planes, storage_order ${storage_order}`, {
    op: 'MaxPool',
    opset: 12,
    x: [2, 3, 5, 6],
    indices: true,
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 1, 1, 0], storage_order },
  });
  add(`MaxPool: indices of volumes, storage_order ${storage_order}`, {
    op: 'MaxPool',
    opset: 12,
    x: [2, 2, 4, 3, 5],
    indices: true,
    attributes: { kernel_shape: [2, 2, 3], ceil_mode: 1, strides: [2, 1, 2], storage_order },
  });
}
add('MaxPool: indices of vectors', {
  op: 'MaxPool',
  opset: 12,
  x: [2, 3, 9],
  indices: true,
  attributes: { kernel_shape: [3], dilations: [2], pads: [1, 2] },
});
add('GlobalMaxPool of vectors', { op: 'GlobalMaxPool', opset: 1, x: [2, 3, 7] });
add('GlobalAveragePool of volumes', { op: 'GlobalAveragePool', opset: 1, x: [2, 3, 2, 3, 4] });
add('GlobalLpPool', { op: 'GlobalLpPool', opset: 2, x: [2, 3, 4, 5], attributes: { p: 1 } });

for (const mode of ['constant', 'reflect', 'edge', 'wrap']) {
  add(`Pad: ${mode}`, {
    op: 'Pad',
    opset: mode === 'wrap' ? 19 : 13,
    x: [2, 3, 4, 5],
    attributes: { mode },
    constants: [ints(0, 1, 2, 3, 0, 0, 1, 2), mode === 'constant' ? floats([1.5], []) : null],
  });
  add(`Pad: ${mode}, axes`, {
    op: 'Pad',
    opset: mode === 'wrap' ? 19 : 18,
    x: [2, 3, 4],
    attributes: { mode },
    constants: [ints(2, 1, 1, 2), null, ints(-1, 1)],
  });
}
add('Pad: negative amounts crop', { op: 'Pad', opset: 13, x: [4, 5], constants: [ints(-1, 2, 3, -2)] });
add('Pad: amounts as an attribute', {
  op: 'Pad',
  opset: 10,
  x: [2, 3],
  attributes: { pads: [1, 0, 0, 2], value: { float: -2 }, mode: 'constant' },
});

const transformations = ['half_pixel', 'pytorch_half_pixel', 'asymmetric', 'align_corners', 'half_pixel_symmetric'];
const sizesOf: Readonly<Record<string, readonly number[]>> = {
  grown: [1, 2, 9, 8],
  shrunk: [1, 2, 3, 4],
  mixed: [1, 2, 2, 13],
};
for (const coordinate_transformation_mode of transformations) {
  for (const [name, sizes] of Object.entries(sizesOf)) {
    const resize = (title: string, attributes: Record<string, AttributeValue>, more: Partial<Case> = {}) =>
      add(`Resize: ${title}, ${coordinate_transformation_mode}, ${name}`, {
        op: 'Resize',
        opset: 19,
        x: [1, 2, 5, 6],
        attributes: { coordinate_transformation_mode, ...attributes },
        constants: [null, null, ints(...sizes)],
        ...more,
      });
    for (const nearest_mode of ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'])
      resize(`nearest, ${nearest_mode}`, { nearest_mode });
    resize('linear', { mode: 'linear' });
    resize('cubic', { mode: 'cubic', cubic_coeff_a: { float: -0.5 } });
    resize('cubic, exclude_outside', { mode: 'cubic', exclude_outside: 1 });
  }
}
for (const mode of ['linear', 'cubic']) {
  for (const [name, sizes] of Object.entries(sizesOf)) {
    add(`Resize: ${mode}, antialias, ${name}`, {
      op: 'Resize',
      opset: 18,
      x: [1, 2, 7, 9],
      attributes: { mode, antialias: 1, ...(mode === 'cubic' ? { exclude_outside: 1 } : {}) },
      constants: [null, null, ints(...sizes)],
    });
  }
  add(`Resize: ${mode}, scales`, {
    op: 'Resize',
    opset: 13,
    x: [1, 1, 5, 7],
    attributes: { mode },
    constants: [null, floats([1, 1, 1.7, 0.6])],
  });
}
for (const keep_aspect_ratio_policy of ['not_larger', 'not_smaller']) {
  add(`Resize: ${keep_aspect_ratio_policy}`, {
    op: 'Resize',
    opset: 18,
    x: [1, 1, 4, 6],
    attributes: { axes: [2, 3], keep_aspect_ratio_policy, mode: 'linear' },
    constants: [null, null, ints(7, 8)],
  });
}
for (const mode of ['nearest', 'linear']) {
  add(`Resize-10: ${mode}`, {
    op: 'Resize',
    opset: 10,
    x: [1, 2, 4, 5],
    attributes: { mode },
    constants: [floats([1, 1, 2, 1.6])],
  });
  add(`Resize-10: ${mode}, shrunk`, {
    op: 'Resize',
    opset: 10,
    x: [1, 2, 4, 5],
    attributes: { mode },
    constants: [floats([1, 1, 0.6, 0.5])],
  });
  add(`Upsample-9: ${mode}`, {
    op: 'Upsample',
    opset: 9,
    x: [1, 2, 3, 4],
    attributes: { mode },
    constants: [floats([1, 1, 2, 3])],
  });
  add(`Upsample-7: ${mode}`, {
    op: 'Upsample',
    opset: 7,
    x: [1, 2, 3, 4],
    attributes: { mode, scales: { floats: [1, 1, 2, 1.5] } },
  });
}
add('Resize: tf_crop_and_resize', {
  op: 'Resize',
  opset: 13,
  x: [1, 2, 5, 6],
  attributes: {
    mode: 'linear',
    coordinate_transformation_mode: 'tf_crop_and_resize',
    extrapolation_value: { float: 7 },
  },
  constants: [floats([0, 0, 0.3, -0.2, 1, 1, 1.2, 0.8]), null, ints(1, 2, 4, 7)],
});
for (const mode of ['DCR', 'CRD'])
  add(`DepthToSpace: ${mode}`, { op: 'DepthToSpace', opset: 13, x: [2, 12, 3, 2], attributes: { blocksize: 2, mode } });
add('SpaceToDepth', { op: 'SpaceToDepth', opset: 13, x: [2, 3, 4, 6], attributes: { blocksize: 2 } });

/** Where ONNX Runtime 1.16 and the operator's definition part, and we follow the definition. */
const deviations: readonly (readonly [cases: RegExp, why: string])[] = [
  [
    /^ConvTranspose: 3 axes, SAME.*strides 2,1,3/,
    'the size of SAME is the input’s times the stride, also where windows are shorter',
  ],
  [/^(Conv|MaxPool): .*SAME.*dilations 3,2/, 'SAME keeps the size; the runtime forgets the dilation in the padding'],
  [/^AveragePool: ceil_mode, count_include_pad 1/, 'what lies behind the padding is not counted, as in PyTorch'],
  [
    /^Resize: nearest, floor, half_pixel_symmetric, shrunk/,
    'a position that is an integer, which f32 rounds to below it',
  ],
];
const compared = Object.keys(cases).filter((title) => !deviations.some(([names]) => names.test(title)));

describe('beside ONNX Runtime', () => {
  it('each deviation is met', () => {
    for (const [names] of deviations) expect(Object.keys(cases).some((title) => names.test(title))).toBe(true);
  });
  it.each(compared)('%s', async (title) => compare(cases[title]!, title));
});
